"""One contestant's time: start its process, end it, and all that it started, when time is up."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.benchmarks.peers.field import ROOM, Contestant
from tests.benchmarks.peers.protocol import Course, Evaluation, Job, Params, read_journal

ROOT = Path(__file__).parents[3]
#: Characters of a failed process's words that are shown.
LAST_WORDS = 3_000


class ContestError(Exception):
    """A process failed."""


@dataclass(frozen=True, kw_only=True)
class Time:
    """What came of a contestant's time."""

    #: From its start to its end.
    seconds: float
    #: What it told.
    course: Course
    #: The best of that.
    pick: Evaluation


def run(contestant: Contestant, job: Job, *, seconds: float, records: Path) -> Time:
    """Let a contestant search, in a process of its own.

    Args:
        contestant: Who.
        job: What it is to do; its time begins now.
        seconds: After which it is killed.
        records: Folder for what it says.

    Raises:
        ContestError: It failed, or told nothing.
    """
    journal = Path(job.journal)
    journal.unlink(missing_ok=True)
    job = dataclasses.replace(job, began=time.monotonic())
    words = [*contestant.words, _job_file(job)]
    code = _run(contestant.module, words, job=job, log=records / "log", seconds=seconds)
    spent = time.monotonic() - job.began
    course = read_journal(journal)
    pick = course.pick
    if code or pick is None:
        how = "in its time" if code is None else f"and ended with exit code {code}"
        raise ContestError(
            f"{contestant.title} told of {len(course.evaluations)} evaluations {how}. "
            f"Its last words ({records / 'log'}):\n{_last_words(records / 'log')}"
        )
    return Time(seconds=min(spent, seconds), course=course, pick=pick)


def test(contestant: Contestant, job: Job, *, params: Params, epochs: int, records: Path) -> float:
    """Train what a contestant chose once more, and judge it by the test reviews.

    For all in one way, as those who are killed keep no weights: in a new process, with the
    contestant's own training code, its seed, and as many epochs as led to the choice, of which the
    one that is best on the validation reviews counts.

    Args:
        contestant: Who.
        job: What it had to do.
        params: What it chose.
        epochs: How many led to the choice.
        records: Folder for what is said.

    Raises:
        ContestError: The training failed.
    """
    choice, log = Path(job.scratch, "choice.json"), records / "test-log"
    told = {
        "trains_as": contestant.trains_as(job.table),
        "vocabulary": contestant.vocabulary,
        "epochs": epochs,
        "params": dict(params),
    }
    choice.write_text(json.dumps(told), encoding="utf-8")
    code = _run(f"{ROOM}.judge", [str(choice), _job_file(job)], job=job, log=log, seconds=None)
    if code:
        raise ContestError(f"{contestant.title}'s choice was not tested:\n{_last_words(log)}")
    return float(Path(job.scratch, "accuracy").read_text())


def _job_file(job: Job) -> str:
    path = Path(job.scratch, "job.json")
    job.write(path)
    return str(path)


def _run(
    module: str, words: Sequence[str], *, job: Job, log: Path, seconds: float | None
) -> int | None:
    """Run a module and wait; give its exit code, or None where it was killed."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),  # for Ray's workers
        "RAY_TMPDIR": job.scratch,
        "TUNER_CACHE": str(Path(job.scratch, "cache")),
    }
    with log.open("wb") as file:
        process = psutil.Popen(
            [sys.executable, "-m", module, *words],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            return int(process.wait(seconds))
        except psutil.TimeoutExpired:
            return None
        finally:
            _kill(process)


def _kill(root: psutil.Process) -> None:
    """Kill a process and all that it started, in whatever session they are.

    All are stopped before the first is killed, so that none starts another one or sees that
    another one is gone.
    """
    known: set[psutil.Process] = set()
    with contextlib.suppress(psutil.NoSuchProcess):
        while new := {root, *root.children(recursive=True)} - known:
            known |= new
            for process in new:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.suspend()
    for process in known:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(known)


def _last_words(log: Path) -> str:
    return log.read_text(errors="replace")[-LAST_WORDS:].strip()
