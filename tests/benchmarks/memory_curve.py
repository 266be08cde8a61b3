"""Does a worker, or its trainer, grow from trial to trial?

One worker, started as `tuner work` is, trains many tiny GRUs of all shapes, one epoch each, on few
of the demo's reviews: everything that a trial leaves behind in the trainer's process, and every row
that the worker keeps of a finished trial, adds up. The resident memory (RSS) of both is printed
after every tenth trial, with the trainer's process id: a new one means that it was replaced.

Run it from the repository's root; the defaults take some 10 minutes on two cores::

    python -m tests.benchmarks.memory_curve [--trials 200] [--every 10]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import optuna
import psutil

from tuner.results import progress
from tuner.storage import Database, StoredStudy, create_study
from tuner.study_file import load_study_file

STUDY = """
name   = "memory-curve"
metric = "val_accuracy"

[data]
source     = "demo"
examples   = 200
vocabulary = 500

[budget]
trials = 200
epochs = 1

[space]
learning_rate     = { low = 1e-3, high = 1e-2, log = true }
units             = { low = 4, high = 32, step = 4 }
layers            = [1, 2]
bidirectional     = [true, false]
pooling           = ["last", "max", "mean", "mean_max"]
embedding         = { low = 4, high = 32, step = 4 }
embedding_dropout = { low = 0.0, high = 0.6 }
batch_size        = [32, 64]
max_length        = [12, 24, 36]

[sampler]
name = "tpe"                  # reads every finished trial into the worker

[pruner]
name = "none"
"""

MIB = 2**20
#: Seconds between looks at the database.
LOOK_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Point:
    """Memory after some trials."""

    #: Trials that are done.
    n_trials: int
    #: Resident bytes of the worker.
    worker: int
    #: Resident bytes of its trainer.
    trainer: int
    #: Process id of the trainer.
    trainer_pid: int


def measure(worker: psutil.Process, n_trials: int) -> Point | None:
    """Look at both processes; None where there is no trainer at the moment."""
    try:
        trainers = worker.children()
        if not trainers:
            return None
        return Point(
            n_trials=n_trials,
            worker=worker.memory_info().rss,
            trainer=trainers[-1].memory_info().rss,
            trainer_pid=trainers[-1].pid,
        )
    except psutil.NoSuchProcess:
        return None


def watch(
    database: Database, study: StoredStudy, worker: "subprocess.Popen[bytes]", every: int
) -> list[Point]:
    """Print a line after every few trials, until the worker ends."""
    process, started = psutil.Process(worker.pid), time.monotonic()
    points: list[Point] = []
    print("trials  worker, MiB  trainer, MiB  trainer's pid  seconds")
    while worker.poll() is None:
        time.sleep(LOOK_SECONDS)
        n_done = progress(database, study).slots.done
        last = points[-1].n_trials if points else 0
        if n_done // every == last // every and not n_done == 1 > last:
            continue
        if point := measure(process, n_done):
            points.append(point)
            print(
                f"{n_done:6}  {point.worker / MIB:11.1f}  {point.trainer / MIB:12.1f}  "
                f"{point.trainer_pid:13}  {time.monotonic() - started:7.0f}",
                flush=True,
            )
    return points


def main() -> None:
    """Run the study and print the curve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--every", type=int, default=10, help="trials between two lines")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "study.toml").write_text(STUDY)
        # One more, so that both processes still live when the last line is due.
        settings = [f"budget.trials={given.trials + 1}"]
        config, _ = load_study_file(folder / "study.toml", settings)
        url = f"sqlite:///{folder}/tuner.db"
        with Database.open(url, create=True) as database, (folder / "words").open("wb") as words:
            study = create_study(database, config).study
            worker = subprocess.Popen(
                [sys.executable, "-m", "tuner", "work", config.name, "--until-stdin-closes"],
                stdin=subprocess.PIPE,  # it ends with this process, however that ends
                env=os.environ | {"TUNER_STORAGE": url},
                stdout=words,
                stderr=words,
            )
            try:
                points = watch(database, study, worker, given.every)
            finally:
                worker.terminate()
                worker.wait()
            if worker.returncode:
                raise SystemExit((folder / "words").read_text()[-2_000:])
    if len(points) < 3:
        return
    middle = points[len(points) // 2]
    for who, first, half, last in (
        ("worker", points[0].worker, middle.worker, points[-1].worker),
        ("trainer", points[0].trainer, middle.trainer, points[-1].trainer),
    ):
        per_trial = (last - half) / max(1, points[-1].n_trials - middle.n_trials)
        print(
            f"{who}: {first / MIB:.0f} MiB after trial {points[0].n_trials}, "
            f"{last / MIB:.0f} MiB after trial {points[-1].n_trials}; "
            f"in the second half {per_trial / 1024:+.0f} KiB a trial"
        )


if __name__ == "__main__":
    main()
