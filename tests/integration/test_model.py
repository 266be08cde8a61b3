"""The network equals the masked Keras layers, ignores padding, and survives its file."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest
from keras import layers

from tuner.model import build_model
from tuner.space import GRUParams, Pooling

VOCABULARY = 30
POOLINGS: tuple[Pooling, ...] = ("last", "max", "mean", "mean_max")
Floats = npt.NDArray[np.floating]
Ids = npt.NDArray[np.int32]


def tiny(**changes: object) -> GRUParams:
    """Give a small network without dropout."""
    small: dict[str, object] = {"units": 5, "embedding": 4, "embedding_dropout": 0.0}
    return GRUParams.model_validate(small | {"dropout": 0.0} | changes)


def build(params: GRUParams, *, n_classes: int = 3, seed: int = 0) -> keras.Model:
    return build_model(params, vocabulary=VOCABULARY, n_classes=n_classes, seed=seed)


def mixed_rows(lengths: tuple[int, ...] = (1, 9, 4, 2, 7), *, width: int = 9) -> Ids:
    """Draw rows of token ids padded on the right with zeros: int32, (batch, width)."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1, VOCABULARY, (len(lengths), width)).astype(np.int32)
    ids[np.arange(width) >= np.array(lengths)[:, None]] = 0
    return ids


def randomize(model: keras.Model) -> None:
    """Give every weight a value of its own; biases start as zeros."""
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0, 0.5, w.shape).astype(np.float32) for w in model.get_weights()])


def masked_outputs(model: keras.Model, params: GRUParams, ids: Ids) -> Floats:
    """Run the stock Keras layers with the model's weights: (batch, time, directions * units)."""
    embedding = layers.Embedding(VOCABULARY, params.embedding, mask_zero=True)
    embedding.build((None, None))
    embedding.set_weights(model.get_layer("embedding").get_weights())
    hidden, mask = embedding(ids), embedding.compute_mask(ids)
    for number in range(1, params.layers + 1):
        layer = layers.GRU(params.units, return_sequences=True, reset_after=params.reset_after)
        directions = ["forward"]
        if params.bidirectional:
            layer = layers.Bidirectional(layer)
            directions.append("backward")
        layer.build(hidden.shape)
        weights = [model.get_layer(f"gru_{number}_{d}").get_weights() for d in directions]
        layer.set_weights([w for direction in weights for w in direction])
        hidden = layer(hidden, mask=mask)
    return np.asarray(hidden)


def pooled(outputs: Floats, ids: Ids, params: GRUParams) -> Floats:
    """Pool in NumPy, row by row, direction by direction."""
    vectors = []
    for row, length in zip(outputs, (ids != 0).sum(axis=1), strict=True):
        parts = []
        for number, real in enumerate(np.split(row[:length], 1 + params.bidirectional, axis=1)):
            last = real[-1] if number == 0 else real[0]  # the end of how it was read
            statistics = {
                "last": [last],
                "max": [real.max(axis=0)],
                "mean": [real.mean(axis=0)],
                "mean_max": [real.mean(axis=0), real.max(axis=0)],
            }
            parts += statistics[params.pooling]
        vectors.append(np.concatenate(parts))
    return np.stack(vectors)


@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_network_equals_the_masked_keras_layers(
    pooling: Pooling, bidirectional: bool, n_layers: int
) -> None:
    params = tiny(pooling=pooling, bidirectional=bidirectional, layers=n_layers)
    model = build(params)
    randomize(model)
    ids = mixed_rows()

    kernel, bias = model.get_layer("probabilities").get_weights()
    logits = pooled(masked_outputs(model, params, ids), ids, params) @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    np.testing.assert_allclose(model(ids), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_pooled_state_equals_what_masked_layers_return_last(bidirectional: bool) -> None:
    params = tiny(pooling="last", bidirectional=bidirectional)
    model = build(params)
    randomize(model)
    ids = mixed_rows()
    layer = layers.GRU(params.units)
    directions = ["forward", "backward"] if bidirectional else ["forward"]
    if bidirectional:
        layer = layers.Bidirectional(layer)
    embedding = layers.Embedding(VOCABULARY, params.embedding, mask_zero=True)
    stock = keras.Sequential([embedding, layer, layers.Dense(3, activation="softmax")])
    stock.build((None, None))
    stock.set_weights(
        [
            weight
            for name in ("embedding", *(f"gru_1_{d}" for d in directions), "probabilities")
            for weight in model.get_layer(name).get_weights()
        ]
    )
    np.testing.assert_allclose(model(ids), stock(ids), rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_prediction_depends_neither_on_padding_nor_on_neighbours(pooling: Pooling) -> None:
    model = build(tiny(pooling=pooling))
    ids = mixed_rows((1, 9, 4))
    together = np.asarray(model(ids))
    wider = np.asarray(model(np.pad(ids, ((0, 0), (0, 23)))))
    alone = np.concatenate([model(row[None, row != 0]) for row in ids])
    np.testing.assert_allclose(wider, together, rtol=0, atol=1e-6)
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-6)


def sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)))


