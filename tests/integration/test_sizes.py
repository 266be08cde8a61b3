"""The sizes that are computed without a model are those that Keras counts."""

import itertools
import math

import keras
import pytest

from tuner.model import build_model
from tuner.params import GRUParams, Pooling
from tuner.sizes import SIZES, Shape

POOLINGS: tuple[tuple[Pooling, bool], ...] = (
    ("last", True),
    ("max", False),
    ("mean_max", True),
    ("attention", True),
)
#: Every way to pool, with everything else that decides a weight's shape.
VARIED = [
    GRUParams(
        units=5, embedding=4, layers=n, bidirectional=both, pooling=pooling, reset_after=cudnn
    )
    for n, both, (pooling, cudnn) in itertools.product((1, 3), (False, True), POOLINGS)
]
ODD = [
    GRUParams(units=3, embedding=7, pooling="attention", chunk_length=4, word_dropout=0.1),
    GRUParams(units=6, layers=2, layer_dropout=0.2, precision="mixed_float16"),
    GRUParams(units=1, embedding=1, pooling="mean", reset_after=False),
]


def read_for_each_word(model: keras.Model) -> int:
    """Count the weights that one more word is multiplied with: of what runs over time."""
    over_time = [layer for layer in model.layers if layer.name.startswith(("gru_", "attention"))]
    matrices = [w for layer in over_time for w in layer.weights if "kernel" in w.name]
    return sum(math.prod(matrix.shape) for matrix in matrices)


@pytest.mark.parametrize(
    ("params", "n_classes"), list(zip([*VARIED, *ODD], itertools.cycle((2, 5)), strict=False))
)
def test_sizes_are_what_keras_counts(params: GRUParams, n_classes: int) -> None:
    model = build_model(params, vocabulary=30, n_classes=n_classes, seed=0)

    sizes = {
        name: count(params, Shape(n_ids=30, n_classes=n_classes)) for name, count in SIZES.items()
    }

    assert sizes == {
        "bytes": sum(weight.nbytes for weight in model.get_weights()),
        "parameters": model.count_params(),
        "multiply_adds": read_for_each_word(model),
    }
