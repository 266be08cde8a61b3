"""The GRU for a processor: what Keras's layer computes, in about half the time."""

import functools
import itertools
from collections.abc import Callable
from typing import Any, TypeAlias

import tensorflow as tf
from keras import layers

Tensor: TypeAlias = tf.Tensor


class ProcessorGRU(layers.GRU):
    """Keras's `GRU` with a recurrence and a gradient of its own, for training on a processor.

    A step of a recurrence is so small that a processor spends more time on everything around its
    matrix products than on these. Here the products that need no earlier step are taken out of the
    loop, forward and backward, as one large product each; one small product a step is left in
    either direction. The values that the gradient needs are kept by step as they are, where an
    automatic gradient copies them about. Tracing takes half the time, too.

    It can also read from each row's end to its beginning, without a reversed copy of the inputs:
    behind the end the state is 0.

    A step's products are too small to share among threads. So a batch's rows are: each part goes
    through time by itself.

    It holds for ``tanh``, ``sigmoid``, a bias, ``reset_after`` and float32 only, without a mask,
    a state to begin with, or ``recurrent_dropout``; and it returns sequences.

    Args:
        units: As for `GRU`.
        backward: Whether to read from the end.
        n_parts: Into how many parts to cut a batch, one a thread; at least 1.
        **others: As for `GRU`.
    """

    def __init__(
        self, units: int, *, backward: bool = False, n_parts: int = 1, **others: Any
    ) -> None:
        super().__init__(units, **others)
        self._backward = backward
        self._n_parts = n_parts

    def call(
        self,
        sequences: Any,
        initial_state: None = None,
        mask: None = None,
        training: bool = False,
        real: Any = None,
    ) -> Any:
        """Run over time.

        Args:
            sequences: (batch, time, features).
            initial_state: None; Keras asks for the name.
            mask: None; Keras asks for the name.
            training: Whether a gradient will be asked for.
            real: Where a row has not ended, bool, (batch, time, 1); needed to read backward.

        Returns:
            The state after each position: (batch, time, units).
        """
        del initial_state, mask
        given = [sequences, tf.cast(real, tf.float32)] if self._backward else [sequences]
        by_time = [tf.transpose(each, (1, 0, 2)) for each in given]
        weights = [weight.value for weight in (self.cell.kernel, self.cell.recurrent_kernel)]
        read = _compiled(self._backward, bool(training))
        parts = zip(*(self._cut(each) for each in by_time), strict=True)
        states = tf.concat([read(*weights, self.cell.bias.value, *part) for part in parts], 1)
        states.set_shape((None, None, self.units))
        return tf.transpose(states, (1, 0, 2))

    def _cut(self, by_time: Tensor) -> list[Tensor]:
        """Cut (time, batch, features) into the parts of the batch."""
        if self._n_parts == 1:
            return [by_time]
        n_rows = tf.shape(by_time)[1]
        cuts = [n_rows * number // self._n_parts for number in range(self._n_parts + 1)]
        sizes = [end - begin for begin, end in itertools.pairwise(cuts)]
        parts: list[Tensor] = tf.split(by_time, sizes, axis=1)
        return parts


class Forward:
    """Reading from the beginning."""

    def first(self, n_steps: Tensor) -> Tensor:
        """Give the position that is read first."""
        del n_steps
        return tf.constant(0)

    #: From one position to the next.
    stride = 1

    def masked(self, values: Tensor, time: Tensor) -> Tensor:
        """Take values of a position, (batch, units), as they are."""
        del time
        return values

    def before(self, states: Tensor) -> Tensor:
        """Give the state that each step begins with: (time, batch, units)."""
        return tf.concat([tf.zeros_like(states[:1]), states[:-1]], 0)


class Backward:
    """Reading from each row's end.

    Args:
        real: 1 where a row has not ended, else 0: float32, (time, batch, 1).
    """

    stride = -1

    def __init__(self, real: Tensor) -> None:
        self._real = real

    def first(self, n_steps: Tensor) -> Tensor:
        """Give the position that is read first."""
        return n_steps - 1

    def masked(self, values: Tensor, time: Tensor) -> Tensor:
        """Take values of a position, (batch, units), but 0 behind a row's end."""
        return values * self._real[time]

    def before(self, states: Tensor) -> Tensor:
        """Give the state that each step begins with: (time, batch, units)."""
        return tf.concat([states[1:], tf.zeros_like(states[:1])], 0)


Order: TypeAlias = Forward | Backward


@functools.cache
def _compiled(backward: bool, training: bool) -> Callable[..., Tensor]:
    """Give the function that reads a part of a batch, for nets of all sizes.

    It goes from kernel, recurrent kernel, bias, and inputs by time, and backward also from where
    rows have not ended, to the states, (time, batch, units).

    There are four of them in a process. TensorFlow keeps each gradient that is defined in a graph
    for good, and with it the graph: one for each net would fill the memory.
    """

    def read(
        kernel: Tensor, recurrent: Tensor, bias: Tensor, by_time: Tensor, *real: Tensor
    ) -> Tensor:
        order: Order = Backward(*real) if backward else Forward()
        given = _given(kernel, bias[0], by_time)
        if training:
            return _differentiable(order)(*given, recurrent, bias[1])
        return _run(order, *given, recurrent, bias[1], keep=False)[0].stack()

    shapes = [(None,) * 2, (None,) * 2, (None,) * 2, (None,) * 3] + [(None, None, 1)] * backward
    compiled: Callable[..., Tensor] = tf.function(
        read,
        input_signature=[tf.TensorSpec(shape, tf.float32) for shape in shapes],
        autograph=False,
    )
    return compiled


def _given(kernel: Tensor, bias: Tensor, by_time: Tensor) -> tuple[Tensor, Tensor]:
    """Compute what gates and candidates get from the inputs, for all steps at once."""
    n_units = tf.shape(kernel)[1] // 3
    n_features = tf.shape(kernel)[0]
    rows = tf.reshape(by_time, tf.stack([-1, n_features]))
    parts = []
    for part in (slice(2 * n_units), slice(2 * n_units, None)):
        product = tf.nn.bias_add(tf.matmul(rows, kernel[:, part]), bias[part])
        shape = tf.concat([tf.shape(by_time)[:2], tf.shape(product)[1:]], 0)
        parts.append(tf.reshape(product, shape))
    return parts[0], parts[1]


def _run(
    order: Order, gates: Tensor, candidates: Tensor, kernel: Tensor, bias: Tensor, *, keep: bool
) -> tuple[tf.TensorArray, ...]:
    """Go through time.

    Args:
        order: In which to read.
        gates: Inputs' part of the update and reset gates: (time, batch, 2 * units).
        candidates: Inputs' part of the candidate states: (time, batch, units).
        kernel: From a state to update gate, reset gate and candidate: (units, 3 * units).
        bias: Of that: (3 * units,).
        keep: Whether to keep what the gradient needs.

    Returns:
        By position, the states; and, if kept, the update gates, reset gates, candidate states, and
        what the candidates got from the state before: (batch, units) each.
    """
    n_units = tf.shape(kernel)[0]
    n_steps, n_rows = tf.unstack(tf.shape(gates)[:2])

    def step(time: Tensor, state: Tensor, *arrays: tf.TensorArray) -> tuple[Any, ...]:
        recurrent = tf.nn.bias_add(tf.matmul(state, kernel), bias)  # (batch, 3 * units)
        of_gates, of_candidate = tf.split(recurrent, [2 * n_units, n_units], axis=1)
        update, reset = tf.split(tf.sigmoid(gates[time] + of_gates), 2, axis=1)
        candidate = tf.tanh(candidates[time] + reset * of_candidate)
        state = order.masked(candidate + update * (state - candidate), time)
        values = (state, update, reset, candidate, of_candidate)
        return state, *(a.write(time, v) for a, v in zip(arrays, values, strict=False))

    return _over_time(
        step,
        tf.zeros((n_rows, n_units)),
        [_by_position(n_steps) for _ in range(5 if keep else 1)],
        first=order.first(n_steps),
        stride=order.stride,
        n_steps=n_steps,
    )


def _differentiable(order: Order) -> Callable[..., Tensor]:
    """Give `_run` with its gradient: from the four tensors to the states, (time, batch, units)."""

    def run(*tensors: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        arrays = _run(order, *tensors, keep=True)
        states = arrays[0].stack()
        _, _, kernel, _ = tensors
        return states, lambda slopes: _gradient(order, slopes, states, arrays[1:], kernel)

    differentiable: Callable[..., Tensor] = tf.custom_gradient(run)
    return differentiable


def _gradient(
    order: Order, slopes: Tensor, states: Tensor, kept: tuple[tf.TensorArray, ...], kernel: Tensor
) -> tuple[Tensor, ...]:
    """Go back through time.

    Args:
        order: In which the states were made.
        slopes: Of the loss with respect to the states: (time, batch, units).
        states: As `_run` gives them: (time, batch, units).
        kept: As `_run` gives them.
        kernel: As for `_run`.

    Returns:
        The loss's gradient with respect to each of the four tensors of `_run`.
    """
    n_units = tf.shape(kernel)[0]
    n_steps = tf.shape(states)[0]
    updates, resets, all_candidates, of_candidates = kept
    before = order.before(states)
    transposed = tf.transpose(kernel)

    def step(time: Tensor, later: Tensor, *arrays: tf.TensorArray) -> tuple[Any, ...]:
        slope = order.masked(slopes[time] + later, time)  # (batch, units)
        update, reset = updates.read(time), resets.read(time)
        candidate, of_candidate = all_candidates.read(time), of_candidates.read(time)
        kept_slope = slope * update
        to_candidate = tf.raw_ops.TanhGrad(y=candidate, dy=slope - kept_slope)
        to_update = tf.raw_ops.SigmoidGrad(y=update, dy=slope * (before[time] - candidate))
        to_reset = tf.raw_ops.SigmoidGrad(y=reset, dy=to_candidate * of_candidate)
        recurrent = tf.concat([to_update, to_reset, to_candidate * reset], 1)
        later = tf.matmul(recurrent, transposed) + kept_slope
        values = (recurrent, to_candidate)
        return later, *(a.write(time, v) for a, v in zip(arrays, values, strict=True))

    arrays = _over_time(
        step,
        tf.zeros_like(states[0]),
        [_by_position(n_steps), _by_position(n_steps)],
        first=n_steps - 1 - order.first(n_steps),
        stride=-order.stride,
        n_steps=n_steps,
    )
    recurrent, to_candidates = (array.stack() for array in arrays)
    flat = tf.reshape(recurrent, (-1, 3 * n_units))
    to_kernel = tf.matmul(tf.reshape(before, (-1, n_units)), flat, transpose_a=True)
    return recurrent[:, :, : 2 * n_units], to_candidates, to_kernel, tf.reduce_sum(flat, 0)


def _over_time(
    step: Callable[..., tuple[Any, ...]],
    carried: Tensor,
    arrays: list[tf.TensorArray],
    *,
    first: Tensor,
    stride: int,
    n_steps: Tensor,
) -> tuple[tf.TensorArray, ...]:
    """Do a step for each position: from what is carried and the arrays to the same, changed."""
    _, _, *filled = tf.while_loop(
        lambda time, *_: tf.logical_and(time >= 0, time < n_steps),
        lambda time, *rest: (time + stride, *step(time, *rest)),
        (first, carried, *arrays),
        parallel_iterations=1,  # each depends on the one before
    )
    return tuple(filled)


def _by_position(n_steps: Tensor) -> tf.TensorArray:
    """Keep a matrix for each position."""
    return tf.TensorArray(
        tf.float32, size=n_steps, element_shape=(None, None), clear_after_read=False
    )
