"""The network equals the masked Keras layers, ignores padding, and survives its file."""

import functools
import itertools
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from keras import layers

from tuner.data.text import UNKNOWN_ID
from tuner.model import build_model, uses_cudnn
from tuner.model.pieces import Pieces
from tuner.params import GRUParams, Pooling

VOCABULARY = 30
POOLINGS: tuple[Pooling, ...] = ("last", "max", "mean", "mean_max", "attention")
#: Whole texts, and pieces of four words.
CHUNKS = (0, 4)
Floats = npt.NDArray[np.floating]
Ids = npt.NDArray[np.int32]


def tiny(**changes: object) -> GRUParams:
    """Give a small network without dropout."""
    small: dict[str, object] = {"units": 5, "embedding": 4, "embedding_dropout": 0.0}
    return GRUParams.model_validate(small | {"dropout": 0.0} | changes)


def build(params: GRUParams, *, n_classes: int = 3, seed: int = 0) -> keras.Model:
    return build_model(params, vocabulary=VOCABULARY, n_classes=n_classes, seed=seed)


@functools.cache
def random_net(params: GRUParams) -> keras.Model:
    """Build a network with a value of its own for every weight; biases start as zeros."""
    model = build(params)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0, 0.5, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def mixed_rows(lengths: tuple[int, ...] = (1, 9, 4, 2, 7), *, width: int = 9) -> Ids:
    """Draw rows of token ids padded on the right with zeros: int32, (batch, width)."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1, VOCABULARY, (len(lengths), width)).astype(np.int32)
    ids[np.arange(width) >= np.array(lengths)[:, None]] = 0
    return ids


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


def outputs_of_texts(model: keras.Model, params: GRUParams, ids: Ids) -> list[Floats]:
    """Give each text's outputs alone, piece after piece: (words, directions * units)."""
    texts = [row[row != 0] for row in ids]
    length = params.chunk_length or ids.shape[1]
    pieces = [text[i : i + length] for text in texts for i in range(0, len(text), length)]
    padded = np.stack([np.pad(piece, (0, length - len(piece))) for piece in pieces])
    outputs = masked_outputs(model, params, padded)
    words = np.concatenate([row[: len(piece)] for row, piece in zip(outputs, pieces, strict=True)])
    return np.split(words, np.cumsum([len(text) for text in texts])[:-1])


def pooled(texts: list[Floats], model: keras.Model, params: GRUParams) -> Floats:
    """Pool in NumPy, text by text, direction by direction."""
    if params.pooling == "attention":
        kernel, bias = model.get_layer("attention").get_weights()
        (scorer,) = model.get_layer("attention_scores").get_weights()
        scores = [np.exp(np.tanh(outputs @ kernel + bias) @ scorer) for outputs in texts]
        pairs = zip(texts, scores, strict=True)
        return np.stack([(outputs * score).sum(axis=0) / score.sum() for outputs, score in pairs])
    vectors = []
    for outputs in texts:
        parts = []
        for number, real in enumerate(np.split(outputs, 1 + params.bidirectional, axis=1)):
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


SHALLOW = [
    tiny(pooling=pooling, bidirectional=bidirectional, chunk_length=chunk)
    for pooling, bidirectional, chunk in itertools.product(POOLINGS, (False, True), CHUNKS)
]
DEEP = [
    tiny(layers=2, bidirectional=bidirectional, chunk_length=chunk)
    for bidirectional, chunk in itertools.product((False, True), CHUNKS)
]


def name_of(params: GRUParams) -> str:
    directions = "both" if params.bidirectional else "forward"
    return f"{params.pooling}-{directions}-pieces_of_{params.chunk_length}-{params.layers}_layers"


