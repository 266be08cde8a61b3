"""What this machine offers its workers: cores, memory, open files."""

import os
import resource
from collections.abc import Iterator

from tuner.doctor.finding import Finding, fail, ok, warn
from tuner.processor import usable_cores
from tuner.worker.memory import MemoryGroup

#: Bytes that a worker takes: itself, and its trainer with TensorFlow and a model of usual size.
WORKER_BYTES = 10**9
#: Files that a worker has open, with room to spare.
_FILES = 256


def check_cores() -> Iterator[Finding]:
    """Count the cores that workers share."""
    usable, there = usable_cores(), os.cpu_count() or 1
    of = f" of the machine's {there}" if usable < there else ""
    yield ok("cores", f"{usable}{of} can be used; workers of one machine share them")


def check_memory(
    group: MemoryGroup | None = None, *, cores: int | None = None
) -> Iterator[Finding]:
    """Say how many workers the memory is enough for.

    Args:
        group: What limits the memory; None for what limits this process's.
        cores: That workers share; None for all that this process may use.
    """
    group, cores = group or MemoryGroup(), cores or usable_cores()
    fillings = list(group.fillings())
    memory, total = min(filling.limit for filling in fillings), fillings[-1].limit
    whose = f"a limit; the machine has {_gb(total)}" if memory < total else "in all"
    fitting = memory // WORKER_BYTES
    shares = ", ".join(
        f"{n} worker{'s' if n > 1 else ''} {_gb(memory // n)}{' each' if n > 1 else ''}"
        for n in _powers(min(cores, fitting))
    )
    if fitting == 0:
        yield fail(
            "memory",
            f"{_gb(memory)} ({whose}); a worker with its trainer takes about {_gb(WORKER_BYTES)}.",
            "Give the machine or container more.",
        )
    elif fitting < cores:
        yield warn(
            "memory",
            f"{_gb(memory)} ({whose}), too little for a worker on each of {cores} cores: {shares}.",
            f"`--workers {fitting}` at most, or give the machine or container more.",
        )
    else:
        yield ok("memory", f"{_gb(memory)} ({whose}): {shares}")
    if group.ends_together():
        yield warn(
            "out of memory",
            "the kernel then ends the whole container (memory.oom.group is 1), the worker with "
            "the trainer: nobody notes that the trial was too large, and it is tried again.",
            "Leave room in the memory limit; on Kubernetes set singleProcessOOMKill: true for "
            "the kubelet.",
        )


def _powers(most: int) -> list[int]:
    """Give 1, 2, 4, ... and the most."""
    return sorted({1 << power for power in range(most.bit_length())} | {most}) if most else []


def _gb(number: float) -> str:
    return f"{number / 1e9:.1f} GB"


def check_open_files() -> Iterator[Finding]:
    """See whether a process may open enough files and connections."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        yield ok("open files", "as many as wanted")
    elif most >= _FILES:
        yield ok("open files", f"{most} a process")
    else:
        yield warn(
            "open files",
            f"a process may open {most}, fewer than the {_FILES} that leave room to spare.",
            "Raise the limit: `ulimit -n 1024`.",
        )
