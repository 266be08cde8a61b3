"""Workers on a Ray cluster: Ray finds machines and GPUs for them, and starts lost ones again."""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from tuner.errors import InputError, StorageUnavailableError, TunerError
from tuner.gpus import Gpu, discover
from tuner.launch.arrangement import Arrangement, Node, arrange, sharing
from tuner.launch.connection import connect, load_ray
from tuner.launch.local import GRACE_SECONDS, LocalWorkers
from tuner.places import Place, memory_share

log = logging.getLogger(__name__)

#: Seconds between a task's looks at its worker.
LOOK_SECONDS = 0.25
#: Seconds that cancelled tasks have: their workers hand trials back, and Ray tells of it.
CANCEL_SECONDS = GRACE_SECONDS + 4.0


class RayWorkers:
    """Workers of one study as tasks of a Ray cluster.

    A task is `LocalWorkers` with one worker on the machine that Ray chose, where the worker is
    started again when it is killed. Ray runs a task again whose process or machine is lost. How
    far the study is, only its database tells.

    Args:
        study: Name of a stored study.
        storage: URL of its storage, without a password: it travels over Ray's connections.
        artifacts: ``--artifacts`` for every worker.
        address: Of a cluster, or ``"local"`` for a new one on this machine.
        n_workers: How many; None or ``"auto"`` for as many as `arrange` finds fitting.
        gpus_per_worker: What each takes; None for 1 where there are GPUs.
        options: More words for ``tuner work``.
        n_open: Slots that are left to the study, which ``"auto"`` looks at.
    """

    def __init__(
        self,
        study: str,
        *,
        storage: str,
        artifacts: str,
        address: str,
        n_workers: int | Literal["auto"] | None,
        gpus_per_worker: float | None,
        options: Sequence[str] = (),
        n_open: int | None = None,
    ) -> None:
        self._ray = load_ray(address)
        self._address = address
        self._n_workers = n_workers
        self._gpus_per_worker = gpus_per_worker
        self._n_open = n_open
        root = os.environ.get("TUNER_DATA")
        self._work = {
            "study": study,
            "storage": storage,
            "artifacts": artifacts,
            "data_root": str(Path(root).resolve()) if root else None,
            "options": tuple(options),
        }
        self._tasks: list[Any] = []
        self._failures: list[TunerError] = []
        self._is_over = False
        self._opened = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            # Ray tells of lost machines on stdout, which is for data.
            opened.enter_context(contextlib.redirect_stdout(sys.stderr))
            opened.callback(self._ray.shutdown)
            connect(self._ray, self._address)
            nodes = [
                Node(
                    cpus=int(node["Resources"].get("CPU", 0)),
                    gpus=int(node["Resources"].get("GPU", 0)),
                    memory=int(node["Resources"].get("memory", 0)),
                )
                for node in self._ray.nodes()
                if node["Alive"]
            ]
            chosen = arrange(
                nodes,
                n_workers=self._n_workers,
                gpus_per_worker=self._gpus_per_worker,
                n_open=self._n_open,
            )
            log.info(_described(chosen, len(nodes)))
            task = self._ray.remote(
                num_gpus=chosen.gpus,
                # Where workers take GPUs, these limit them, not who else uses the cores.
                num_cpus=1 if chosen.gpus else chosen.threads,
                memory=chosen.memory or None,
                max_retries=-1,
                scheduling_strategy="SPREAD",
            )(work_here)
            self._tasks = [
                task.options(name=f"tuner work {self._work['study']}").remote(
                    **self._work, gpus=chosen.gpus, threads=chosen.threads
                )
                for _ in range(chosen.n_workers)
            ]
            opened.callback(self._cancel)
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def check(self) -> bool:
        """Look after the tasks.

        Returns:
            Whether any worker still works, or waits for a machine.

        Raises:
            TunerError: All of them ended, or one did in a way that starting it again would not
                mend.
        """
        ended, self._tasks = self._ray.wait(self._tasks, num_returns=len(self._tasks), timeout=0)
        for task in ended:
            try:
                self._ray.get(task)
            except self._ray.exceptions.RayError as error:
                cause = getattr(error, "cause", None)
                if isinstance(cause, InputError | StorageUnavailableError):
                    raise cause from None
                self._failures.append(
                    cause if isinstance(cause, TunerError) else TunerError(str(error))
                )
            else:
                self._is_over = True
                self._cancel()  # The study is over, also for those that wait for a machine.
        if self._failures and not self._tasks and not self._is_over:
            raise self._failures[0]
        return bool(self._tasks)

    def _cancel(self) -> None:
        """End all tasks, and wait until their workers have handed their trials back."""
        for task in self._tasks:
            self._ray.cancel(task)
        if self._tasks:
            self._ray.wait(self._tasks, num_returns=len(self._tasks), timeout=CANCEL_SECONDS)
        self._tasks = []


def _described(chosen: Arrangement, n_nodes: int) -> str:
    waiting = chosen.n_workers - chosen.n_placed
    return (
        f"Starting {chosen.n_workers} worker{'s' if chosen.n_workers > 1 else ''} on Ray "
        f"({n_nodes} machine{'s' if n_nodes > 1 else ''}), each with {chosen.gpus:g} GPU and "
        f"{chosen.threads} thread{'s' if chosen.threads > 1 else ''}"
        + (f"; waiting for room: {waiting}" if waiting else "")
    )


def work_here(
    *,
    study: str,
    storage: str,
    artifacts: str,
    data_root: str | None,
    options: Sequence[str],
    gpus: float,
    threads: int,
) -> None:
    """Look after one worker on this machine until the study is over: what a task does.

    Args:
        study: Name of a stored study.
        storage: URL of its storage.
        artifacts: ``--artifacts``.
        data_root: ``TUNER_DATA`` where this machine has none.
        options: More words for ``tuner work``.
        gpus: What Ray gave to the task; which GPU, ``CUDA_VISIBLE_DEVICES`` tells.
        threads: Of the training.

    Raises:
        TunerError: What went wrong in the worker.
    """
    environment = ({"TUNER_DATA": data_root} if data_root else {}) | dict(os.environ)
    with LocalWorkers(
        study,
        storage=storage,
        places=[_place(gpus, threads)],
        environment=environment,
        artifacts=artifacts,
        options=options,
        echo=lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201 - Ray's log
    ) as workers:
        while workers.check():
            time.sleep(LOOK_SECONDS)


def _place(gpus: float, threads: int) -> Place:
    if not gpus:
        return Place(gpu=None, memory_limit_mb=None, threads=threads)
    found = discover(os.environ).found
    # What Ray counts and the driver does not know is handed on as it is: the worker will tell.
    unknown = Gpu(uuid=os.environ.get("CUDA_VISIBLE_DEVICES", "-1"), name="unknown", memory_mb=0)
    gpu = found[0] if found else unknown
    return Place(gpu=gpu, memory_limit_mb=memory_share(gpu, sharing(gpus)), threads=threads)
