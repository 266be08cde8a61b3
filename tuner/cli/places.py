"""From the options of `run` and `work` to the places of workers on this machine."""

import os
from collections import Counter
from dataclasses import dataclass, replace

from tuner.cli.group import WorkerCount
from tuner.errors import InputError
from tuner.gpus import discover
from tuner.places import Place, places
from tuner.processor import fitting_crew, usable_cores
from tuner.worker.memory import MemoryGroup


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The places of this machine's workers."""

    #: One for each worker.
    places: tuple[Place, ...]
    #: Why so many, for people; empty where somebody said how many, or GPUs do.
    why: str

    def __str__(self) -> str:
        """Say who trains where, such as ``4 workers on 2 GPUs (2 x NVIDIA T4), 4 threads each``."""
        n, threads = len(self.places), self.places[0].threads
        line = f"{n} worker{'s' if n > 1 else ''} on {self._devices()}, "
        line += f"{threads} thread{'s' if threads > 1 else ''}{' each' if n > 1 else ''}"
        return f"{line}: {self.why}" if self.why else line

    def _devices(self) -> str:
        gpus = {place.gpu for place in self.places if place.gpu is not None}
        if not gpus:
            return "the processor"
        names = Counter(gpu.name for gpu in gpus)
        models = ", ".join(f"{count} x {name}" for name, count in sorted(names.items()))
        return f"{len(gpus)} GPU{'s' if len(gpus) > 1 else ''} ({models})"


class LocalPlaces:
    """What this machine offers, and what somebody asked for.

    Args:
        workers: ``--workers``.
        per_gpu: ``--per-gpu``.
        require_gpu: ``--require-gpu``.
        threads: ``--threads``, for each of them.
        gpu_memory: ``--gpu-memory`` in MiB, for each of them.

    Raises:
        InputError: Options contradict each other or the machine.
    """

    def __init__(
        self,
        *,
        workers: WorkerCount,
        per_gpu: int | None,
        require_gpu: bool,
        threads: int | None = None,
        gpu_memory: int | None = None,
    ) -> None:
        if isinstance(workers, int) and per_gpu is not None:
            raise InputError(
                f"--workers {workers} and --per-gpu {per_gpu} both say how many workers there are. "
                f"Give one of them."
            )
        self._gpus = discover(os.environ)
        if require_gpu and not self._gpus.found:
            raise InputError(
                f"--require-gpu was given, but {self._gpus.why_none}. `tuner doctor` says more; "
                f"without --require-gpu the processor trains."
            )
        self._cores = usable_cores()
        self._workers = workers
        self._per_gpu = per_gpu or 1
        self._threads = threads
        self._gpu_memory = gpu_memory
        self.choose()  # what does not fit is refused now

    def choose(self, n_open: int | None = None) -> Chosen:
        """Decide how many workers this machine runs, and what each trains on.

        Args:
            n_open: Slots that are left to the study, which ``--workers auto`` looks at; None where
                that is not known.
        """
        if self._workers != "auto":
            return Chosen(places=self._places(self._workers), why="")
        if not self._gpus.found:
            return self._on_processor(n_open)
        n = len(self._gpus.found) * self._per_gpu
        return Chosen(places=self._places(n if n_open is None else min(n, max(1, n_open))), why="")

    def _places(self, n: int | None) -> tuple[Place, ...]:
        return tuple(
            replace(
                place,
                threads=self._threads or place.threads,
                memory_limit_mb=(self._gpu_memory or place.memory_limit_mb) if place.gpu else None,
            )
            for place in places(self._gpus, n_workers=n, per_gpu=self._per_gpu, cores=self._cores)
        )

    def _on_processor(self, n_open: int | None) -> Chosen:
        threads = self._threads or 1
        crew = fitting_crew(
            cores=self._cores,
            free_bytes=min(one.limit - one.used for one in MemoryGroup().fillings()),
            threads=threads,
            n_open=n_open,
        )
        place = Place(gpu=None, memory_limit_mb=None, threads=threads)
        return Chosen(places=(place,) * crew.n_workers, why=crew.why)
