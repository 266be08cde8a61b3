"""From the options of a command that runs a study to what starts its workers."""

from tuner.cli.group import WorkerCount
from tuner.cli.places import LocalPlaces
from tuner.cli.ray import ray_workers, refuse_ray_options
from tuner.cli.run import Launch, local_workers


def choose_launch(
    storage: str,
    *,
    workers: WorkerCount,
    per_gpu: int | None,
    require_gpu: bool,
    on: str,
    address: str | None,
    gpus_per_worker: float | None,
) -> Launch:
    """Decide where workers are started, and how.

    Args:
        storage: URL of the study's storage.
        workers: ``--workers``.
        per_gpu: ``--per-gpu``.
        require_gpu: ``--require-gpu``.
        on: ``--on``.
        address: ``--address``.
        gpus_per_worker: ``--gpus-per-worker``.

    Raises:
        InputError: Options contradict each other, the machine or the storage.
    """
    if on == "ray":
        return ray_workers(
            storage,
            workers=workers,
            per_gpu=per_gpu,
            gpus_per_worker=gpus_per_worker,
            address=address,
            require_gpu=require_gpu,
        )
    refuse_ray_options(address=address, gpus_per_worker=gpus_per_worker)
    offered = LocalPlaces(workers=workers, per_gpu=per_gpu, require_gpu=require_gpu)
    return local_workers(storage, places=offered, require_gpu=require_gpu)
