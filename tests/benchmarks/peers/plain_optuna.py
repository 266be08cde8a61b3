"""Plain Optuna, as its documentation has it for Keras.

The steps are those of
https://github.com/optuna/optuna-examples/blob/main/keras/keras_integration.py: a study of one
process in memory, an objective that suggests, builds and fits, `KerasPruningCallback`, and the
sampler and pruner that a study has by default (TPE, median). A trial's value is that of its best
epoch, as KerasTuner has it, too; the example's is that of the last one. With `tuner`'s training
code the callback is told of ends of epochs, as from Keras's own `fit`.
"""

from typing import Any

import optuna
from optuna_integration import KerasPruningCallback

from tests.benchmarks.peers import space
from tests.benchmarks.peers.protocol import EPOCHS, Journal, State, read_job
from tests.benchmarks.peers.training import Recorder, training_of
from tuner.errors import TrialFailedError

STATES: dict[optuna.trial.TrialState, State] = {
    optuna.trial.TrialState.COMPLETE: "complete",
    optuna.trial.TrialState.PRUNED: "pruned",
    optuna.trial.TrialState.FAIL: "failed",
}


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Draw a point."""
    low, high, step = space.UNITS
    return {
        "units": trial.suggest_int("units", low, high, step=step),
        "learning_rate": trial.suggest_float("learning_rate", *space.LEARNING_RATE, log=True),
        "batch_size": trial.suggest_categorical("batch_size", space.BATCH_SIZE),
        "layers": trial.suggest_int("layers", *space.LAYERS),
        "dropout": trial.suggest_float("dropout", *space.DROPOUT),
    }


def main() -> None:
    """Search until somebody ends it."""
    job = read_job()
    journal = Journal(job)
    training = training_of(job)

    def objective(trial: optuna.Trial) -> float:
        params = suggest(trial)
        recorder = Recorder(journal, trial.number, params)
        pruning = KerasPruningCallback(trial, "val_accuracy")
        return training.train(params, epochs=EPOCHS, callbacks=[recorder, pruning])

    def note(_: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        journal.ended(trial.number, STATES[trial.state])

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=job.seed),  # the default one, with a seed
    )
    study.optimize(objective, callbacks=[note], catch=(TrialFailedError,))


if __name__ == "__main__":
    main()
