"""A net's weights by name: taken out, and put back."""

from collections.abc import Mapping

import keras
import numpy as np

from tuner.deliver.manifest import Manifest, Member
from tuner.errors import InputError
from tuner.model import build_model
from tuner.packing import TABLE, Floats, multiply_out, new_numbers, unpack


def weights_of(net: keras.Model) -> dict[str, Floats]:
    """Take out what training adjusted.

    Args:
        net: From `tuner.model.build_model`.

    Returns:
        By the name of the layer and the weight's own, such as ``embedding/embeddings``.
    """
    return {name: variable.numpy() for name, variable in _variables(net).items()}


def put_weights(net: keras.Model, weights: Mapping[str, Floats]) -> None:
    """Give a net weights.

    Args:
        net: From `tuner.model.build_model`.
        weights: As `weights_of` names them.

    Raises:
        InputError: They are another net's.
    """
    variables = _variables(net)
    expected = {name: tuple(variable.shape) for name, variable in variables.items()}
    found = {name: weight.shape for name, weight in weights.items()}
    if found != expected:
        wrong = sorted(found.items() ^ expected.items())
        raise InputError(
            f"holds other weights than its net has, such as {wrong[0][0]!r} of shape {wrong[0][1]}"
        )
    for name, variable in variables.items():
        variable.assign(weights[name])


def rebuild(
    content: bytes, manifest: Manifest, member: Member
) -> tuple[keras.Model, tuple[str, ...] | None]:
    """Build the net that a packed model's file describes.

    Args:
        content: Of the file.
        manifest: Of the artifact.
        member: What it says of the model.

    Returns:
        The net, and its words by id, from id 2; None where only ids are known.

    Raises:
        InputError: It is no such file; the message is without its name.
    """
    packed = unpack(content)
    weights = multiply_out({name: stored.value() for name, stored in packed.weights.items()})
    n_ids = manifest.n_ids if packed.words is None else len(packed.words) + 2
    if packed.ids is not None:
        table, ids = weights.get(TABLE), packed.ids
        if table is None or len(table) != len(ids) or not _are_ids(ids, n_ids):
            raise InputError("holds word vectors of other ids than it says")
        weights[TABLE] = table[new_numbers(ids, n_ids)]  # words that are gone are unknown ones
    net = build_model(
        member.params, vocabulary=n_ids, n_classes=len(manifest.classes), seed=member.seed
    )
    put_weights(net, weights)
    return net, packed.words


def _are_ids(ids: np.ndarray[tuple[int], np.dtype[np.int64]], n_ids: int) -> bool:
    """Say whether these are different ids in order, with the two that every model has."""
    return ids[:2].tolist() == [0, 1] and bool((np.diff(ids) > 0).all()) and ids[-1] < n_ids


def _variables(net: keras.Model) -> dict[str, keras.Variable]:
    return {
        f"{layer.name}/{variable.name}": variable
        for layer in net.layers
        for variable in layer.trainable_variables
    }
