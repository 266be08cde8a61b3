"""Set up the processor or the GPU that TensorFlow computes on, before anything is computed.

`tuner.places` decides on what; nothing else configures a device.
"""

import contextlib
import logging
import sys
from importlib import metadata
from pathlib import Path

import tensorflow as tf

from tuner.errors import InputError
from tuner.places import cuda_libraries
from tuner.processor import usable_cores

log = logging.getLogger(__name__)

#: Written to this file, it makes the kernel count a process's peak of memory anew.
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def configure(
    threads: int | None,
    *,
    gpu: str = "",
    memory_limit_mb: int | None = None,
    require_gpu: bool = False,
) -> str:
    """Decide how this process uses the machine; call it before any layer is built.

    Args:
        threads: Of the training; None for as many as there are cores. Results on a CPU are the
            same bit for bit only between processes with the same number.
        gpu: UUID of the GPU to use, which ``CUDA_VISIBLE_DEVICES`` named already when this process
            started; empty for none.
        memory_limit_mb: MiB of it to take, all at once; None lets its memory grow as needed.
        require_gpu: Whether to refuse to go on where TensorFlow does not see the GPU.

    Returns:
        The GPU's name, such as ``"NVIDIA H100 80GB HBM3"``, or ``"cpu"``.

    Raises:
        InputError: A GPU is required, and TensorFlow sees none.
        RuntimeError: TensorFlow has computed something already, so that it is too late.

    Example:
        >>> configure(threads=2)
        'cpu'
    """
    threads = threads or usable_cores()
    gpus = tf.config.list_physical_devices("GPU") if gpu else []
    tf.config.set_visible_devices(gpus[:1], "GPU")
    # On a processor the operations of a recurrence are small: its parts run side by side, each on
    # one thread. Threads that share an operation wait for each other most of the time.
    tf.config.threading.set_intra_op_parallelism_threads(threads if gpus else 1)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    if gpu and not gpus:
        _say_not_seen(gpu, require_gpu)
    if not gpus:
        return "cpu"
    first = gpus[0]
    if memory_limit_mb is None:
        tf.config.experimental.set_memory_growth(first, True)
    else:  # never both: TensorFlow refuses that
        limited = tf.config.LogicalDeviceConfiguration(memory_limit=memory_limit_mb)
        tf.config.set_logical_device_configuration(first, [limited])
    details = tf.config.experimental.get_device_details(first)
    return str(details.get("device_name", "gpu"))


def has_gpu() -> bool:
    """Say whether this process computes on a GPU, as `configure` decided."""
    return bool(tf.config.get_visible_devices("GPU"))


def _say_not_seen(gpu: str, require_gpu: bool) -> None:
    found = f"GPU {gpu} is there, but TensorFlow does not see it: {_why_not_seen()}."
    if require_gpu:
        raise InputError(
            f"{found} `tuner doctor` says more. Mend it, or leave out --require-gpu to train on "
            f"the processor."
        )
    log.warning("%s THE PROCESSOR TRAINS INSTEAD, many times slower. Try `tuner doctor`.", found)


def _why_not_seen() -> str:
    """Say what most likely keeps TensorFlow from a GPU that the driver shows."""
    if not tf.test.is_built_with_cuda():
        with contextlib.suppress(metadata.PackageNotFoundError):
            version = metadata.version("tensorflow-cpu")
            return f"tensorflow-cpu {version} is installed, which has no GPU code"
        return f"TensorFlow {tf.__version__} was built without CUDA"
    if not cuda_libraries(sys.path):
        return "the CUDA libraries are not installed (`pip install 'tensorflow[and-cuda]'`)"
    return "one of its CUDA libraries cannot be loaded, or the driver is too old for them"


class PeakMemory:
    """Measures the most memory that was in use since the last `restart`.

    On a GPU that is what TensorFlow handed out there, without what CUDA needs for itself. On a CPU
    it is what the whole process had in memory, TensorFlow and the data too, which Linux alone
    tells.

    Args:
        device: What `configure` returned.
    """

    def __init__(self, device: str) -> None:
        self._is_gpu = device != "cpu"
        self._has_begun = False

    def restart(self) -> None:
        """Begin to measure."""
        if self._is_gpu:
            tf.config.experimental.reset_memory_stats("GPU:0")
            self._has_begun = True
            return
        try:
            _CLEAR_REFS.write_text(_RESET_PEAK)
        except OSError:  # no Linux, or forbidden: what is counted is not the trial's
            return
        self._has_begun = True

    def read_mb(self) -> int | None:
        """Give the peak in MiB; None where it cannot be known."""
        if not self._has_begun:
            return None
        if self._is_gpu:
            return int(tf.config.experimental.get_memory_info("GPU:0")["peak"]) // 2**20
        lines = Path("/proc/self/status").read_text().splitlines()
        return next((int(x.split()[1]) // 1024 for x in lines if x.startswith("VmHWM:")), None)
