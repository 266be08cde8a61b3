"""The child process in which the doctor tries TensorFlow: a broken one may end it.

Started by `tuner.doctor.probing` as ``python -m tuner.doctor.probe WRITE``; says on the descriptor
WRITE what it finds, a line of JSON each, as far as it gets.
"""

import json
import os
import sys
import time
from typing import Any

import numpy as np

#: How often the two ways to compute a GRU are compared: tensorflow#60192 was not seen every time.
REPEATS = 5
#: Of the GRU and its input.
BATCH, TIME, FEATURES, UNITS = 16, 60, 24, 32


def main(descriptor: int) -> None:
    """Import TensorFlow, list its GPUs, compare GRUs on each.

    Args:
        descriptor: To write on.
    """
    with os.fdopen(descriptor, "w", buffering=1) as out:

        def tell(**facts: object) -> None:
            out.write(json.dumps(facts) + "\n")

        begin = time.monotonic()
        import keras
        import tensorflow as tf

        build = tf.sysconfig.get_build_info()
        tell(
            tensorflow=tf.__version__,
            keras=keras.__version__,
            seconds=time.monotonic() - begin,
            cuda=build.get("cuda_version") if build.get("is_cuda_build") else None,
            cudnn=build.get("cudnn_version"),
            built_for=build.get("cuda_compute_capabilities", []),
        )
        details = tf.config.experimental.get_device_details
        gpus = [details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
        tell(gpus=[gpu.get("device_name", "GPU") for gpu in gpus])
        for index in range(len(gpus)):
            tell(difference=gru_difference(f"/GPU:{index}", use_cudnn=True))


def gru_difference(device: str, *, use_cudnn: bool) -> float:
    """Compare a GRU as it is trained on a GPU with the one that is put together from operations.

    Args:
        device: Where to compute, such as ``/GPU:0``.
        use_cudnn: For the first of the two; the second never does.

    Returns:
        The largest difference of an output or a gradient, as a part of the largest true value.
    """
    import keras
    import tensorflow as tf

    # GPUs round products to fewer digits otherwise, each way of computing in its own order.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    keras.utils.set_random_seed(0)
    inputs = np.random.default_rng(0).normal(size=(BATCH, TIME, FEATURES)).astype(np.float32)

    def results(gru: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            outputs = gru(inputs)  # (batch, time, units)
            loss = tf.reduce_mean(tf.square(outputs))
        return [tensor.numpy() for tensor in (outputs, *tape.gradient(loss, gru.trainable_weights))]

    with tf.device(device):
        first, second = (
            keras.layers.GRU(UNITS, return_sequences=True, use_cudnn=cudnn)
            for cudnn in (use_cudnn, False)
        )
        first.build(inputs.shape)
        second.build(inputs.shape)
        second.set_weights(first.get_weights())
        expected = results(second)
        return max(
            float(np.max(np.abs(value - true)) / np.max(np.abs(true)))
            for _ in range(REPEATS)
            for value, true in zip(results(first), expected, strict=True)
        )


if __name__ == "__main__":
    main(int(sys.argv[1]))
