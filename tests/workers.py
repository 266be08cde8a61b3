"""Workers of this process with objectives of `tests.objectives`, and their trainers."""

import os
from typing import Any

import psutil

from tuner.storage import Database, StoredStudy
from tuner.worker.worker import Worker, WorkerOptions


def make_worker(database: Database, study: StoredStudy, objective: str, **more: Any) -> Worker:
    """Make a worker, with more options where a test needs them."""
    options = WorkerOptions(threads=1, objective=f"tests.objectives:{objective}", **more)
    return Worker(database, study, options=options, environment=os.environ)


def trainers() -> list[psutil.Process]:
    """Find the trainers of this process's workers; a browser or a server is no trainer."""
    return [child for child in psutil.Process().children() if _is_trainer(child)]


def _is_trainer(process: psutil.Process) -> bool:
    try:
        return "tuner.worker.trainer" in " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return False
