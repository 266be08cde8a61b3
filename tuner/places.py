"""Which worker trains where, and what its processes see of the machine.

Every decision about GPUs is made here, without TensorFlow, and carried out by `tuner.device`.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import InputError
from tuner.gpus import Gpu, Gpus

#: MiB of a shared GPU that each process on it needs beside what TensorFlow hands out: its CUDA
#: context, and the kernels of cuDNN and cuBLAS.
RESERVE_MB = 768
#: MiB below which a share is of no use.
LEAST_MEMORY_MB = 256


@dataclass(frozen=True, kw_only=True)
class Place:
    """What one worker trains on."""

    #: Its GPU; None for a worker that trains on the processor and sees no GPU.
    gpu: Gpu | None
    #: MiB of the GPU that its trainer may take; None for as much as it needs.
    memory_limit_mb: int | None
    #: Threads for the training.
    threads: int


def places(gpus: Gpus, *, n_workers: int | None, per_gpu: int, cores: int) -> tuple[Place, ...]:
    """Give each worker of a machine its place.

    Workers go to GPUs in turn, so that none has two more than another. Those that share a GPU
    share its memory; one that is alone takes what it needs. The cores are shared between all.

    Args:
        gpus: What there is.
        n_workers: How many workers; None for `per_gpu` on each GPU, or one where there is none.
        per_gpu: Workers on each GPU, where `n_workers` does not say how many there are.
        cores: Of the processor.

    Raises:
        InputError: A GPU has too little memory for so many.

    Example:
        >>> gpu = Gpu(uuid="GPU-1", name="NVIDIA T4", memory_mb=15360)
        >>> [p.memory_limit_mb for p in places(
        ...     Gpus(found=(gpu,), why_none=""), n_workers=None, per_gpu=2, cores=8)]
        [6912, 6912]
    """
    n_gpus = len(gpus.found)
    n = n_workers if n_workers is not None else max(1, n_gpus * per_gpu)
    threads = max(1, cores // n)
    if not n_gpus:
        return (Place(gpu=None, memory_limit_mb=None, threads=threads),) * n
    sharing = [n // n_gpus + (index < n % n_gpus) for index in range(n_gpus)]
    return tuple(
        Place(
            gpu=gpus.found[worker % n_gpus],
            memory_limit_mb=memory_share(gpus.found[worker % n_gpus], sharing[worker % n_gpus]),
            threads=threads,
        )
        for worker in range(n)
    )


def memory_share(gpu: Gpu, n_sharing: int) -> int | None:
    """Say how much of a GPU's memory each of its trainers may take.

    Args:
        gpu: The GPU.
        n_sharing: How many trainers use it.

    Returns:
        MiB, what each process needs besides taken off; None for a trainer that is alone, or where
        the memory is unknown: it grows as it needs.

    Raises:
        InputError: It has too little memory for so many.
    """
    if n_sharing < 2 or not gpu.memory_mb:
        return None
    share = gpu.memory_mb // n_sharing - RESERVE_MB
    if share < LEAST_MEMORY_MB:
        fitting = max(1, gpu.memory_mb // (RESERVE_MB + LEAST_MEMORY_MB))
        raise InputError(
            f"{n_sharing} workers cannot share {gpu.name} with its {gpu.memory_mb} MiB: each needs "
            f"{RESERVE_MB} MiB for CUDA and at least {LEAST_MEMORY_MB} MiB for a model. Give it "
            f"{fitting} at most, with --per-gpu or --workers."
        )
    return share


# --- what a process sees -------------------------------------------------------------------------


def place_environment(
    uuid: str, environment: Mapping[str, str], *, folders: Iterable[str] | None = None
) -> dict[str, str]:
    """Choose what decides, before Python starts, which GPU a process sees.

    TensorFlow does not find all of the CUDA libraries that pip installs beside it: the loader must
    know their folders, and reads them when a process starts.

    Args:
        uuid: Of the process's GPU; empty for none.
        environment: Of which ``LD_LIBRARY_PATH`` is kept, behind those libraries.
        folders: Where Python looks for packages; None for this process's.

    Returns:
        Variables to set.
    """
    if not uuid:
        return {"CUDA_VISIBLE_DEVICES": "-1"}
    variables = {"CUDA_VISIBLE_DEVICES": uuid}
    libraries = cuda_libraries(sys.path if folders is None else folders)
    if libraries:
        known = [p for p in environment.get("LD_LIBRARY_PATH", "").split(":") if p]
        path = [*libraries, *(folder for folder in known if folder not in libraries)]
        variables["LD_LIBRARY_PATH"] = ":".join(path)
    return variables


def cuda_libraries(folders: Iterable[str]) -> tuple[str, ...]:
    """Find the folders of CUDA libraries that pip installed, as ``tensorflow[and-cuda]`` does.

    Args:
        folders: Where Python looks for packages.
    """
    found = (path for folder in folders for path in Path(folder).glob("nvidia/*/lib"))
    return tuple(sorted({str(path.resolve()) for path in found if path.is_dir()}))