@pytest.mark.parametrize("params", [*SHALLOW, *DEEP], ids=name_of)
def test_the_network_equals_the_masked_keras_layers(params: GRUParams) -> None:
    model = random_net(params)
    ids = mixed_rows()

    kernel, bias = model.get_layer("probabilities").get_weights()
    logits = pooled(outputs_of_texts(model, params, ids), model, params) @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    np.testing.assert_allclose(model(ids), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_pooled_state_equals_what_masked_layers_return_last(bidirectional: bool) -> None:
    params = tiny(pooling="last", bidirectional=bidirectional)
    model = random_net(params)
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


@pytest.mark.parametrize("params", SHALLOW, ids=name_of)
def test_a_prediction_depends_neither_on_padding_nor_on_neighbours(params: GRUParams) -> None:
    model = random_net(params)
    ids = mixed_rows((1, 9, 4))
    together = np.asarray(model(ids))
    wider = np.asarray(model(np.pad(ids, ((0, 0), (0, 23)))))
    alone = np.concatenate([model(row[None, row != 0]) for row in ids])
    np.testing.assert_allclose(wider, together, rtol=0, atol=1e-6)
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_piece_as_long_as_the_text_is_the_whole_text(pooling: Pooling) -> None:
    ids = mixed_rows()
    whole, piece = (random_net(tiny(pooling=pooling, chunk_length=k)) for k in (0, 9))
    np.testing.assert_allclose(piece(ids), whole(ids), rtol=0, atol=1e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_pieces_without_words_leave_gradients_finite(pooling: Pooling) -> None:
    model = random_net(tiny(pooling=pooling, chunk_length=4))
    ids = mixed_rows((1, 9))
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(tf.math.log(model(ids, training=True)[:, 0]))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(np.isfinite(tf.convert_to_tensor(gradient)).all() for gradient in gradients)


@pytest.mark.parametrize("length", CHUNKS)
def test_attention_to_padding_is_zero_and_to_words_one_in_all(length: int) -> None:
    ids = mixed_rows((1, 8, 4), width=8)
    pieces = Pieces(tf.constant(ids), length)
    scores = np.random.default_rng(3).normal(0, 5, np.shape(pieces.real)).astype(np.float32)
    weights = np.reshape(pieces.softmax(tf.constant(scores)), ids.shape)
    assert (weights[ids == 0] == 0).all()
    assert (weights[ids != 0] > 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)


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
    model = random_net(tiny(reset_after=reset_after, bidirectional=False))
    layer = model.get_layer("gru_1_forward")
    rng = np.random.default_rng(2)
    x, h = (rng.normal(0, 1, (6, n)).astype(np.float32) for n in (4, 5))
    actual = layer(x[:, None], initial_state=h)[:, 0]
    np.testing.assert_allclose(actual, step(x, h, layer.get_weights()), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "chunk"), [*((pooling, 4) for pooling in POOLINGS), ("mean_max", 0)]
)
def test_a_saved_model_loads_in_safe_mode_without_a_class_of_ours(
    pooling: Pooling, chunk: int, tmp_path: Path
) -> None:
    rates = {"word_dropout": 0.1, "embedding_dropout": 0.3, "dropout": 0.4}
    model = build(tiny(pooling=pooling, chunk_length=chunk, **rates))
    model.save(tmp_path / "model.keras")
    keras.saving.get_custom_objects().clear()
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    ids = mixed_rows()
    np.testing.assert_array_equal(loaded(ids), model(ids))
    assert "tuner" not in loaded.to_json()
    assert "Lambda" not in loaded.to_json()


def test_the_plain_net_has_the_layers_of_the_textbook() -> None:
    params = tiny(layers=2, bidirectional=False, pooling="last")
    weighted = [layer for layer in build(params).layers if layer.weights]
    kinds = [type(layer).__name__ for layer in weighted]
    assert kinds == ["Embedding", "GRU", "GRU", "Dense"]
    assert not any("ropout" in type(layer).__name__ for layer in build(params).layers)


def test_equal_seeds_give_equal_variables_and_other_seeds_others() -> None:
    rates = {"word_dropout": 0.1, "embedding_dropout": 0.3, "layer_dropout": 0.2, "dropout": 0.4}
    params = tiny(layers=2, pooling="attention", **rates)
    first, second, other = build(params, seed=7), build(params, seed=7), build(params, seed=8)
    assert len(first.variables) == len(second.variables)
    for a, b in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    pairs = zip(first.variables, other.variables, strict=True)
    assert {a.name for a, b in pairs if np.array_equal(a, b)} == {"bias"}


def test_no_two_weights_start_alike_and_biases_start_as_zeros() -> None:
    model = build(tiny(layers=2, pooling="attention"))
    weights = [np.asarray(w) for w in model.trainable_variables if w.name != "bias"]
    assert len({w.ravel()[:4].tobytes() for w in weights}) == len(weights)
    assert not any(np.any(w) for w in model.trainable_variables if w.name == "bias")


@pytest.mark.parametrize("chunk", CHUNKS)
def test_dropped_words_become_unknown_while_training_and_padding_stays(chunk: int) -> None:
    model = build(tiny(word_dropout=0.25, chunk_length=chunk))
    words = keras.Model(model.input, model.get_layer("embedding").input)
    ids = np.pad(np.random.default_rng(0).integers(2, VOCABULARY, (20, 200)), ((0, 0), (0, 8)))
    first, second = (np.asarray(words(ids, training=True)) for _ in range(2))
    dropped = first != ids
    assert (first[dropped] == UNKNOWN_ID).all()
    assert not dropped[ids == 0].any()
    assert dropped[ids != 0].mean() == pytest.approx(0.25, abs=0.03)
    assert (first != second).any()
    np.testing.assert_array_equal(words(ids), ids)


def test_a_text_in_pieces_loses_the_same_dimensions_in_all_of_them() -> None:
    model = build(tiny(embedding=50, embedding_dropout=0.5, chunk_length=4))
    inputs = keras.Model(model.input, model.get_layer("gru_1_forward").input)
    pieces = np.asarray(inputs(mixed_rows((8, 8), width=8), training=True))  # (4, 4, 50)
    dropped = (pieces == 0).all(axis=1)
    assert dropped.any()
    np.testing.assert_array_equal(dropped[::2], dropped[1::2])
    assert (dropped[0] != dropped[2]).any()


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


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_half_precision_is_close_and_keeps_weights_and_sums_whole(pooling: Pooling) -> None:
    ids = mixed_rows((1, 400, 40), width=400)
    half, whole = (
        random_net(tiny(pooling=pooling, layers=2, chunk_length=20, precision=precision))
        for precision in ("mixed_float16", "float32")
    )
    np.testing.assert_allclose(half(ids), whole(ids), rtol=0, atol=1e-2)
    assert half.get_layer("gru_2_forward").output.dtype == "float16"
    assert half.get_layer("probabilities").input.dtype == "float32"
    assert {weight.dtype for weight in half.weights} == {"float32"}


def test_only_the_gru_of_cudnn_can_run_on_cudnn() -> None:
    assert uses_cudnn(tiny()) == bool(tf.config.list_physical_devices("GPU"))
    assert not uses_cudnn(tiny(reset_after=False))
