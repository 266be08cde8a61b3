"""A gradient step computes the gradient of the loss it is told to minimise."""

from collections.abc import Mapping

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from tests.integration.test_training import VOCABULARY, small, texts
from tuner.data.batches import training_batches
from tuner.network import Network
from tuner.params import GRUParams

Array = npt.NDArray[np.float32]


def batch() -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    data = texts(16, seed=1)
    return next(
        training_batches(data, batch_size=4, max_length=32, truncate="start", seed=0, epoch=0)
    )


def network(params: GRUParams, class_weights: Mapping[int, float] | None = None) -> Network:
    made = Network(params, vocabulary=VOCABULARY, n_classes=2, micro_batches=1)
    made.restart(params, seed=3, class_weights=class_weights or {})
    made.set_learning_rate(0.0)  # the weights stay, so that losses can be compared
    return made


def test_the_loss_is_the_mean_cross_entropy_of_smoothed_and_weighted_labels() -> None:
    ids, labels = batch()
    params = small(label_smoothing=0.2)
    made = network(params, {0: 0.5, 1: 2.0})
    loss = float(made.step.run(ids, labels))
    each = keras.losses.CategoricalCrossentropy(label_smoothing=0.2, reduction=None)(
        keras.ops.one_hot(labels, 2), made.model(ids, training=True)
    )
    assert loss == pytest.approx(float(np.mean(each * np.array([0.5, 2.0])[labels])), rel=1e-5)


def test_an_embedding_learns_from_the_sum_of_a_words_places() -> None:
    ids, labels = batch()
    made = network(small())
    made.step.run(ids, labels)
    table = made.model.get_layer("embedding").embeddings
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(
            keras.losses.sparse_categorical_crossentropy(labels, made.model(ids, training=True))
        )
    expected = tf.convert_to_tensor(tape.gradient(loss, table.value))
    (momentum,) = (v for v in made.optimizer.variables if v.path.endswith("embeddings_momentum"))
    np.testing.assert_allclose(momentum.numpy(), 0.1 * expected, atol=1e-7)


def test_the_adversarial_change_is_worse_than_any_other_of_its_size() -> None:
    ids, labels = batch()
    params = small(adversarial=0.05)
    made = network(params)
    rest = keras.Model(
        [made.model.input, made.model.get_layer("embedding").output], made.model.output
    )
    vectors = made.model.get_layer("embedding")(ids)

    def loss(change: tf.Tensor) -> float:
        probabilities = rest([tf.constant(ids), vectors + change])
        each = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
        return float(tf.reduce_mean(each))

    change = made.step.worst_change(tf.constant(ids), tf.constant(labels), vectors)
    size = np.sqrt(np.sum(change.numpy() ** 2, axis=(1, 2)))
    whole = np.sqrt(np.sum((vectors * (ids != 0)[:, :, None]).numpy() ** 2, axis=(1, 2)))
    np.testing.assert_allclose(size, 0.05 * whole, rtol=1e-3)
    assert not change.numpy()[ids == 0].any()  # padding has no part in it
    rng = np.random.default_rng(0)
    for _ in range(5):
        other = rng.normal(size=change.shape) * (ids != 0)[:, :, None]
        other *= (size / np.sqrt(np.sum(other**2, axis=(1, 2))))[:, None, None]
        assert loss(change) > loss(other.astype(np.float32))
    assert loss(change) > loss(tf.zeros_like(change))


def test_without_a_change_adversarial_training_is_plain_training() -> None:
    ids, labels = batch()
    made = []
    for adversarial in (0.0, 1e-12):
        one = network(small(adversarial=adversarial))
        one.set_learning_rate(0.01)
        for _ in range(3):
            one.step.run(ids, labels)
        made.append(one.model.get_weights())
    for plain, adversarial in zip(*made, strict=True):
        np.testing.assert_allclose(adversarial, plain, atol=1e-5)


def test_half_precision_gives_nearly_the_same_gradient_and_keeps_float32_weights() -> None:
    ids, labels = batch()
    single, half = (network(small(precision=p)) for p in ("float32", "mixed_float16"))
    losses = [float(one.step.run(ids, labels)) for one in (single, half)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-2)
    assert {weight.dtype for weight in half.model.trainable_variables} == {"float32"}
    moments = [
        np.concatenate([v.numpy().ravel() for v in one.optimizer.variables if "momentum" in v.path])
        for one in (single, half)
    ]
    assert np.linalg.norm(moments[1] - moments[0]) < 0.02 * np.linalg.norm(moments[0])
