"""From a GRU layer's outputs over time to one vector a text."""

from collections.abc import Sequence

from keras import layers, ops

from tuner.model.pieces import Pieces, Tensor
from tuner.params import Pooling


def pool(directions: Sequence[Tensor], pieces: Pieces, pooling: Pooling) -> Tensor:
    """Pool each direction by itself.

    Args:
        directions: Outputs forward, and backward where there are, each float32, (pieces, length,
            units), in text order.
        pieces: Of the texts.
        pooling: Any but ``"attention"``.

    Returns:
        float32, (batch, features), with units or twice as many features of each direction.
    """
    vectors = [
        _pool(outputs, pieces, pooling, backward=number > 0)
        for number, outputs in enumerate(directions)
    ]
    return join(vectors, name="pooled")


def attend(outputs: Tensor, pieces: Pieces, *, units: int, dtype: str) -> Tensor:
    r"""Sum the outputs, weighted by what a small net of their own thinks of each.

    .. math:: u_t = \tanh(W h_t + b), \quad a = \mathrm{softmax}(u \cdot v), \quad \sum_t a_t h_t

    over the words of a text, whatever pieces they are in.

    Args:
        outputs: :math:`h`, of all directions, (pieces, length, features), in text order.
        pieces: Of the texts.
        units: Size of :math:`u_t`.
        dtype: Policy of the layer that computes :math:`u`.

    Returns:
        float32, (batch, features).

    References:
        Yang et al. 2016, "Hierarchical attention networks for document classification"; Lin et
        al. 2017, arXiv:1703.03130.
    """
    hidden = layers.Dense(
        units,
        activation="tanh",
        dtype=dtype,
        name="attention",
    )(outputs)
    scores = layers.Dense(
        1,
        use_bias=False,  # it would not change the softmax
        dtype="float32",
        name="attention_scores",
    )(hidden)
    weighted = pieces.softmax(scores) * ops.cast(outputs, "float32")
    return pieces.together(ops.sum(weighted, axis=1), ops.sum)


def join(parts: Sequence[Tensor], *, name: str, dtype: str = "float32") -> Tensor:
    """Put the features of several tensors side by side."""
    return layers.Concatenate(dtype=dtype, name=name)(parts) if len(parts) > 1 else parts[0]


def _pool(outputs: Tensor, pieces: Pieces, pooling: Pooling, *, backward: bool) -> Tensor:
    if pooling == "last":
        return pieces.last(outputs, backward=backward)
    parts = []
    if pooling in ("mean", "mean_max"):
        total = ops.sum(ops.where(pieces.real, outputs, 0.0), axis=1)
        parts.append(pieces.together(total, ops.sum) / ops.cast(pieces.lengths, outputs.dtype))
    if pooling in ("max", "mean_max"):
        # A GRU's outputs lie between -1 and 1, so that padding at -2 is never the largest.
        largest = ops.max(ops.where(pieces.real, outputs, -2.0), axis=1)
        parts.append(pieces.together(largest, ops.max))
    return ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
