"""How many workers a cluster gets, and what each takes of it; knows nothing of Ray."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tuner.errors import InputError
from tuner.processor import WORKER_BYTES


@dataclass(frozen=True, kw_only=True)
class Node:
    """What one machine of a cluster offers to all its tasks."""

    #: Cores.
    cpus: int
    #: GPUs.
    gpus: int
    #: Bytes of memory.
    memory: int


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
    #: Bytes of memory that each asks for; 0 where only cores or GPUs decide who finds room.
    memory: int


def arrange(
    nodes: Sequence[Node],
    *,
    n_workers: int | Literal["auto"] | None,
    gpus_per_worker: float | None,
    n_open: int | None = None,
) -> Arrangement:
    """Share a cluster out between workers.

    Args:
        nodes: The machines that are there.
        n_workers: How many workers; None for as many as find a GPU, or one a node where workers
            take none; ``"auto"`` for as many as find a GPU, or a core and memory.
        gpus_per_worker: From 0 to 1; None for 1 where there are GPUs, else 0.
        n_open: Slots that are left to the study: ``"auto"`` makes no more workers.

    Raises:
        InputError: Nothing says how many workers there are: no node has room for any.

    Example:
        >>> nodes = [Node(cpus=8, gpus=1, memory=2**34), Node(cpus=16, gpus=2, memory=2**35)]
        >>> arrange(nodes, n_workers=None, gpus_per_worker=None)
        Arrangement(n_workers=3, n_placed=3, gpus=1.0, threads=8, memory=0)
    """
    share = gpus_per_worker
    if share is None:
        share = 1.0 if any(node.gpus for node in nodes) else 0.0

    # Elsewhere somebody says how many there are, or GPUs do, which are fewer than cores.
    memory = WORKER_BYTES if n_workers == "auto" and not share else 0

    def room(threads: int) -> int:
        return sum(
            min(
                node.cpus // threads,
                node.gpus * sharing(share) if share else node.cpus,
                node.memory // memory if memory else node.cpus,
            )
            for node in nodes
        )

    if isinstance(n_workers, int):
        n = n_workers
    else:
        n = room(1) if share or memory else sum(node.cpus > 0 for node in nodes)
    if n_workers == "auto" and n_open:
        n = min(n, n_open)
    if not n:
        needs = f"{share:g} GPU" if not memory else f"{memory / 1e9:.1f} GB of memory"
        raise InputError(
            f"No machine of the Ray cluster has a core and {needs} for a worker. Give "
            f"--workers N to wait for machines that do, or another --gpus-per-worker."
        )
    placed = min(n, room(1))
    most = max((node.cpus for node in nodes), default=0)
    most = 1 if memory else most  # whatever the study leaves to do: its trials stay comparable
    threads = next((count for count in range(most, 0, -1) if room(count) >= placed), 1)
    return Arrangement(n_workers=n, n_placed=placed, gpus=share, threads=threads, memory=memory)


def sharing(gpus_per_worker: float) -> int:
    """Count the workers that share a GPU."""
    return math.floor(1 / gpus_per_worker + 1e-9)
