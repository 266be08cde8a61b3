"""Workers of this machine that die: real processes, killed before they can do anything."""

import errno
import logging
import os
import time
from pathlib import Path

import pytest

from tuner.errors import TunerError
from tuner.launch.local import MAX_RESTARTS, LocalWorkers
from tuner.places import Place

#: Python runs this when it starts: the process is gone before it is a worker.
KILLED_AT_START = """
import os, signal
print("the place sees", os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""

#: The first one has seen that its study is over, the other one waits.
DONE_OR_WAITING = """
import os, time
try:
    os.close(os.open(os.environ["TMPDIR"] + "/done", os.O_CREAT | os.O_EXCL))
except FileExistsError:
    time.sleep(600)
os._exit(0)
"""


def watch(workers: LocalWorkers) -> None:
    while workers.check():
        time.sleep(0.01)


def test_a_worker_that_is_killed_again_and_again_is_given_up_with_its_last_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sitecustomize.py").write_text(KILLED_AT_START)
    heard: list[str] = []
    with (
        caplog.at_level(logging.WARNING),
        LocalWorkers(
            "toy",
            storage="sqlite:///nowhere.db",
            places=[Place(gpu=None, memory_limit_mb=None, threads=1)],
            environment=os.environ | {"PYTHONPATH": str(tmp_path)},
            echo=heard.append,
        ) as workers,
        pytest.raises(TunerError, match="SIGKILL") as caught,
    ):
        watch(workers)

    assert "the place sees -1" in str(caught.value)
    assert [line.partition("] ")[2] for line in heard] == ["the place sees -1"] * (MAX_RESTARTS + 1)
    assert caplog.text.count("it is started again") == MAX_RESTARTS
    assert caplog.text.count("it is not started again") == 1


def test_a_log_that_cannot_be_written_does_not_stop_the_workers(tmp_path: Path) -> None:
    # More than a pipe holds: the worker would wait for somebody to read it.
    program = "for _ in range(200): print('x' * 999, flush=True)\nimport os; os._exit(0)\n"
    (tmp_path / "sitecustomize.py").write_text(program)

    def full(_line: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with LocalWorkers(
        "toy",
        storage="sqlite:///nowhere.db",
        places=[Place(gpu=None, memory_limit_mb=None, threads=1)],
        environment=os.environ | {"PYTHONPATH": str(tmp_path)},
        echo=full,
    ) as workers:
        deadline = time.monotonic() + 30
        while workers.check():
            assert time.monotonic() < deadline, "it waits for its log to be read"
            time.sleep(0.01)


def two_workers(folder: Path, program: str) -> LocalWorkers:
    """Make workers that run a program when Python starts, in place of what they are for."""
    (folder / "sitecustomize.py").write_text(program)
    return LocalWorkers(
        "toy",
        storage="sqlite:///nowhere.db",
        places=[Place(gpu=None, memory_limit_mb=None, threads=1)] * 2,
        environment=os.environ | {"PYTHONPATH": str(folder), "TMPDIR": str(folder)},
    )


def test_a_worker_that_ended_before_does_not_spoil_a_study_that_is_over(tmp_path: Path) -> None:
    done_or_dead = DONE_OR_WAITING.replace("time.sleep(600)", "os._exit(1)")
    with two_workers(tmp_path, done_or_dead) as workers:
        watch(workers)


def test_when_one_worker_is_done_nobody_waits_for_those_who_look_now_and_then(
    tmp_path: Path,
) -> None:
    with two_workers(tmp_path, DONE_OR_WAITING) as workers:
        watch(workers)

        assert not workers.check()
