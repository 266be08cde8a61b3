"""Which GPUs there are, and which worker trains where.

Every decision about GPUs is made here, without TensorFlow, and carried out by `tuner.device`;
nothing else looks at them.
"""

import importlib
import logging
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.errors import InputError

log = logging.getLogger(__name__)

#: MiB of a shared GPU that each process on it needs beside what TensorFlow hands out: its CUDA
#: context, and the kernels of cuDNN and cuBLAS.
RESERVE_MB = 768
#: MiB below which a share is of no use.
LEAST_MEMORY_MB = 256


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU, or an instance of one that was cut up (MIG)."""

    #: What ``CUDA_VISIBLE_DEVICES`` calls it; an index would depend on who counts.
    uuid: str
    #: Of the model, such as ``NVIDIA H100 80GB HBM3``.
    name: str
    #: Its memory in MiB; 0 where that is unknown.
    memory_mb: int


@dataclass(frozen=True, kw_only=True)
class Gpus:
    """The GPUs that this process may use."""

    #: In the order of ``CUDA_VISIBLE_DEVICES``, else as ``nvidia-smi`` lists them.
    found: tuple[Gpu, ...]
    #: Why there is none, for people; empty where there is one.
    why_none: str


@dataclass(frozen=True, kw_only=True)
class Place:
    """What one worker trains on."""

    #: Its GPU; None for a worker that trains on the processor and sees no GPU.
    gpu: Gpu | None
    #: MiB of the GPU that its trainer may take; None for as much as it needs.
    memory_limit_mb: int | None
    #: Threads for the training.
    threads: int


@dataclass(frozen=True, kw_only=True)
class _Device:
    gpu: Gpu
    #: Of a GPU in MIG mode, which can be used by its instances only; else None.
    instances: tuple[Gpu, ...] | None

    @property
    def usable(self) -> tuple[Gpu, ...]:
        return (self.gpu,) if self.instances is None else self.instances


# --- what there is -------------------------------------------------------------------------------


def discover(environment: Mapping[str, str], *, nvml: Any = None) -> Gpus:
    """Find the GPUs that a process with this environment may use, as CUDA would.

    Args:
        environment: Of which ``CUDA_VISIBLE_DEVICES`` counts: unset for all, indices or UUIDs or
            their beginnings, nothing or -1 for none. What is not there hides what follows it.
            Indices count as in ``nvidia-smi``, which is CUDA's order with
            ``CUDA_DEVICE_ORDER=PCI_BUS_ID`` and on machines with GPUs of one model.
        nvml: NVIDIA's management library, as ``nvidia-ml-py`` has it; None to load it.

    Example:
        >>> discover({"CUDA_VISIBLE_DEVICES": "-1"})
        Gpus(found=(), why_none='CUDA_VISIBLE_DEVICES=-1 hides every GPU')
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in {"", "-1"}:
        return Gpus(found=(), why_none=f"CUDA_VISIBLE_DEVICES={visible.strip()} hides every GPU")
    if nvml is None:
        nvml = importlib.import_module("pynvml")  # the driver's library is looked for at nvmlInit
    try:
        nvml.nvmlInit()
    except nvml.NVMLError_LibraryNotFound:
        return Gpus(found=(), why_none="this machine has no NVIDIA driver (no libnvidia-ml.so.1)")
    except nvml.NVMLError as error:
        return _out_of_order(f"the NVIDIA driver does not answer: {error}")
    try:
        devices = _devices(nvml)
    except nvml.NVMLError as error:
        return _out_of_order(f"the NVIDIA driver does not list its GPUs: {error}")
    finally:
        nvml.nvmlShutdown()
    if visible is not None and environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        _warn_of_indices(devices, visible)
    return _choose(devices, visible)


def _out_of_order(why: str) -> Gpus:
    log.warning("No GPU is used: %s", why)  # where a driver is, somebody wants one
    return Gpus(found=(), why_none=why)


def _devices(nvml: Any) -> list[_Device]:
    """List all GPUs of the machine, in the order of their place on the bus."""
    found = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
        except nvml.NVMLError as error:  # fallen off the bus: CUDA does not count it either
            log.warning("GPU %d cannot be used: %s", index, error)
            continue
        found.append(_Device(gpu=_gpu(nvml, handle), instances=_instances(nvml, handle)))
    return found


