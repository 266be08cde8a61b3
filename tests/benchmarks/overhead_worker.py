"""One process of `tests.benchmarks.overhead`: a worker of ours, or a plain `study.optimize`.

Both wait for the parent's starting signal, sleep in place of training, and then write down what
they spent: SQL statements and commits since the signal, and all CPU seconds.
"""

import argparse
import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import BasePruner, MedianPruner, SuccessiveHalvingPruner
from sqlalchemy import Engine, event

from tuner.config import StudyConfig
from tuner.storage import Database, find_study
from tuner.study_file import load_study_file
from tuner.worker.equipment import Control, Equipment
from tuner.worker.messages import Prepare
from tuner.worker.worker import Worker, WorkerOptions

#: What both tune: about nine params, as in a real search.
STUDY_FILE = Path(__file__).parents[2] / "studies" / "imdb.toml"
STUDY_NAME = "overhead"
OBJECTIVE = "tests.benchmarks.overhead_worker:sleeping_objective"
#: Reports of a trial, at steps 1 to so many.
N_REPORTS = 10
#: All trials are equally good: no rule prunes any, and all of them must ask.
VALUE = 0.5
#: Seconds between looks for the starting signal.
LOOK_SECONDS = 0.01

PRUNERS: dict[str, Callable[[], BasePruner]] = {
    "median": MedianPruner,
    "halving": SuccessiveHalvingPruner,
}


def wait_for_start(folder: Path, worker: int) -> None:
    """Say that this process is ready, wait until all of them are, and then for its own turn.

    Args:
        folder: The benchmark's.
        worker: Id of the process that owns the trials.
    """
    (folder / f"ready-{os.getpid()}").touch()
    while not (folder / "start").exists():
        time.sleep(LOOK_SECONDS)
    time.sleep(max(0.0, turn_of(folder, worker) - time.time()))


def turn_of(folder: Path, worker: int) -> float:
    """When a worker begins, in seconds since 1970."""
    started = float((folder / "start").read_text())
    return started + float((folder / f"offset-{worker}").read_text())


def seconds_per_report(folder: Path) -> float:
    """Read how long to sleep before each report."""
    return float((folder / "seconds").read_text()) / N_REPORTS


class StatementCounter:
    """Counts what every SQLAlchemy engine of this process sends."""

    def __init__(self) -> None:
        self.statement_times: list[float] = []
        self.commit_times: list[float] = []
        event.listen(Engine, "before_cursor_execute", self._note_statement)
        event.listen(Engine, "commit", self._note_commit)

    def _note_statement(self, *_: object) -> None:
        self.statement_times.append(time.time())

    def _note_commit(self, *_: object) -> None:
        self.commit_times.append(time.time())


def sleeping_objective(prepare: Prepare, control: Control) -> Equipment:
    """Sleeps instead of training; its trainer is ready when every worker's trainer is."""
    if prepare.data_root is None:
        raise ValueError("expected the benchmark's folder as data root")
    folder = Path(prepare.data_root)
    space = StudyConfig.from_json(prepare.config).space
    pause = seconds_per_report(folder)

    def objective(trial: Any) -> float:
        space.suggest(trial)
        for step in range(1, N_REPORTS + 1):
            if control.stop.wait(pause):
                raise optuna.TrialPruned
            trial.report(VALUE, step)
        return VALUE

    wait_for_start(folder, os.getppid())
    return Equipment(objective=objective)


def run_ours(url: str, folder: Path) -> None:
    """Work as `tuner work` does, until the study is done."""
    with Database.open(url) as database:
        study = find_study(database, STUDY_NAME)
        options = WorkerOptions(threads=1, objective=OBJECTIVE, data_root=folder)
        Worker(database, study, options=options, environment=os.environ).run()


def run_plain(url: str, folder: Path, *, n_trials: int, pruner: str) -> None:
    """Optimize as Optuna's tutorial does, with the same space."""
    study = optuna.load_study(study_name=STUDY_NAME, storage=url, pruner=PRUNERS[pruner]())
    space = load_study_file(STUDY_FILE)[0].space
    pause = seconds_per_report(folder)

    def objective(trial: optuna.Trial) -> float:
        space.suggest(trial)
        for step in range(1, N_REPORTS + 1):
            time.sleep(pause)
            trial.report(VALUE, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return VALUE

    wait_for_start(folder, os.getpid())
    study.optimize(objective, n_trials=n_trials)


def main() -> None:
    """Run one process and write down what it spent."""
    parser = argparse.ArgumentParser()
    parser.add_argument("system", choices=["ours", "plain"])
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, required=True, help="of one plain process")
    parser.add_argument("--pruner", choices=list(PRUNERS), required=True)
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    counter = StatementCounter()
    if given.system == "ours":
        run_ours(given.url, given.folder)
    else:
        run_plain(given.url, given.folder, n_trials=given.trials, pruner=given.pruner)
    ended = time.time()
    started = turn_of(given.folder, os.getpid())
    times = os.times()
    spent = {
        "seconds": ended - started,
        "n_statements": sum(moment >= started for moment in counter.statement_times),
        "n_commits": sum(moment >= started for moment in counter.commit_times),
        "own_cpu": times.user + times.system,
        "trainer_cpu": times.children_user + times.children_system,
    }
    (given.folder / f"spent-{os.getpid()}.json").write_text(json.dumps(spent))


if __name__ == "__main__":
    main()
