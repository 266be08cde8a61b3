"""How a finished model reads: from raw strings, or ids at full length, to what its net takes.

All of it is built-in layers and operations of Keras inside the ``.keras`` file, so that the file
loads in Keras's safe mode and without this package. The words are cut and looked up by the layer
of `tuner.data.text.build_vectorizer`; cutting to length is done here as `tuner.data.batches` does
it. Tests hold both equal to the way of training.
"""

from collections.abc import Sequence
from typing import TypeAlias

import keras
from keras import ops

from tuner.data.text import UNKNOWN_ID, VECTORIZER, build_vectorizer
from tuner.errors import InputError
from tuner.model import NET
from tuner.params import GRUParams

Tensor: TypeAlias = keras.KerasTensor


def build_classifier(
    net: keras.Model, params: GRUParams, words: Sequence[str] | None
) -> keras.Model:
    """Put before a net what it takes to read texts.

    Args:
        net: From padded ids to probabilities, as `tuner.model.build_model` makes it.
        params: Its hyperparameters; they say how texts are cut.
        words: Words by id, from id 2; None where only ids are known.

    Returns:
        A model from raw strings, ``(batch,)``, or without words from ids padded on the right with
        0, int32 ``(batch, time)``, to class probabilities, float32 ``(batch, n_classes)``. A text
        without a word is one unknown word.

    Example:
        >>> build_classifier(net, params, ["movie", "a"])(tf.constant(["A great movie!"]))
    """
    if words is None:
        given = keras.Input((None,), dtype="int32", name="ids")
        ids = given
    else:
        given = keras.Input((), dtype="string", name="texts")
        ids = ops.cast(build_vectorizer(words, ragged=False)(given), "int32")
    return keras.Model(given, net(_cut(ids, params)), name="classifier")


def parts_of(model: keras.Model) -> tuple[keras.Model, tuple[str, ...] | None]:
    """Take apart what `build_classifier` put together.

    Args:
        model: Such a model, as it was loaded.

    Returns:
        The net and the words.

    Raises:
        InputError: It is another model.
    """
    names = {layer.name for layer in model.layers}
    if NET not in names:
        raise InputError(
            f"holds a model with the layers {', '.join(sorted(names))}. Expected one of tuner's, "
            f"with a net {NET!r} in it"
        )
    if VECTORIZER not in names:
        return model.get_layer(NET), None
    words = model.get_layer(VECTORIZER).get_vocabulary(include_special_tokens=False)
    return model.get_layer(NET), tuple(map(str, words))


def _cut(ids: Tensor, params: GRUParams) -> Tensor:
    """Keep at most so many words of a text; (batch, any time) to (batch, time)."""
    ids = ops.pad(ids, ((0, 0), (0, 1)))  # room for an unknown word where no text has any
    kept = ids[:, : params.max_length]
    positions = _count_up(kept, axis=1)
    if params.truncate == "start":
        lengths = ops.sum(ops.cast(ids != 0, "int32"), axis=1, keepdims=True)  # (batch, 1)
        widths = ops.sum(ops.ones_like(ids), axis=1, keepdims=True)
        starts = _count_up(ids[:, :1], axis=0) * widths + ops.maximum(
            lengths - params.max_length, 0
        )
        # From a flat table: many times faster than ops.take_along_axis.
        kept = ops.take(ops.reshape(ids, (-1,)), starts + positions, axis=0)
    is_empty = ops.logical_and(ops.equal(positions, 0), ops.equal(kept, 0))
    return ops.where(is_empty, UNKNOWN_ID, kept)


def _count_up(like: Tensor, *, axis: int) -> Tensor:
    """Number the elements along an axis, from 0."""
    return ops.cumsum(ops.ones_like(like), axis=axis) - 1
