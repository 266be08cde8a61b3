"""From the options of `run` and `work` to the places of workers on this machine."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tuner.errors import InputError
from tuner.places import Place, discover, places, usable_cores


def local_places(
    *,
    workers: int | None,
    per_gpu: int | None,
    require_gpu: bool,
    threads: int | None = None,
    gpu_memory: int | None = None,
) -> tuple[Place, ...]:
    """Decide how many workers this machine runs, and what each trains on.

    Args:
        workers: ``--workers``.
        per_gpu: ``--per-gpu``.
        require_gpu: ``--require-gpu``.
        threads: ``--threads``, for each of them.
        gpu_memory: ``--gpu-memory`` in MiB, for each of them.

    Raises:
        InputError: Options contradict each other or the machine.
    """
    if workers is not None and per_gpu is not None:
        raise InputError(
            f"--workers {workers} and --per-gpu {per_gpu} both say how many workers there are. "
            f"Give one of them."
        )
    gpus = discover(os.environ)
    if require_gpu and not gpus.found:
        raise InputError(
            f"--require-gpu was given, but {gpus.why_none}. `tuner doctor` says more; without "
            f"--require-gpu the processor trains."
        )
    made = places(gpus, n_workers=workers, per_gpu=per_gpu or 1, cores=usable_cores())
    return tuple(
        replace(
            place,
            threads=threads or place.threads,
            memory_limit_mb=(gpu_memory or place.memory_limit_mb) if place.gpu else None,
        )
        for place in made
    )


def described(chosen: Sequence[Place]) -> str:
    """Say who trains where, such as ``4 workers on 2 GPUs (2 x NVIDIA T4), 4 threads each``."""
    n = f"{len(chosen)} worker{'s' if len(chosen) > 1 else ''}"
    threads = f"{chosen[0].threads} thread{'s' if chosen[0].threads > 1 else ''}"
    threads += " each" if len(chosen) > 1 else ""
    names = Counter(gpu.name for gpu in {place.gpu for place in chosen} if gpu is not None)
    if not names:
        return f"{n} on the processor, {threads}"
    models = ", ".join(f"{count} x {name}" for name, count in sorted(names.items()))
    return f"{n} on {names.total()} GPU{'s' if names.total() > 1 else ''} ({models}), {threads}"
