"""From hyperparameters to a compiled Keras model: Embedding, GRU layers, pooling, Dense.

Texts of different lengths share a batch without a Keras mask, which cuDNN accepts only under
conditions that fail at run time. Token ids are padded on the right with 0, so a forward GRU has
read no padding when it reaches a real position; the backward direction is a forward GRU over rows
that are each reversed within their own length; and pooling looks at real positions only. The
result equals that of the masked Keras layers.

The network consists of built-in layers and operations, so a saved ``.keras`` file loads in safe
mode and without this package.
"""

from collections.abc import Iterator

import keras
import numpy as np
from keras import layers, ops

from tuner.space import GRUParams, Pooling


def build_model(params: GRUParams, *, vocabulary: int, n_classes: int, seed: int) -> keras.Model:
    r"""Build and compile one network.

    With one direction, two layers, ``pooling="last"`` and no dropout this is the plain net
    Embedding, GRU, GRU, Dense.

    The GRU comes in two forms. With :math:`r` the reset gate, :math:`z` the update gate and
    :math:`\odot` the product by element, ``reset_after=False`` is the published one,

    .. math:: \tilde h_t = \tanh(W x_t + U (r_t \odot h_{t-1}) + b),

    and ``reset_after=True`` the one that cuDNN computes,

    .. math:: \tilde h_t = \tanh(W x_t + b + r_t \odot (U h_{t-1} + b')).

    Only the second runs on cuDNN; the first is several times slower on a GPU. In both, Keras
    (as Cho et al. 2014) lets the update gate keep the old state,
    :math:`h_t = z_t \odot h_{t-1} + (1 - z_t) \odot \tilde h_t`. Texts that follow Chung et al.
    2014 write :math:`h_t = (1 - z_t) \odot h_{t-1} + z_t \odot \tilde h_t`; their :math:`z` is
    one minus that of Keras, which is the same family of functions as
    :math:`1 - \sigma(a) = \sigma(-a)`.

    Args:
        params: The hyperparameters; those of batching and truncation play no part here.
        vocabulary: Number of token ids, padding (0) and out-of-vocabulary (1) included.
        n_classes: Number of classes, at least 2.
        seed: Fixes the initial weights and every dropout mask, whatever else the process built.

    Returns:
        A compiled functional model from token ids, int32 ``(batch, time)``, each row with at
        least one id other than 0 and zeros at its end only, to class probabilities, float32
        ``(batch, n_classes)``.

    Example:
        >>> model = build_model(GRUParams(), vocabulary=20_000, n_classes=2, seed=0)
        >>> model.output_shape
        (None, 2)

    References:
        Cho et al. 2014, arXiv:1406.1078; Chung et al. 2014, arXiv:1412.3555.
    """
    seeds = _seeds(seed)
    ids = keras.Input((None,), dtype="int32", name="ids")  # (batch, time)
    rows = _Rows(ids)

    hidden = layers.Embedding(
        vocabulary,
        params.embedding,
        embeddings_initializer=keras.initializers.RandomUniform(seed=next(seeds)),
        name="embedding",
    )(ids)  # (batch, time, embedding)
    if params.embedding_dropout:
        hidden = layers.SpatialDropout1D(
            params.embedding_dropout, seed=next(seeds), name="embedding_dropout"
        )(hidden)

    directions: list[keras.KerasTensor] = []
    for number in range(1, params.layers + 1):
        if number > 1:
            hidden = _in_text_order(directions, rows, name=f"gru_{number - 1}")
            if params.layer_dropout:
                hidden = layers.Dropout(
                    params.layer_dropout, seed=next(seeds), name=f"layer_dropout_{number - 1}"
                )(hidden)
        # Reversing comes after dropout, so that both directions read the same masked text.
        inputs = {"forward": hidden}
        if params.bidirectional:
            inputs["backward"] = rows.reverse(hidden)
        directions = [
            _gru(params, seeds, name=f"gru_{number}_{direction}")(sequence)
            for direction, sequence in inputs.items()
        ]  # each (batch, time, units), in the order in which it read

    pooled = _join([_pool(outputs, rows, params.pooling) for outputs in directions], name="pooled")
    if params.dropout:
        pooled = layers.Dropout(params.dropout, seed=next(seeds), name="dropout")(pooled)
    probabilities = layers.Dense(
        n_classes,
        activation="softmax",
        kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
        dtype="float32",
        name="probabilities",
    )(pooled)  # (batch, n_classes)

    model = keras.Model(ids, probabilities, name="gru_classifier")
    model.compile(
        optimizer=keras.optimizers.Adam(params.learning_rate, name="adam"),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        # Left to itself Keras would compile exactly those nets that cannot use cuDNN with XLA.
        jit_compile=False,
    )
    # A file of a model whose optimizer has no variables yet would not load without a warning.
    model.optimizer.build(model.trainable_variables)
    return model


