"""KerasTuner: ``bayesian`` or ``hyperband``.

As https://keras.io/keras_tuner/getting_started/ has it: a `HyperModel` with `build`, and with `fit`
for the batch size ("Tune model training"). Defaults throughout, but for two numbers that say how
much there is to do: no end of trials ("max_trials") and of rounds ("hyperband_iterations": "as high
a value as is within your resource budget", https://keras.io/keras_tuner/api/tuners/hyperband/), for
time ends the search. `max_epochs` is everybody's number of epochs. A round of Hyperband counts as a
trial, as KerasTuner counts.

With `tuner`'s training code, `Tuner.run_trial` is overridden, as "Tune anything" in the same guide
has it, and Hyperband's later rounds go on where the earlier ones stopped, optimizer included.
"""

import sys
from pathlib import Path
from typing import Any

import keras_tuner

from tests.benchmarks.peers import space
from tests.benchmarks.peers.protocol import EPOCHS, Job, Journal, read_job
from tests.benchmarks.peers.training import Recorder
from tuner.errors import TrialFailedError

OBJECTIVE = keras_tuner.Objective("val_accuracy", "max")
#: More than there is time for.
ENDLESS = 1_000


def suggest(hp: keras_tuner.HyperParameters) -> dict[str, Any]:
    """Declare the space, or draw a point."""
    low, high, step = space.UNITS
    low_rate, high_rate = space.LEARNING_RATE
    return {
        "units": hp.Int("units", min_value=low, max_value=high, step=step),
        "learning_rate": hp.Float(
            "learning_rate", min_value=low_rate, max_value=high_rate, sampling="log"
        ),
        "batch_size": hp.Choice("batch_size", list(space.BATCH_SIZE)),
        "layers": hp.Int("layers", min_value=space.LAYERS[0], max_value=space.LAYERS[1]),
        "dropout": hp.Float("dropout", min_value=space.DROPOUT[0], max_value=space.DROPOUT[1]),
    }


def choose(kind: str, job: Job, bases: tuple[type, ...] = (), **options: Any) -> Any:
    """Give the tuner that the command line names.

    Args:
        kind: ``bayesian`` or ``hyperband``.
        job: What to do.
        bases: What comes before KerasTuner's class.
        options: More arguments.
    """
    hp = keras_tuner.HyperParameters()
    suggest(hp)
    common = {
        "objective": OBJECTIVE,
        "hyperparameters": hp,
        "seed": job.seed,
        "directory": job.scratch,
        "project_name": "kerastuner",
        **options,
    }
    if kind == "bayesian":
        made = type("Bayesian", (*bases, keras_tuner.BayesianOptimization), {})
        return made(max_trials=ENDLESS, **common)
    made = type("Hyperband", (*bases, keras_tuner.Hyperband), {})
    return made(max_epochs=EPOCHS, hyperband_iterations=ENDLESS, **common)


def search_as_users_do(kind: str, job: Job) -> None:
    """Search with stock Keras."""
    from tests.benchmarks.peers.stock import StockTraining

    training, journal = StockTraining(job), Journal(job)
    n_trials = 0

    class Model(keras_tuner.HyperModel):
        def build(self, hp: keras_tuner.HyperParameters) -> Any:
            return training.build(suggest(hp))

        def fit(self, hp: keras_tuner.HyperParameters, model: Any, **options: Any) -> Any:
            nonlocal n_trials
            number, n_trials = n_trials, n_trials + 1
            params = suggest(hp)
            callbacks = [Recorder(journal, number, params), *options.pop("callbacks")]
            history = training.fit(model, params, callbacks=callbacks, **options)
            journal.ended(number, "complete")
            return history

    choose(kind, job, hypermodel=Model()).search(epochs=EPOCHS, verbose=0)


def search_with_our_training(kind: str, job: Job) -> None:
    """Search with `tuner`'s training code."""
    from tests.benchmarks.peers.shared import SharedTraining
    from tuner.device import configure

    configure(job.cores)
    training, journal = SharedTraining(job), Journal(job)
    folders: dict[str, Path] = {}

    class Trainer:
        def run_trial(self, trial: Any, **options: Any) -> dict[str, float]:
            del options
            hp = trial.hyperparameters
            params = suggest(hp)
            past = hp.values.get("tuner/trial_id")  # of an earlier round, to go on from
            new = Path(job.scratch) / "checkpoints" / trial.trial_id
            folder = folders[trial.trial_id] = folders[past] if past else new
            try:
                value = training.train(
                    params,
                    epochs=hp.values.get("tuner/epochs", EPOCHS),
                    callbacks=[Recorder(journal, trial.trial_id, params)],
                    first_epoch=hp.values.get("tuner/initial_epoch", 0),
                    max_epochs=EPOCHS,
                    folder=folder,
                )
            except TrialFailedError as error:
                journal.ended(trial.trial_id, "failed")
                raise keras_tuner.errors.FailedTrialError(str(error)) from error
            journal.ended(trial.trial_id, "complete")
            return {OBJECTIVE.name: value}

    choose(kind, job, (Trainer,)).search()


def main() -> None:
    """Search until somebody ends it."""
    kind, job = sys.argv[-2], read_job()
    if job.table == 1:
        search_as_users_do(kind, job)
    else:
        search_with_our_training(kind, job)


if __name__ == "__main__":
    main()