def _gpu(nvml: Any, handle: Any) -> Gpu:
    try:
        memory = int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
    except nvml.NVMLError:  # it shares the processor's memory
        memory = 0
    return Gpu(
        uuid=str(nvml.nvmlDeviceGetUUID(handle)),
        name=str(nvml.nvmlDeviceGetName(handle)),
        memory_mb=memory // 2**20,
    )


def _instances(nvml: Any, handle: Any) -> tuple[Gpu, ...] | None:
    try:
        mode, _ = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError:  # not a model that can be cut up
        return None
    if mode != nvml.NVML_DEVICE_MIG_ENABLE:
        return None
    found = []
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            instance = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except nvml.NVMLError:  # a gap
            continue
        found.append(_gpu(nvml, instance))
    return tuple(found)


def _choose(devices: Iterable[_Device], visible: str | None) -> Gpus:
    """Apply ``CUDA_VISIBLE_DEVICES``."""
    devices = list(devices)
    everything = tuple(gpu for device in devices for gpu in device.usable)
    if visible is None:
        return Gpus(found=everything, why_none="" if everything else _why_nothing(devices))
    found: list[Gpu] = []
    for entry in visible.split(","):
        gpu = _named(devices, entry.strip())
        if gpu is None:
            break
        if gpu not in found:
            found.append(gpu)
    why = f"CUDA_VISIBLE_DEVICES={visible} begins with none of the {len(devices)} GPUs here"
    return Gpus(found=tuple(found), why_none="" if found else why)


def _why_nothing(devices: list[_Device]) -> str:
    if devices:
        return "all GPUs are in MIG mode and have no instances (`nvidia-smi mig -cgi` makes them)"
    return "the NVIDIA driver shows no GPU (a container must be given them, as with `--gpus all`)"


def _named(devices: list[_Device], entry: str) -> Gpu | None:
    """Find what one entry of ``CUDA_VISIBLE_DEVICES`` names; None where nothing is."""
    if entry.startswith("MIG-"):
        instances = [gpu for device in devices for gpu in device.instances or ()]
        same = [gpu for gpu in instances if gpu.uuid.startswith(entry)]
        # Others may write it in a way that only CUDA reads, such as MIG-GPU-<uuid>/1/0.
        return same[0] if len(same) == 1 else Gpu(uuid=entry, name="MIG instance", memory_mb=0)
    if entry.startswith("GPU-"):
        named = [device for device in devices if device.gpu.uuid.startswith(entry)]
        if len(named) != 1:
            return None
    elif re.fullmatch(r"\d+", entry) and int(entry) < len(devices):
        named = [devices[int(entry)]]
    else:
        return None
    return named[0].usable[0] if named[0].usable else None


def _warn_of_indices(devices: list[_Device], visible: str) -> None:
    by_index = [entry for entry in visible.split(",") if entry.strip().isdigit()]
    if by_index and len({device.gpu.name for device in devices}) > 1:
        log.warning(
            "CUDA_VISIBLE_DEVICES=%s is read in the order of nvidia-smi, but CUDA counts GPUs of "
            "several models in its own. Name them by UUID (nvidia-smi -L), or set "
            "CUDA_DEVICE_ORDER=PCI_BUS_ID.",
            visible,
        )


def usable_cores(
    *, root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> int:
    """Count the cores that this process may use, rounded up.

    A container's or a pod's limit counts, which the number of the machine's cores does not tell.

    Args:
        root: Where control groups (v2) are mounted.
        membership: Which of them is ours.

    References:
        https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return cores  # no Linux
    own = next((line[3:].lstrip("/") for line in lines if line.startswith("0::")), "")
    folder = root / own
    if ".." in folder.parts or not folder.is_dir():
        folder = root  # inside a container that sees only its own group, as the root
    for group in (folder, *folder.parents):
        if not group.is_relative_to(root):
            break
        try:
            quota, period = (group / "cpu.max").read_text().split()
        except (OSError, ValueError):  # the topmost has none
            continue
        if quota != "max":
            cores = min(cores, -(-int(quota) // int(period)))
    return max(1, cores)


# --- who trains where ----------------------------------------------------------------------------


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
