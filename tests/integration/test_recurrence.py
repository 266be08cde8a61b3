"""The GRU for a processor computes what Keras's layer computes, and its gradient."""

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from keras import layers

from tuner.model.recurrence import ProcessorGRU

Array = npt.NDArray[np.float32]
SEQUENCES = np.random.default_rng(0).normal(size=(4, 7, 3)).astype(np.float32)
#: Row lengths of 7, 5, 1 and 0.
REAL = np.arange(7)[None, :, None] < np.array([7, 5, 1, 0])[:, None, None]


def gru(kind: type[layers.GRU], **others: object) -> layers.GRU:
    layer = kind(5, return_sequences=True, **others)
    layer.build((None, None, 3))
    rng = np.random.default_rng(1)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def reversed_rows(values: tf.Tensor) -> tf.Tensor:
    return tf.reverse_sequence(values, REAL.sum(axis=(1, 2)), seq_axis=1, batch_axis=0)


def states_and_gradients(layer: layers.GRU, *, backward: bool) -> tuple[Array, list[Array]]:
    """Run a layer, compiled; positions behind a row's end neither count nor have a gradient."""
    ours = isinstance(layer, ProcessorGRU)
    inputs = tf.Variable(SEQUENCES)
    sources = [inputs, *(weight.value for weight in layer.trainable_weights)]

    def run() -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            if not backward:
                states = layer(inputs, training=True)
            elif ours:
                states = layer(inputs, real=tf.constant(REAL), training=True)
            else:
                states = reversed_rows(layer(reversed_rows(inputs), training=True))
            states = tf.where(REAL, states, 0.0)
            loss = tf.reduce_sum(states**2 * tf.cos(tf.range(7, dtype=tf.float32))[:, None])
        return states, tape.gradient(loss, sources)

    states, gradients = tf.function(run, autograph=False)()
    return states.numpy(), [gradient.numpy() for gradient in gradients]


@pytest.mark.parametrize("n_parts", [1, 3, 5])  # of four rows
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_states_and_gradients_are_those_of_keras(backward: bool, n_parts: int) -> None:
    layer = gru(ProcessorGRU, backward=backward, n_parts=n_parts)
    ours = states_and_gradients(layer, backward=backward)
    theirs = states_and_gradients(gru(layers.GRU), backward=backward)
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-6)
    for mine, expected in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-5)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_without_training_it_is_the_same(backward: bool) -> None:
    layer = gru(ProcessorGRU, backward=backward)
    real = tf.constant(REAL) if backward else None
    expected = layer(SEQUENCES, real=real, training=True)
    np.testing.assert_array_equal(layer(SEQUENCES, real=real), expected)


def test_behind_a_rows_end_the_state_of_the_way_back_is_nothing() -> None:
    layer = gru(ProcessorGRU, backward=True)
    states = layer(SEQUENCES, real=tf.constant(REAL)).numpy()
    assert not states[~REAL[:, :, 0]].any()
    assert np.abs(states[REAL[:, :, 0]]).min() > 0


def test_its_weights_are_those_of_keras() -> None:
    ours, theirs = gru(ProcessorGRU), gru(layers.GRU)
    assert [w.path.split("/")[1:] for w in ours.variables] == [
        w.path.split("/")[1:] for w in theirs.variables
    ]
    assert isinstance(ours, keras.layers.GRU)
