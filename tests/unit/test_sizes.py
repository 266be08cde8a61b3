"""Sizes are known before a model is built, and limits say by how much one is too large."""

import pytest

from tuner.params import GRUParams
from tuner.sizes import SIZES, Limits, Shape

SHAPE = Shape(n_ids=100, n_classes=2)
#: One direction of one layer, by hand: embedding 100 * 4; kernels 4 * 9 and 3 * 9, two biases of
#: 9; classifier (3 + 1) * 2.
SMALL = GRUParams(units=3, embedding=4, bidirectional=False, pooling="last")


def test_a_small_model_is_counted_by_hand() -> None:
    sizes = {name: count(SMALL, SHAPE) for name, count in SIZES.items()}

    assert sizes == {"parameters": 489, "bytes": 1956, "multiply_adds": 63}


def test_training_and_reading_longer_texts_change_no_size() -> None:
    other = SMALL.model_copy(update={"dropout": 0.1, "max_length": 9, "chunk_length": 3})

    assert {count(other, SHAPE) for count in SIZES.values()} == {489, 1956, 63}


@pytest.mark.parametrize(("limit", "excess"), [(1956, 0.0), (978, 1.0), (3912, -0.5)])
def test_a_limit_says_by_what_share_a_model_is_larger(limit: int, excess: float) -> None:
    limits = Limits(largest={"bytes": limit}, shape=SHAPE)

    assert limits.excess(SMALL) == {"bytes": excess}
    assert limits.allow(SMALL) == (excess <= 0)


def test_limits_name_what_is_exceeded_and_nothing_else() -> None:
    limits = Limits(largest={"bytes": 1000, "parameters": 489}, shape=SHAPE)

    assert limits.describe(SMALL) == "bytes 1,956 > 1,000"


def test_a_study_without_limits_allows_every_model() -> None:
    assert Limits(largest={}, shape=SHAPE).allow(GRUParams(units=8192))
