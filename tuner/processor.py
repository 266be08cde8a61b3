"""How many workers the processor of this machine bears."""

import os
from dataclasses import dataclass
from pathlib import Path

from tuner.control_groups import control_groups

#: Bytes that a worker is given room for: itself, and its trainer with 25,000 reviews and the
#: largest network of `studies/imdb.toml` (two bidirectional layers of 128 units; the default point
#: takes 0.9 GB). What it shares with other workers, such as TensorFlow's code, does not count.
WORKER_BYTES = 1_500_000_000
#: Workers of one machine, at most.
MOST_WORKERS = 256


@dataclass(frozen=True, kw_only=True)
class Crew:
    """How many workers train on a processor."""

    #: Workers.
    n_workers: int
    #: Why not more, for people, such as ``2 cores, 22.9 GB free``.
    why: str


def fitting_crew(
    *, cores: int, free_bytes: int, threads: int = 1, n_open: int | None = None
) -> Crew:
    """Count the workers that a processor bears, one at least.

    The steps of a GRU are small products of matrices, which threads share badly: two workers with
    a thread each train a quarter more reviews a second than one worker with two threads.

    Args:
        cores: That can be used.
        free_bytes: Memory that can still be taken.
        threads: Of each training.
        n_open: Slots that are left to a study; None where that is not known.

    Example:
        >>> fitting_crew(cores=4, free_bytes=5_200_000_000)
        Crew(n_workers=3, why='4 cores, 5.2 GB free, up to 1.5 GB a worker')
    """
    by_cores, by_memory = cores // threads, free_bytes // WORKER_BYTES
    n = min(by_cores, by_memory, MOST_WORKERS)
    why = f"{cores} core{'s' if cores > 1 else ''}, {free_bytes / 1e9:.1f} GB free"
    if by_memory < by_cores:
        why += f", up to {WORKER_BYTES / 1e9:.1f} GB a worker"
    if n_open is not None and n_open < n:
        n = n_open
        why += f", {n_open} trial{'s' if n_open > 1 else ''} left"
    return Crew(n_workers=max(1, n), why=why)


def usable_cores(
    *, root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> int:
    """Count the cores that this process may use, rounded up.

    A container's or a pod's limit counts, which the number of the machine's cores does not tell.

    Args:
        root: Where control groups are mounted.
        membership: Which of them are ours.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    groups = control_groups("cpu", root=root, membership=membership)
    for folder in groups.folders:
        try:
            quota, period = _first_limit(folder) if groups.are_first else _limit(folder)
        except (OSError, ValueError):  # the topmost has none, nor has one without a limit
            continue
        cores = min(cores, -(-quota // period))
    return max(1, cores)


def _limit(folder: Path) -> tuple[int, int]:
    """Read microseconds of processor time, and of the period for which they are given.

    Raises:
        ValueError: There is no limit (``max``).

    References:
        https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
    """
    quota, period = (folder / "cpu.max").read_text().split()
    return int(quota), int(period)


def _first_limit(folder: Path) -> tuple[int, int]:
    """Read the same of control groups of version 1.

    Raises:
        ValueError: There is no limit (-1).

    References:
        https://docs.kernel.org/scheduler/sched-bwc.html
    """
    quota = int((folder / "cpu.cfs_quota_us").read_text())
    if quota < 0:
        raise ValueError(quota)
    return quota, int((folder / "cpu.cfs_period_us").read_text())
