"""Ray Tune with OptunaSearch and ASHA.

As https://docs.ray.io/en/latest/tune/examples/optuna_example.html and
https://docs.ray.io/en/latest/tune/examples/tune_mnist_keras.html have it: a function that trains
and reports through Ray's callback, the data in the object store (`tune.with_parameters`), a trial a
core at a time. `max_t` is everybody's number of epochs; ASHA's other numbers are its defaults. The
callback saves no networks, which costs time and is of no use here. With `tuner`'s training code,
trials come one after the other, each with all cores, as everybody's in that table, in a process
that is used again (`reuse_actors`), so that the start of processes does not count.
"""

from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.integration.keras import TuneReportCheckpointCallback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from tests.benchmarks.peers import space
from tests.benchmarks.peers.protocol import EPOCHS, Job, Journal, read_job
from tests.benchmarks.peers.training import Recorder, Training, training_of

_HERE: dict[str, Training] = {}


def training_here(job: Job) -> Training:
    """Give this process's training code, which reads the reviews once."""
    if job.journal not in _HERE:
        _HERE[job.journal] = training_of(job)
    return _HERE[job.journal]


def train(params: dict[str, Any], job: Job) -> None:
    """Train one trial."""
    reporting = TuneReportCheckpointCallback(checkpoint_on=[], metrics=["val_accuracy"])
    trial = tune.get_context().get_trial_id()
    callbacks = [Recorder(Journal(job), trial, params), reporting]
    training_here(job).train(params, epochs=EPOCHS, callbacks=callbacks)


class Endings(tune.Callback):
    """Notes which trials ended, in the process that leads.

    Args:
        journal: Where to write.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        del iteration, trials, info  # Ray passes them by name
        n_epochs = trial.last_result["training_iteration"]
        self._journal.ended(trial.trial_id, "complete" if n_epochs >= EPOCHS else "pruned")

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        del iteration, trials, info
        self._journal.ended(trial.trial_id, "failed")


def main() -> None:
    """Search until somebody ends it."""
    job = read_job()
    alone = job.table == 2
    ray.init(num_cpus=job.cores, include_dashboard=False)
    low, high, step = space.UNITS
    search = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(train, job=job), {"cpu": job.cores if alone else 1}
        ),
        param_space={
            "units": tune.qrandint(low, high, step),
            "learning_rate": tune.loguniform(*space.LEARNING_RATE),
            "batch_size": tune.choice(space.BATCH_SIZE),
            "layers": tune.choice(space.LAYERS),
            "dropout": tune.uniform(*space.DROPOUT),
        },
        tune_config=tune.TuneConfig(
            metric="val_accuracy",
            mode="max",
            search_alg=OptunaSearch(seed=job.seed),
            scheduler=ASHAScheduler(max_t=EPOCHS),
            num_samples=-1,  # until it is stopped
            reuse_actors=alone,
        ),
        run_config=tune.RunConfig(
            storage_path=str(Path(job.scratch).resolve()), callbacks=[Endings(Journal(job))]
        ),
    )
    search.fit()


if __name__ == "__main__":
    main()
