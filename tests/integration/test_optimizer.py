"""Our Adam is Keras's, computed in one pass; averages of weights are what they are called."""

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tuner.averaging import EVERY, Average
from tuner.optimizer import Adam

Array = npt.NDArray[np.float32]


def variables() -> list[keras.Variable]:
    rng = np.random.default_rng(0)
    return [
        keras.Variable(rng.normal(size=(3, 4)).astype(np.float32), name="kernel"),
        keras.Variable(rng.normal(size=4).astype(np.float32), name="bias"),
    ]


def trained(optimizer: keras.optimizers.Optimizer, n_steps: int = 20) -> list[Array]:
    weights = variables()
    optimizer.build(weights)
    rng = np.random.default_rng(1)

    def step(*gradients: tf.Tensor) -> None:
        optimizer.apply(list(gradients), weights)

    compiled = tf.function(step, autograph=False)
    for _ in range(n_steps):
        compiled(*(tf.constant(rng.normal(size=w.shape), tf.float32) for w in weights))
    return [weight.numpy() for weight in weights]


def test_it_computes_what_keras_computes() -> None:
    expected = trained(keras.optimizers.Adam(0.01))
    for ours, theirs in zip(trained(Adam(0.01)), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_decay_and_limit_are_those_of_keras_but_biases_do_not_decay() -> None:
    theirs = keras.optimizers.AdamW(0.01, weight_decay=0.1, global_clipnorm=0.5)
    theirs.exclude_from_weight_decay(var_names=["bias"])
    ours = Adam(0.01, decays=True, clips=True)
    ours.configure(decay=0.1, limit=0.5)
    for mine, expected in zip(trained(ours), trained(theirs), strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-6)


def test_other_numbers_are_obeyed_without_compiling_again() -> None:
    optimizer = Adam(0.01, decays=True)
    (weight,) = weights = variables()[:1]
    optimizer.build(weights)
    n_traced = 0

    def step(gradient: tf.Tensor) -> None:
        nonlocal n_traced
        n_traced += 1
        optimizer.apply([gradient], weights)

    compiled = tf.function(step, autograph=False)
    nothing = tf.zeros_like(weight.value)
    for decay in (0.5, 0.25):
        before = weight.numpy()
        optimizer.configure(decay=decay, limit=0)
        compiled(nothing)  # without a gradient only the decay is left
        np.testing.assert_allclose(weight.numpy(), before * (1 - 0.01 * decay), rtol=1e-6)
    assert n_traced == 1


def test_an_average_follows_its_variables_from_afar() -> None:
    (weight,) = variables()[:1]
    average = Average([weight])
    average.restart()
    expected = weight.numpy().astype(np.float64)
    rng = np.random.default_rng(2)
    for n_done in range(1, 5 * EVERY + 1):
        weight.assign(rng.normal(size=weight.shape))
        average.follow(n_done, 0.9)
        if n_done % EVERY == 0:
            kept = min(0.9, (1 + n_done) / (10 + n_done)) ** EVERY
            expected = kept * expected + (1 - kept) * weight.numpy()
    np.testing.assert_allclose(average.values[0].numpy(), expected, atol=1e-6)


def test_averages_take_the_variables_place_and_leave_it_again() -> None:
    weights = variables()
    average = Average(weights)
    before = [weight.numpy() for weight in weights]
    for weight in weights:
        weight.assign(weight + 1)
    now = [weight.numpy() for weight in weights]
    with average.in_place():
        for weight, value in zip(weights, before, strict=True):
            np.testing.assert_array_equal(weight.numpy(), value)
    for weight, value, kept in zip(weights, now, average.values, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
        assert not np.array_equal(kept.numpy(), value)
