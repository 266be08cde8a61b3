"""Which GPUs a process may use, without TensorFlow; nothing else looks for them."""

import importlib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

#: How the UUID of an instance begins.
_MIG = "MIG-"


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
class _Device:
    gpu: Gpu
    #: Of a GPU in MIG mode, which can be used by its instances only; else None.
    instances: tuple[Gpu, ...] | None

    @property
    def usable(self) -> tuple[Gpu, ...]:
        return (self.gpu,) if self.instances is None else self.instances


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


def seen_together(gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Choose those that one process can see at once.

    Args:
        gpus: What there is.

    Returns:
        All whole GPUs; where there is none, one MIG instance, since CUDA shows a process no more
        (NVIDIA MIG User Guide, "CUDA Device Enumeration").
    """
    instances = [gpu for gpu in gpus if gpu.uuid.startswith(_MIG)]
    return tuple(gpu for gpu in gpus if gpu not in instances) or tuple(instances[:1])


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
    if entry.startswith(_MIG):
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
