"""What a processor could do at best: FLOP of a net, and GFLOP/s of a large product of matrices."""

import time
from collections.abc import Callable

from tuner.params import GRUParams

#: Rows and columns of the matrices.
SIZE = 2048
#: Products of which the quickest counts.
N_PRODUCTS = 6


def flop_per_token(params: GRUParams) -> float:
    """Count multiplications and additions that the GRU layers' matrices ask for, for one token.

    A layer of u units over d inputs has three gates of (d + u) u weights. Each weight is used by
    one multiplication and one addition forward, and by two of each backward: for the gradients of
    the weight and of what it was multiplied with. What else there is (gates, look-up, pooling, the
    classifier) has no large matrices.

    Args:
        params: The hyperparameters.

    Example:
        >>> article = GRUParams(layers=2, bidirectional=False, embedding=128, units=128)
        >>> 500 * flop_per_token(article)  # a review of 500 words
        589824000.0
    """
    n_directions = 2 if params.bidirectional else 1
    inputs = [params.embedding] + [params.units * n_directions] * (params.layers - 1)
    weights = sum(n_directions * 3 * (d + params.units) * params.units for d in inputs)
    n_passes = 2 if params.adversarial else 1  # forward and backward
    return 6.0 * weights * n_passes


def product_gflops(clock: Callable[[], float] = time.perf_counter) -> float:
    """Time large fp32 products on the threads that TensorFlow has.

    Args:
        clock: Gives seconds; on one thread it may be `time.process_time`, which other processes
            do not disturb.

    Returns:
        The best GFLOP/s.
    """
    import tensorflow as tf

    left, right = tf.random.normal((SIZE, SIZE)), tf.random.normal((SIZE, SIZE))
    product = tf.function(tf.matmul, autograph=False)
    product(left, right).numpy()
    seconds = []
    for _ in range(N_PRODUCTS):
        began = clock()
        product(left, right).numpy()
        seconds.append(clock() - began)
    return 2 * SIZE**3 / min(seconds) / 1e9