class _Rows:
    """Where the real tokens of each row are, and how to reorder values over time by that."""

    def __init__(self, ids: keras.KerasTensor) -> None:
        ones = ops.ones_like(ids)
        positions = ops.cumsum(ones, axis=1) - 1  # (batch, time)
        lengths = ops.sum(ops.cast(ids != 0, "int32"), axis=1, keepdims=True)  # (batch, 1)
        real = positions < lengths
        # Gathering along time is a gather of rows from a (batch * time, features) table. On a CPU
        # it is many times faster than ops.take_along_axis, which spells out an index a feature.
        starts = (ops.cumsum(ones, axis=0) - 1) * ops.sum(ones, axis=1, keepdims=True)
        self._mirrored = starts + ops.where(real, lengths - 1 - positions, positions)
        self._last = ops.reshape(starts[:, :1] + lengths - 1, (-1,))  # (batch,)
        #: Whether a position holds a token: bool, (batch, time, 1).
        self.real = ops.expand_dims(real, axis=2)
        #: Tokens a row, as int32, (batch, 1).
        self.lengths = lengths

    def reverse(self, values: keras.KerasTensor) -> keras.KerasTensor:
        """Reverse each row within its length: (batch, time, features), padding stays."""
        return ops.take(_table(values), self._mirrored, axis=0)

    def last(self, values: keras.KerasTensor) -> keras.KerasTensor:
        """Take the value at each row's last token: (batch, features)."""
        return ops.take(_table(values), self._last, axis=0)


def _table(values: keras.KerasTensor) -> keras.KerasTensor:
    return ops.reshape(values, (-1, values.shape[-1]))  # (batch * time, features)


def _gru(params: GRUParams, seeds: Iterator[int], *, name: str) -> layers.GRU:
    return layers.GRU(
        params.units,
        return_sequences=True,
        reset_after=params.reset_after,
        kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
        recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
        seed=next(seeds),
        name=name,
    )


def _in_text_order(
    directions: list[keras.KerasTensor], rows: _Rows, *, name: str
) -> keras.KerasTensor:
    forward, *backward = directions
    return _join([forward, *(rows.reverse(outputs) for outputs in backward)], name=name)


def _join(parts: list[keras.KerasTensor], *, name: str) -> keras.KerasTensor:
    return layers.Concatenate(name=name)(parts) if len(parts) > 1 else parts[0]


def _pool(outputs: keras.KerasTensor, rows: _Rows, pooling: Pooling) -> keras.KerasTensor:
    """Make one vector of a text: (batch, time, units) to (batch, units or twice that)."""
    if pooling == "last":
        return rows.last(outputs)
    parts = []
    if pooling in ("mean", "mean_max"):
        total = ops.sum(ops.where(rows.real, outputs, 0.0), axis=1)
        parts.append(total / ops.cast(rows.lengths, outputs.dtype))
    if pooling in ("max", "mean_max"):
        # A GRU's outputs lie between -1 and 1, so that padding at -2 is never the largest.
        parts.append(ops.max(ops.where(rows.real, outputs, -2.0), axis=1))
    return ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]


def _seeds(seed: int) -> Iterator[int]:
    """Go through independent seeds below 2**31, one for each thing that is random."""
    source = np.random.SeedSequence(seed)
    while True:
        (child,) = source.spawn(1)
        yield int(child.generate_state(1)[0] >> 1)
