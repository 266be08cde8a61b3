"""How much of a worker's time is training, on trials of real GRUs?

One worker runs a few trials on the demo's reviews. Printed are the seconds of each trial in
`tuner.training.fit` (building and compiling the network included), how many of them passed before
its first batch was done, and the share of both in the time from the first order to the last end.

Run it from the repository's root on a machine that does nothing else::

    python -m tests.benchmarks.busy_worker [--trials 5] [--epochs 10] [--threads 2]
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna

from tuner.results import show_trial, trials
from tuner.storage import Database, create_study
from tuner.study_file import load_study_file
from tuner.worker.equipment import Control, Equipment
from tuner.worker.gru import gru_objective
from tuner.worker.messages import Prepare
from tuner.worker.worker import Worker, WorkerOptions

STUDY = """
name   = "busy-worker"
metric = "val_accuracy"

[data]
source   = "demo"
examples = 4000

[budget]
trials = 5
epochs = 10

[space]
learning_rate = { low = 1e-3, high = 1e-2, log = true }
units         = 64
embedding     = 64

[pruner]
name = "none"
"""


def timed_objective(prepare: Prepare, control: Control) -> Equipment:
    """The objective of all workers, with a note of when the first batch was done."""
    equipment = gru_objective(prepare, control)

    def objective(trial: Any) -> float | tuple[float, ...]:
        began = time.perf_counter()
        say_alive = trial.alive

        def first_alive() -> None:
            trial.set_user_attr("first_batch_seconds", time.perf_counter() - began)
            trial.alive = say_alive
            say_alive()

        trial.alive = first_alive
        return equipment.objective(trial)

    return Equipment(
        objective=objective,
        fingerprint=equipment.fingerprint,
        device=equipment.device,
        notes=equipment.notes,
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.busy_worker")
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "study.toml").write_text(STUDY)
        settings = [f"budget.trials={given.trials}", f"budget.epochs={given.epochs}"]
        config = load_study_file(folder / "study.toml", settings)[0]
        with Database.open(f"sqlite:///{folder / 'busy.db'}", create=True) as database:
            study = create_study(database, config).study
            options = WorkerOptions(
                threads=given.threads,
                objective="tests.benchmarks.busy_worker:timed_objective",
                artifacts=folder / "artifacts",
            )
            Worker(database, study, options=options, environment=os.environ).run()
            rows = trials(database, study)
            facts = [show_trial(database, study, row.number).attributes for row in rows]
    spans = [(row.started, row.ended) for row in rows if row.started and row.ended]
    wall = (max(end for _, end in spans) - min(begin for begin, _ in spans)).total_seconds()
    fit = [float(fact["training_seconds"]) for fact in facts]
    first = [float(fact["first_batch_seconds"]) for fact in facts]
    for row, seconds, begin in zip(rows, fit, first, strict=True):
        print(f"trial {row.number}: {seconds:6.1f} s in fit, first batch done after {begin:.2f} s")
    print(f"share of fit in {wall:.1f} s: {sum(fit) / wall:.1%}")
    print(f"share of fit after the first batch: {(sum(fit) - sum(first)) / wall:.1%}")


if __name__ == "__main__":
    main()
