"""Who runs here: a process that others can find again, its software, and its cache."""

import functools
import hashlib
import os
import platform
import socket
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

import tuner
from tuner.errors import InputError

#: Packages besides ours that can change what a trial proposes or learns.
PACKAGES = ("tensorflow", "keras", "numpy", "optuna")
#: Seconds by which two readings of one process's start may differ; pids come back far later.
START_TOLERANCE = 1.0


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A process that holds slots, so described that it cannot be taken for another one."""

    #: ``host:pid``, for people.
    name: str
    #: Within what `pid` means one process: a machine since its boot, or a container on it.
    machine: str
    #: Process id.
    pid: int
    #: Seconds; since the machine's boot on Linux, since 1970 elsewhere.
    started: float


def this_process() -> Holder:
    """Describe the process that asks."""
    pid = os.getpid()
    return Holder(
        name=f"{socket.gethostname()}:{pid}",
        machine=_machine(),
        pid=pid,
        started=_started(psutil.Process(pid)),
    )


def own_module(name: str) -> list[str]:
    """Give the words that start one of our modules in a process of its own.

    Python would look into the current folder first, where somebody's data lies beside a
    ``tuner.py`` or a ``random.py``: ``-P`` has it leave that out, as the command ``tuner`` does.

    Args:
        name: Of the module.
    """
    return [sys.executable, "-P", "-m", name]


def is_gone(*, machine: str, pid: int, started: float) -> bool:
    """Say whether a process certainly does not live any more.

    Args:
        machine: `Holder.machine` as it was written.
        pid: `Holder.pid`, likewise.
        started: `Holder.started`, likewise.

    Returns:
        True where it ran on this machine and is dead; False where it lives or cannot be known.
    """
    if machine != _machine():
        return False
    try:
        os.kill(pid, 0)  # signal 0 asks only, and sees what a /proc with `hidepid` hides
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # another user's, but there
    try:
        process = psutil.Process(pid)
        if abs(_started(process) - started) > START_TOLERANCE:
            return True  # the pid is somebody else's now
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.ZombieProcess:
        return True
    except psutil.Error:
        return False  # hidden from us, or dying at this moment: the next look will tell


@functools.cache
def versions() -> Mapping[str, str]:
    """List the versions of what runs here, without loading any of it.

    Returns:
        By package; ours with a hash of its sources, so that edited code is visible. Read once:
        ask early, while the files are still those that Python has loaded.
    """
    found = {
        "tuner": f"{tuner.__version__}+{_source_hash(Path(tuner.__file__).parent)}",
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # a worker with another objective needs not all
            continue
    return found


@functools.cache
def _machine() -> str:
    """Name that within which a pid means one process.

    What a container is told of its host can be hidden. Then nobody can be recognised here, which
    costs time, where a wrong guess would take a slot from a living worker.
    """
    try:
        if sys.platform == "linux":
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            place = f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
        else:
            place = f"{uuid.getnode():012x}"  # random where there is no network card
    except OSError:
        place = uuid.uuid4().hex
    return f"{socket.gethostname()}/{place}"


def _started(process: psutil.Process) -> float:
    if sys.platform != "linux":
        return process.create_time()
    # There psutil adds the time of the boot by today's clock: setting the clock would make every
    # living process another one. The boot is read first, which older psutil then also uses.
    boot = psutil.boot_time()
    return process.create_time() - boot


def _source_hash(folder: Path) -> str:
    """Hash names and contents of all sources of a package."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        source = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(source)}\0".encode())
        digest.update(source)
    return digest.hexdigest()[:8]


def cache_folder() -> Path:
    """Give the folder for what can be had again: downloads, prepared data, copies of checkpoints.

    All of a user's processes on a machine share it; it need not be there.

    Returns:
        What ``TUNER_CACHE`` names, else ``tuner`` below ``XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        InputError: None of these is known.
    """
    if chosen := os.environ.get("TUNER_CACHE"):
        return Path(chosen).absolute()
    if home := os.environ.get("XDG_CACHE_HOME"):
        return Path(home) / "tuner"
    try:
        return Path.home() / ".cache" / "tuner"
    except RuntimeError as error:
        raise InputError(
            "This user has no home folder, and no other folder is named for what can be had "
            "again. Name one with TUNER_CACHE."
        ) from error