def cudnn_step(x: Floats, h: Floats, weights: list[Floats]) -> Floats:
    """Apply the reset gate after the recurrent product, with a bias inside."""
    kernel, recurrent, (bias, recurrent_bias) = weights
    from_x = np.split(x @ kernel + bias, 3, axis=1)
    from_h = np.split(h @ recurrent + recurrent_bias, 3, axis=1)
    z, r = sigmoid(from_x[0] + from_h[0]), sigmoid(from_x[1] + from_h[1])
    return np.asarray(z * h + (1 - z) * np.tanh(from_x[2] + r * from_h[2]))


def paper_step(x: Floats, h: Floats, weights: list[Floats]) -> Floats:
    """Apply the reset gate before the recurrent product; z is one minus that of Keras."""
    kernel, recurrent, bias = weights
    from_x = np.split(x @ kernel + bias, 3, axis=1)
    for_z, for_r, for_h = np.split(recurrent, 3, axis=1)
    z, r = 1 - sigmoid(from_x[0] + h @ for_z), sigmoid(from_x[1] + h @ for_r)
    return np.asarray((1 - z) * h + z * np.tanh(from_x[2] + (r * h) @ for_h))


@pytest.mark.parametrize(
    ("reset_after", "step"), [(True, cudnn_step), (False, paper_step)], ids=["cudnn", "paper"]
)
def test_a_step_of_each_gru_follows_its_equations(
    reset_after: bool, step: Callable[[Floats, Floats, list[Floats]], Floats]
) -> None:
    model = build(tiny(reset_after=reset_after, bidirectional=False))
    randomize(model)
    layer = model.get_layer("gru_1_forward")
    rng = np.random.default_rng(2)
    x, h = (rng.normal(0, 1, (6, n)).astype(np.float32) for n in (4, 5))
    actual = layer(x[:, None], initial_state=h)[:, 0]
    np.testing.assert_allclose(actual, step(x, h, layer.get_weights()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_saved_model_loads_in_safe_mode_and_predicts_the_same(
    pooling: Pooling, tmp_path: Path
) -> None:
    params = tiny(pooling=pooling, layers=2, embedding_dropout=0.3, layer_dropout=0.2, dropout=0.4)
    model = build(params)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    ids = mixed_rows()
    np.testing.assert_array_equal(loaded(ids), model(ids))
    assert not loaded.jit_compile
    assert loaded.optimizer.learning_rate == model.optimizer.learning_rate


def test_a_saved_model_has_no_class_of_ours(tmp_path: Path) -> None:
    build(tiny(layers=2)).save(tmp_path / "model.keras")
    keras.saving.get_custom_objects().clear()
    config = keras.saving.load_model(tmp_path / "model.keras").to_json()
    assert "tuner" not in config
    assert "Lambda" not in config


def test_the_plain_net_has_the_layers_of_the_textbook() -> None:
    params = tiny(layers=2, bidirectional=False, pooling="last")
    weighted = [layer for layer in build(params).layers if layer.weights]
    kinds = [type(layer).__name__ for layer in weighted]
    assert kinds == ["Embedding", "GRU", "GRU", "Dense"]
    assert not any("ropout" in type(layer).__name__ for layer in build(params).layers)


def test_equal_seeds_give_equal_variables_and_other_seeds_others() -> None:
    params = tiny(layers=2, embedding_dropout=0.3, layer_dropout=0.2, dropout=0.4)
    first, second, other = build(params, seed=7), build(params, seed=7), build(params, seed=8)
    assert len(first.variables) == len(second.variables)
    for a, b in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])


def test_no_two_weights_start_alike() -> None:
    weights = [w for w in build(tiny(layers=2)).get_weights() if w.any()]
    assert len({w.ravel()[:4].tobytes() for w in weights}) == len(weights)


def test_both_directions_read_the_same_dropout_mask() -> None:
    model = build(tiny(embedding=50, embedding_dropout=0.5))
    inputs = [model.get_layer(f"gru_1_{d}").input for d in ("forward", "backward")]
    ids = mixed_rows((5, 5), width=5)
    forward, backward = keras.Model(model.input, inputs)(ids, training=True)
    assert (np.asarray(forward) == 0).any()
    np.testing.assert_array_equal(forward, np.asarray(backward)[:, ::-1])


def test_probabilities_are_float32_and_sum_to_one() -> None:
    probabilities = np.asarray(build(tiny(), n_classes=2)(mixed_rows()))
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (5, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
