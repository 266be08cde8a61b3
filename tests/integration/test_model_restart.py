"""A network that is used again is the one that would have been built."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tuner.model import build_model, reinitialise, set_rates, structure_of, variables_of
from tuner.model.restart import ELSEWHERE, RATES
from tuner.params import GRUParams

IDS = np.array([[3, 1, 4, 1, 5, 9, 2, 6, 5], [3, 5, 8, 0, 0, 0, 0, 0, 0]], np.int32)

#: Another value for every hyperparameter than `dropping(0.2)` has.
OTHERS: dict[str, object] = {
    "learning_rate": 0.1,
    "schedule": "linear",
    "warmup": 0.1,
    "batch_size": 2,
    "units": 3,
    "layers": 1,
    "bidirectional": False,
    "pooling": "attention",
    "embedding": 3,
    "word_dropout": 0.1,
    "embedding_dropout": 0.1,
    "layer_dropout": 0.1,
    "dropout": 0.1,
    "weight_decay": 0.1,
    "clip_norm": 0.0,
    "label_smoothing": 0.1,
    "ema_decay": 0.9,
    "adversarial": 0.1,
    "max_length": 7,
    "truncate": "end",
    "chunk_length": 3,
    "reset_after": False,
    "class_weights": True,
    "precision": "mixed_float16",
}


def net(params: GRUParams, *, seed: int, adjustable: bool = False) -> keras.Model:
    return build_model(params, vocabulary=10, n_classes=3, seed=seed, adjustable=adjustable)


def dropping(rate: float, **changes: object) -> GRUParams:
    """Give a small network with this rate, or twice that, everywhere."""
    small = {"units": 4, "embedding": 6, "layers": 2, "chunk_length": 4}
    rates = {name: rate * (1 + number % 2) for number, name in enumerate(RATES)}
    return GRUParams.model_validate(small | rates | changes)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("mixed_float16", 1e-2)])
def test_a_used_network_started_anew_is_a_new_one_bit_for_bit(
    precision: str, tolerance: float
) -> None:
    old, new = (dropping(r, precision=precision, bidirectional=False) for r in (0.1, 0.35))
    used = net(old, seed=0, adjustable=True)
    train = tf.function(lambda ids: used(ids, training=True), autograph=False)
    train(IDS)  # draws masks
    used.set_weights([weight + 1 for weight in used.get_weights()])

    set_rates(used, new)
    reinitialise(used, seed=5)
    fresh, plain = net(new, seed=5, adjustable=True), net(new, seed=5)

    for mine, *expected in zip(*map(variables_of, (used, fresh, plain)), strict=True):
        for one in expected:
            assert mine.name == one.name
            np.testing.assert_array_equal(mine, one)
    for _ in range(2):  # the same masks, one after the other
        outputs = train(IDS)
        np.testing.assert_array_equal(outputs, tf.function(fresh)(IDS, training=True))
        np.testing.assert_allclose(outputs, plain(IDS, training=True), rtol=0, atol=tolerance)
    assert train.experimental_get_tracing_count() == 1


def test_an_adjustable_network_hands_its_weights_to_a_plain_one() -> None:
    params = dropping(0.2, pooling="attention")
    trained, plain = net(params, seed=1, adjustable=True), net(params, seed=2)
    for mine, given in zip(variables_of(plain), variables_of(trained), strict=True):
        mine.assign(given)
    np.testing.assert_allclose(plain(IDS), trained(IDS), rtol=0, atol=1e-5)


def test_the_rates_of_an_adjustable_network_are_those_asked_for() -> None:
    params = GRUParams(units=2, embedding=100, embedding_dropout=0.2)
    model = net(params, seed=0, adjustable=True)
    inputs = keras.Model(model.input, model.get_layer("gru_1_forward").input)
    ids = np.full((100, 1), 3, np.int32)
    for rate in (0.2, 0.6):
        set_rates(model, params.model_copy(update={"embedding_dropout": rate}))
        assert (np.asarray(inputs(ids, training=True)) == 0).mean() == pytest.approx(rate, abs=0.03)


@pytest.mark.parametrize("name", sorted(GRUParams.model_fields))
def test_the_structure_changes_with_what_changes_the_graph(name: str) -> None:
    before = dropping(0.2, chunk_length=0)
    after = before.model_copy(update={name: OTHERS[name]})
    assert getattr(after, name) != getattr(before, name)
    same = name in ELSEWHERE or name in RATES
    assert (structure_of(after) == structure_of(before)) == same


def test_whether_something_is_dropped_is_structure() -> None:
    for name in RATES:
        without = dropping(0.2).model_copy(update={name: 0.0})
        assert structure_of(without) != structure_of(dropping(0.2))


def test_with_one_layer_nothing_is_dropped_between_layers() -> None:
    one = dropping(0.2, layers=1)
    assert structure_of(one) == structure_of(one.model_copy(update={"layer_dropout": 0.0}))


def test_pieces_that_no_text_is_longer_than_are_no_pieces() -> None:
    whole, long = (GRUParams(max_length=50, chunk_length=chunk) for chunk in (0, 50))
    assert structure_of(long) == structure_of(whole)
    np.testing.assert_array_equal(net(long, seed=0)(IDS), net(whole, seed=0)(IDS))
    assert structure_of(GRUParams(max_length=50, chunk_length=49)) != structure_of(whole)


def test_hyperparameters_outside_the_graph_leave_it_alone() -> None:
    others = {name: OTHERS[name] for name in ELSEWHERE}
    changed = GRUParams.model_validate(GRUParams().model_dump() | others)
    before, after = (net(params, seed=0).to_json() for params in (GRUParams(), changed))
    # Keras numbers operations through a process.
    assert re.sub(r"_\d+", "", before) == re.sub(r"_\d+", "", after)
