"""From the options of `run --on ray` to workers on a Ray cluster."""

import os
from functools import partial

from tuner.cli.group import WorkerCount
from tuner.cli.run import Launch
from tuner.errors import InputError
from tuner.launch.connection import load_ray
from tuner.launch.ray import RayWorkers
from tuner.storage import shown
from tuner.storage.address import parse_url


def ray_workers(
    storage: str,
    *,
    workers: WorkerCount,
    per_gpu: int | None,
    gpus_per_worker: float | None,
    address: str | None,
    require_gpu: bool,
) -> Launch:
    """Decide how workers are started on a Ray cluster.

    Args:
        storage: URL of the study's storage.
        workers: ``--workers``.
        per_gpu: ``--per-gpu``, which is not for Ray.
        gpus_per_worker: ``--gpus-per-worker``.
        address: ``--address``; without it ``RAY_ADDRESS`` names a cluster, as inside a Ray job.
        require_gpu: ``--require-gpu``.

    Raises:
        InputError: Options or the storage do not fit, or Ray is not installed.
    """
    if per_gpu is not None:
        raise InputError(
            f"--per-gpu {per_gpu} is for workers on this machine. With --on ray, say which part "
            f"of a GPU each takes: --gpus-per-worker {1 / per_gpu:.3g}."
        )
    if require_gpu and gpus_per_worker == 0:
        raise InputError("--require-gpu and --gpus-per-worker 0 contradict each other.")
    _refuse_storage(storage)
    at = address or os.environ.get("RAY_ADDRESS") or "local"
    load_ray(at)  # before the study is stored
    return partial(
        RayWorkers,
        storage=storage,
        address=at,
        n_workers=workers,
        gpus_per_worker=gpus_per_worker,
        options=("--require-gpu",) if require_gpu else (),
    )


def refuse_ray_options(*, address: str | None, gpus_per_worker: float | None) -> None:
    """Refuse options that count with Ray only.

    Raises:
        InputError: One of them was given.
    """
    for name, value in (("--address", address), ("--gpus-per-worker", gpus_per_worker)):
        if value is not None:
            raise InputError(
                f"{name} {value} counts with --on ray only. Add it, or leave this out."
            )


def _refuse_storage(url: str) -> None:
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        raise InputError(
            f"--on ray received {shown(url)}, a file that other machines cannot see. Name a "
            f"Postgres in TUNER_STORAGE, such as postgresql://tuner@db/tuner; "
            f"`tuner copy STUDY --to URL` takes a study along that is in the file."
        )
    if parsed.password is not None:
        raise InputError(
            "--on ray received a storage URL with a password, which would travel over Ray's "
            "connections. Put the password where the workers run: into ~/.pgpass, PGPASSWORD, or "
            "a file that ?password_file=FILE in the URL names."
        )
