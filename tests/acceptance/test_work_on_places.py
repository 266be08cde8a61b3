"""`tuner work` with several workers on one machine: real processes, one for each place."""

import contextlib
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.commands import (
    ROOT,
    TINY,
    ask,
    call,
    command,
    data,
    environment,
    settings,
    start,
    wait_for,
)

#: What `nvidia-ml-py` would be on a machine with two GPUs; TensorFlow will not see them.
TWO_GPUS = """
from types import SimpleNamespace

class NVMLError(Exception):
    pass

class NVMLError_LibraryNotFound(NVMLError):
    pass

def nvmlInit(): pass
def nvmlShutdown(): pass
def nvmlDeviceGetCount(): return 2
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetUUID(index): return f"GPU-{index}{index}{index}{index}"
def nvmlDeviceGetName(index): return "NVIDIA T4"
def nvmlDeviceGetMemoryInfo(index): return SimpleNamespace(total=16 * 2**30)
def nvmlDeviceGetMigMode(index): raise NVMLError("Not Supported")
"""


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'studies.db'}"


def create(folder: Path, storage: str, *changes: str) -> None:
    path = folder / "tiny.toml"
    path.write_text(TINY)
    done = ask("create", path, *settings(*changes), storage=storage)
    assert done.returncode == 0, done.stderr


def workers_of(parent: int) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(parent).children():
        with contextlib.suppress(psutil.ZombieProcess):  # killed, and not yet seen to be
            if "work" in child.cmdline():
                found.append(child)
    return found


def test_each_gpu_gets_a_worker_that_sees_it_alone_and_tells_what_it_does(
    storage: str, tmp_path: Path
) -> None:
    create(tmp_path, storage)
    (tmp_path / "pynvml.py").write_text(TWO_GPUS)
    outside = environment(storage) | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    del outside["CUDA_VISIBLE_DEVICES"]

    done = subprocess.run(
        command("work", "tiny"), env=outside, cwd=ROOT, capture_output=True, text=True, timeout=240
    )

    assert done.returncode == 0, done.stderr
    assert "Starting 2 workers on 2 GPUs (2 x NVIDIA T4), " in done.stderr
    for uuid in ("GPU-0000", "GPU-1111"):
        lines = [line for line in done.stderr.splitlines() if f"GPU {uuid} is there, but" in line]
        assert len(lines) == 1, done.stderr
    assert done.stderr.count(": val_accuracy ") == 3  # lines of the workers' own logs
    status = data("status", "tiny", "--format", "json", storage=storage)
    assert (status["done"], status["held"]) == (3, 0)


def test_a_killed_worker_is_started_again_and_sigterm_hands_all_trials_back(
    storage: str, tmp_path: Path
) -> None:
    create(tmp_path, storage, "data.examples=2000", "budget.epochs=200", "pruner.name=none")
    with start("work", "tiny", "--workers", "2", storage=storage) as running:
        first = wait_for_two_trials(storage, running, before=())
        victim = first[0]

        victim.kill()

        second = wait_for_two_trials(storage, running, before=first)
        assert len(set(second) - set(first)) == 1
        assert set(second) & set(first) == {first[1]}
        running.send_signal(signal.SIGTERM)
        assert running.stderr is not None
        talk = running.stderr.read()
        assert running.wait(30) == 143, talk

    assert f"worker {victim.pid} was ended by SIGKILL; it is started again" in talk
    assert talk.count("] error: Stopped by SIGTERM; a trial that ran was handed back.") == 2
    assert "Traceback" not in talk
    status = data("status", "tiny", "--format", "json", storage=storage)
    assert (status["held"], status["done"]) == (0, 0)
    assert not any(worker.is_running() for worker in (*first, *second))


def wait_for_two_trials(
    storage: str, running: "subprocess.Popen[str]", before: tuple[psutil.Process, ...]
) -> tuple[psutil.Process, ...]:
    """Wait until two workers train, of which one is new where there were others before."""
    found: list[psutil.Process] = []

    def are_two(status: dict[str, list[dict[str, object]]]) -> bool:
        found[:] = workers_of(running.pid)
        held = {row["worker"] for row in status["running"] if row["last_step"]}
        return (
            len(found) == 2
            and not set(found) <= set(before)
            and {str(name).rpartition(":")[2] for name in held} == {str(w.pid) for w in found}
        )

    wait_for(storage, are_two)
    return tuple(found)


def test_what_no_worker_can_mend_ends_all_of_them_with_its_message_and_exit_code(
    storage: str, tmp_path: Path
) -> None:
    create(tmp_path, storage)

    done = call("work", "another", "--workers", "2", storage=storage)

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "'another'" in done.stderr.splitlines()[-1]
