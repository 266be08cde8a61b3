"""GPUs: those that the driver shows, those that TensorFlow sees, and exactly why not all."""

import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tuner.doctor.finding import Finding, fail, ok, unchecked, warn
from tuner.doctor.probing import Probed, installed_at
from tuner.gpus import Gpus, seen_together
from tuner.places import cuda_libraries

#: Part of the largest value by which cuDNN's GRU may differ from the generic one: rounding.
TOLERANCE = 1e-3
_GET_CUDA = (
    "Install the build for GPUs with its libraries: `pip uninstall -y tensorflow tensorflow-cpu`, "
    "then `pip install '.[gpu]'` in tuner's folder."
)


@dataclass(frozen=True, kw_only=True)
class Driver:
    """NVIDIA's driver."""

    #: Such as ``550.54.15``.
    version: str
    #: Newest CUDA that it can run, as major and minor version.
    cuda: tuple[int, int]
    #: By the GPU's UUID, its generation: major and minor version of its compute capability.
    generations: Mapping[str, tuple[int, int]]


def read_driver(nvml: Any = None) -> Driver | None:
    """Ask the driver about itself.

    Args:
        nvml: NVIDIA's management library, as ``nvidia-ml-py`` has it; None to load it.

    Returns:
        None where there is no driver, or it does not answer.
    """
    if nvml is None:
        nvml = importlib.import_module("pynvml")  # the driver's library is looked for at nvmlInit
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    try:
        cuda = int(nvml.nvmlSystemGetCudaDriverVersion_v2())
        handles = map(nvml.nvmlDeviceGetHandleByIndex, range(nvml.nvmlDeviceGetCount()))
        generations = {}
        for handle in handles:
            major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
            generations[str(nvml.nvmlDeviceGetUUID(handle))] = (int(major), int(minor))
        return Driver(
            version=str(nvml.nvmlSystemGetDriverVersion()),
            cuda=(cuda // 1000, cuda % 1000 // 10),
            generations=generations,
        )
    except nvml.NVMLError:
        return None
    finally:
        nvml.nvmlShutdown()


def check_gpus(gpus: Gpus, everywhere: Gpus, driver: Driver | None) -> Iterator[Finding]:
    """List the GPUs that workers can have.

    Args:
        gpus: Those.
        everywhere: Those that they could have, if no setting hid some.
        driver: Of all of them.
    """
    n_here, n_everywhere = len(gpus.found), len(everywhere.found)
    if gpus.found:
        names = ", ".join(f"{gpu.name} ({gpu.memory_mb} MiB)" for gpu in gpus.found)
        of = f" of {n_everywhere}" if n_everywhere > n_here else ""
        about = f", driver {driver.version} for CUDA {_dotted(driver.cuda)}" if driver else ""
        yield ok("GPUs", f"{n_here}{of}: {names}{about}")
    elif everywhere.found:
        yield warn(
            "GPUs",
            f"{n_everywhere} here, but {gpus.why_none}; workers train on the processor.",
            "Unset CUDA_VISIBLE_DEVICES, or name the GPUs to use in it.",
        )
    else:
        yield ok("GPUs", f"none: {everywhere.why_none}; workers train on the processor")


def check_tensorflow_gpus(gpus: Gpus, probed: Probed, driver: Driver | None) -> Iterator[Finding]:
    """Compare what TensorFlow sees with what is there.

    Args:
        gpus: Those that workers can have.
        probed: What became of TensorFlow.
        driver: Of these and others.
    """
    name, n_here = "TensorFlow's GPUs", len(seen_together(gpus.found))
    n_others = len(gpus.found) - n_here
    others = f"; {n_others} more, as a process sees one MIG instance at most" if n_others else ""
    if not n_here:
        yield unchecked(name, "no GPU")
        return
    if probed.gpus is None:
        yield unchecked(name, "TensorFlow died before it could list them")
        return
    if len(probed.gpus) < n_here:
        why, mend = why_unseen(probed, driver, cuda_libraries(sys.path))
        yield fail(name, f"it sees {len(probed.gpus)} of {n_here}: {why}.", mend)
    else:
        yield ok(name, f"it sees {len(probed.gpus)}: {', '.join(probed.gpus)}{others}")
    yield from _check_generations(gpus, probed, driver)


def why_unseen(probed: Probed, driver: Driver | None, folders: tuple[str, ...]) -> tuple[str, str]:
    """Find out why TensorFlow does not see GPUs that the driver shows.

    Args:
        probed: What became of TensorFlow.
        driver: Of those GPUs.
        folders: With the CUDA libraries that pip installed.

    Returns:
        Why, and what to do.
    """
    if probed.cuda is None:
        return "it was built without CUDA, as the package tensorflow-cpu is", _GET_CUDA
    needed = int(probed.cuda.split(".")[0])
    if driver is not None and driver.cuda[0] < needed:
        return (
            f"it was built for CUDA {probed.cuda}, and driver {driver.version} is too old for "
            f"that: it runs CUDA {_dotted(driver.cuda)} at most",
            f"Update the NVIDIA driver to one for CUDA {needed} or newer.",
        )
    if "libcuda.so.1" in probed.missing:
        return (
            "libcuda.so.1, the driver's own library, cannot be loaded, though the driver answers",
            "In a container set NVIDIA_DRIVER_CAPABILITIES=compute,utility; else install the "
            "driver's CUDA library (libcuda1, or nvidia-driver-cuda).",
        )
    libraries = [name for name in probed.missing if not name.startswith("libnvidia-ml.")]
    if libraries:
        places = {name: installed_at(name, folders) for name in libraries}
        unseen = sorted({str(place) for place in places.values() if place is not None})
        listed = ", ".join(libraries)
        if not all(places.values()):
            return f"{listed} cannot be loaded", _GET_CUDA
        return (
            f"{listed} cannot be loaded, though pip installed it",
            f"Give the folders to the loader before Python starts: export "
            f"LD_LIBRARY_PATH={':'.join(unseen)}.",
        )
    complaint = probed.complaint or "it does not say why"
    return (
        complaint.rstrip("."),
        "Look whether `nvidia-smi` lists the GPUs without an error, and whether this user may "
        "open /dev/nvidia*. After an update of the driver, restart the machine.",
    )


def _check_generations(gpus: Gpus, probed: Probed, driver: Driver | None) -> Iterator[Finding]:
    built = sorted(int(n) for name in probed.built_for for n in re.findall(r"_(\d+)", name))
    if driver is None or not built:
        return
    # A MIG instance is not among them: models that can be cut up are of the newer generations.
    known = [driver.generations[gpu.uuid] for gpu in gpus.found if gpu.uuid in driver.generations]
    newer = [pair for pair in known if 10 * pair[0] + pair[1] > built[-1]]
    older = [pair for pair in known if 10 * pair[0] + pair[1] < built[0]]
    about = (
        f"this TensorFlow was built for compute capability {built[0] / 10} to {built[-1] / 10}, "
        f"a GPU here has {{0}}"
    )
    mend = "Use a build of TensorFlow that was made for it, such as NVIDIA's container."
    if newer:
        yield warn(
            "GPU generation",
            f"{about.format(_dotted(max(newer)))}, which is newer: compiling for it may fail.",
            mend,
        )
    if older:
        text = f"{about.format(_dotted(min(older)))}, which is older: nothing runs on it."
        yield fail("GPU generation", text, mend)


def check_gru(gpus: Gpus, probed: Probed) -> Iterator[Finding]:
    """See whether cuDNN computes the GRU that was asked for."""
    name = "cuDNN's GRU"
    if not gpus.found or not probed.gpus:
        yield unchecked(name, "no GPU" if not gpus.found else "TensorFlow sees no GPU")
    elif len(probed.differences) < len(probed.gpus):
        yield fail(
            name,
            f"the trial on GPU {len(probed.differences)} ended early "
            f"({probed.death}): {probed.words}.",
            "Look whether another process fills the GPU (`nvidia-smi`), and whether the driver "
            "is new enough for the cuDNN that is installed.",
        )
    elif (worst := max(probed.differences)) > TOLERANCE:
        yield fail(
            name,
            f"differs from the generic one by {worst:.2g} of the largest value.",
            "Trainings on this GPU are wrong. Update the driver and cuDNN; if that does not help, "
            "the GPU may be broken.",
        )
    else:
        yield ok(
            name,
            f"agrees with the generic one (outputs and gradients differ by {worst:.1g} at most)",
        )


def _dotted(pair: tuple[int, int]) -> str:
    return f"{pair[0]}.{pair[1]}"
