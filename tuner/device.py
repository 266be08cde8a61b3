"""Set up the processor or the GPU that TensorFlow computes on, before anything is computed."""

import tensorflow as tf


def configure(threads: int | None) -> str:
    """Decide how this process uses the machine; call it before any layer is built.

    On a machine with GPUs the process takes the first one it may see and lets its memory grow, so
    that several processes can share it. Which GPUs a process may see is decided from outside:
    ``CUDA_VISIBLE_DEVICES=1`` for the second one, ``CUDA_VISIBLE_DEVICES=-1`` for none.

    Args:
        threads: Threads for the work inside one operation, and as many for operations side by
            side. Results on a CPU are the same bit for bit only between processes with the same
            number. None for as many as there are cores.

    Returns:
        The GPU's name, such as ``"NVIDIA H100 80GB HBM3"``, or ``"cpu"``.

    Raises:
        RuntimeError: TensorFlow has computed something already, so that it is too late.

    Example:
        >>> configure(threads=2)
        'cpu'
    """
    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "cpu"
    first = gpus[0]
    tf.config.set_visible_devices(first, "GPU")
    tf.config.experimental.set_memory_growth(first, True)
    details = tf.config.experimental.get_device_details(first)
    return str(details.get("device_name", "gpu"))
