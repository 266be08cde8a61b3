"""Workers with objectives of `tests.objectives`, here and in processes, and their trainers."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tuner.config import StudyConfig
from tuner.errors import TunerError
from tuner.storage import Database, StoredStudy, create_study, find_study
from tuner.worker.interruption import Interruption
from tuner.worker.pool import Pool
from tuner.worker.worker import Worker, WorkerOptions


def make_worker(database: Database, study: StoredStudy, objective: str, **more: Any) -> Worker:
    """Make a worker, with more options where a test needs them."""
    options = WorkerOptions(threads=1, objective=f"tests.objectives:{objective}", **more)
    return Worker(database, study, options=options, environment=os.environ)


def work(url: str, objective: str) -> None:
    """Be a worker of the toy study: what a process runs."""
    with Database.open(url) as database:
        make_worker(database, find_study(database, "toy"), objective).run()


def work_with_log(url: str, log: Path, options: WorkerOptions, lock_timeout: float) -> None:
    """Be one as the command line would make it, with a log in a file."""
    interruption = Interruption()

    def run() -> None:
        with Database.open(url, lock_timeout=lock_timeout) as database:
            study = find_study(database, "toy")
            Worker(
                database,
                study,
                options=options,
                environment=os.environ,
                interruption=interruption,
            ).run()

    _run_as_a_command(run, interruption, log)


def serve_with_log(url: str, log: Path, options: WorkerOptions) -> None:
    """Be a standing worker as the command line would make it, with a log in a file."""
    interruption = Interruption()

    def run() -> None:
        with Database.open(url) as database:
            Pool(database, options=options, environment=os.environ, interruption=interruption).run()

    _run_as_a_command(run, interruption, log)


def _run_as_a_command(run: Callable[[], None], interruption: Interruption, log: Path) -> None:
    logging.basicConfig(filename=log, level=logging.INFO, format="%(message)s")
    interruption.handle_signals(end_process=os._exit)
    try:
        run()
    except TunerError as error:
        logging.getLogger().error("%s", error)  # noqa: TRY400 - as the command line tells it
        sys.exit(error.exit_code)


def create(url: str, config: str) -> bool:
    """Create a study; say whether somebody else had done so."""
    with Database.open(url, create=True) as database:
        return create_study(database, StudyConfig.from_json(config)).existed


def trainers() -> list[psutil.Process]:
    """Find the trainers of this process's workers; a browser or a server is no trainer."""
    return [child for child in psutil.Process().children() if _is_trainer(child)]


def _is_trainer(process: psutil.Process) -> bool:
    try:
        return "tuner.worker.trainer" in " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return False
