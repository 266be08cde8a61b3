"""Looking at processes: whose trainer is which, and what is left at the end."""

import contextlib
from pathlib import Path

import psutil


def trainers_of(pid: int) -> list[int]:
    """List the living trainers of a worker."""
    try:
        children = psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []
    return [child.pid for child in children if _is_trainer(child)]


def _is_trainer(process: psutil.Process) -> bool:
    try:
        living = process.status() != psutil.STATUS_ZOMBIE
        return living and "tuner.worker.trainer" in process.cmdline()
    except psutil.Error:  # it ended while we looked
        return False


def marked(mark: Path) -> list[int]:
    """List the processes whose folder for temporary files is this one: all trainers of ours."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it ended, or is another user's
            if process.environ().get("TMPDIR") == str(mark):
                found.append(process.pid)
    return found
