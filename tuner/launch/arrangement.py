"""How many workers a cluster gets, and what each takes of it; knows nothing of Ray."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Node:
    """What one machine of a cluster offers to all its tasks."""

    #: Cores.
    cpus: int
    #: GPUs.
    gpus: int


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """How many workers a cluster gets, and what each takes of it."""

    #: Workers to start.
    n_workers: int
    #: Of them, how many find room on the nodes that are there.
    n_placed: int
    #: GPUs that each takes; below 1 they share.
    gpus: float
    #: Threads of each training. The same everywhere, so that any worker can go on with any trial.
    threads: int


def arrange(
    nodes: Sequence[Node], *, n_workers: int | None, gpus_per_worker: float | None
) -> Arrangement:
    """Share a cluster out between workers.

    Args:
        nodes: The machines that are there.
        n_workers: How many workers; None for as many as find a GPU, or one a node where workers
            take none.
        gpus_per_worker: From 0 to 1; None for 1 where there are GPUs, else 0.

    Raises:
        InputError: Nothing says how many workers there are: no node has room for any.

    Example:
        >>> nodes = [Node(cpus=8, gpus=1), Node(cpus=16, gpus=2)]
        >>> arrange(nodes, n_workers=None, gpus_per_worker=None)
        Arrangement(n_workers=3, n_placed=3, gpus=1.0, threads=8)
    """
    share = gpus_per_worker
    if share is None:
        share = 1.0 if any(node.gpus for node in nodes) else 0.0

    def room(threads: int) -> int:
        return sum(
            min(node.cpus // threads, node.gpus * sharing(share) if share else node.cpus)
            for node in nodes
        )

    by_default = room(1) if share else sum(node.cpus > 0 for node in nodes)
    n = by_default if n_workers is None else n_workers
    if not n:
        raise InputError(
            f"No machine of the Ray cluster has a core and {share:g} GPU for a worker. Give "
            f"--workers N to wait for machines that do, or another --gpus-per-worker."
        )
    placed = min(n, room(1))
    most = max((node.cpus for node in nodes), default=0)
    threads = next((count for count in range(most, 0, -1) if room(count) >= placed), 1)
    return Arrangement(n_workers=n, n_placed=placed, gpus=share, threads=threads)


def sharing(gpus_per_worker: float) -> int:
    """Count the workers that share a GPU."""
    return math.floor(1 / gpus_per_worker + 1e-9)
