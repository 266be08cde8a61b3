"""A running average of a model's weights, which is often better than the newest ones."""

import contextlib
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf

#: Gradient steps from one update to the next: going through all weights at each would cost a
#: small net more than it gains.
EVERY = 4


class Average:
    r"""The exponential moving average of some variables.

    .. math:: a \leftarrow d a + (1 - d) w, \qquad d = \min(d_0, (1 + t) / (10 + t))

    where :math:`t` counts gradient steps, so that the first, poor weights are soon forgotten.

    Args:
        variables: What is averaged; they are read here only.

    References:
        Polyak and Juditsky 1992; `tf.train.ExponentialMovingAverage`.
    """

    def __init__(self, variables: Sequence[keras.Variable]) -> None:
        self._variables = [variable.value for variable in variables]
        #: The averages, in the variables' order.
        self.values = [tf.Variable(variable, trainable=False) for variable in self._variables]
        self._update = tf.function(
            self._move, input_signature=[tf.TensorSpec((), tf.float32)], autograph=False
        )
        self._exchange = tf.function(self._swap, input_signature=[], autograph=False)

    def restart(self) -> None:
        """Begin with the variables as they are."""
        for average, variable in zip(self.values, self._variables, strict=True):
            average.assign(variable)

    def follow(self, n_done: int, decay: float) -> None:
        """Take a gradient step into account.

        Args:
            n_done: Gradient steps so far, this one included.
            decay: Share that the average keeps at a gradient step.
        """
        if n_done % EVERY == 0:
            kept = min(decay, (1 + n_done) / (10 + n_done)) ** EVERY
            self._update(tf.constant(1 - kept, tf.float32))

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the variables the averages as values; afterwards they are as before."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _move(self, share: tf.Tensor) -> None:
        for average, variable in zip(self.values, self._variables, strict=True):
            average.assign_add(share * (variable - average))

    def _swap(self) -> None:
        for average, variable in zip(self.values, self._variables, strict=True):
            kept = tf.identity(average)
            with tf.control_dependencies([kept]):
                new = variable.read_value()
                with tf.control_dependencies([new]):
                    average.assign(new)
                    variable.assign(kept)
