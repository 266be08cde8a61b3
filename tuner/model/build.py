"""From hyperparameters to a Keras model: Embedding, GRU layers, pooling, Dense.

Texts of different lengths share a batch without a Keras mask, which cuDNN accepts only under
conditions that fail at run time. Token ids are padded on the right with 0, so a forward GRU has
read no padding when it reaches a real position; the backward direction is a forward GRU over rows
that are each reversed within their own length; and pooling looks at real positions only. The
result equals that of the masked Keras layers.

The network consists of built-in layers and operations, so a saved ``.keras`` file loads in safe
mode and without this package.
"""

import math

import keras
import tensorflow as tf
from keras import layers, ops

from tuner.model.dropout import AdjustableDropout
from tuner.model.pieces import Pieces, Tensor, piece_length
from tuner.model.pooling import attend, join, pool
from tuner.model.recurrence import ProcessorGRU
from tuner.model.restart import reinitialise
from tuner.params import GRUParams
from tuner.processor import usable_cores

#: Id of words that are not in the vocabulary.
UNKNOWN_ID = 1
#: Name of a net, also within a larger model.
NET = "gru_classifier"


def build_model(
    params: GRUParams, *, vocabulary: int, n_classes: int, seed: int, adjustable: bool = False
) -> keras.Model:
    r"""Build one network.

    With one direction, two layers, ``pooling="last"`` and no dropout this is the plain net
    Embedding, GRU, GRU, Dense.

    With ``chunk_length``, texts are cut into pieces of so many words, of which each is read by
    itself, and pooling looks at all words of a text; ``"last"`` takes what has been read at the
    text's last word, and backward at its first one.

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
        params: The hyperparameters; those of batching and training play no part here.
        vocabulary: Number of token ids, padding (0) and out-of-vocabulary (1) included.
        n_classes: Number of classes, at least 2.
        seed: Fixes the initial weights and every dropout mask, whatever else the process built.
        adjustable: Whether `set_rates` can change what is dropped. Such a net computes the same,
            but has a layer of ours: save one that is not, with the same weights.

    Returns:
        A functional model, not compiled, from token ids, int32 ``(batch, time)``, each row with at
        least one id other than 0 and zeros at its end only, to class probabilities, float32
        ``(batch, n_classes)``.

    Example:
        >>> model = build_model(GRUParams(), vocabulary=20_000, n_classes=2, seed=0)
        >>> model.output_shape
        (None, 2)

    References:
        Cho et al. 2014, arXiv:1406.1078; Chung et al. 2014, arXiv:1412.3555; Johnson and Zhang
        2016, arXiv:1602.02373 (pieces); Micikevicius et al. 2018, arXiv:1710.03740
        (``mixed_float16``).
    """
    policy = params.precision
    dropout = layers.Dropout if not adjustable else AdjustableDropout
    ids = keras.Input((None,), dtype="int32", name="ids")  # (batch, time)
    pieces = Pieces(ids, piece_length(params))

    words = pieces.ids
    if params.word_dropout:
        words = _some_unknown(words, dropout(params.word_dropout, name="word_dropout"))
    hidden = layers.Embedding(
        vocabulary,
        params.embedding,
        dtype=policy,
        name="embedding",
    )(words)  # (batch, time, embedding)
    if params.embedding_dropout:
        hidden = dropout(
            params.embedding_dropout,
            noise_shape=(None, 1, params.embedding),  # the same over a whole text
            dtype=policy,
            name="embedding_dropout",
        )(hidden)
    hidden = pieces.cut(hidden)  # (pieces, length, embedding)

    directions: list[Tensor] = []
    for number in range(1, params.layers + 1):
        if number > 1:
            hidden = join(directions, dtype=policy, name=f"gru_{number - 1}")
            if params.layer_dropout:
                hidden = dropout(
                    params.layer_dropout,
                    dtype=policy,
                    name=f"layer_dropout_{number - 1}",
                )(hidden)
        # Both directions read the same text, with the same words' features dropped.
        directions = [_read(hidden, pieces, params, number, for_training=adjustable)]
        if params.bidirectional:
            directions.append(
                _read(hidden, pieces, params, number, backward=True, for_training=adjustable)
            )

    if params.pooling == "attention":
        outputs = join(directions, dtype=policy, name=f"gru_{params.layers}")
        pooled = attend(outputs, pieces, units=params.units, dtype=policy)
    else:
        # Sums over many words need more digits than float16 has.
        outputs = [ops.cast(each, "float32") for each in directions]
        pooled = pool(outputs, pieces, params.pooling)
    if params.dropout:
        pooled = dropout(params.dropout, dtype="float32", name="dropout")(pooled)
    probabilities = layers.Dense(
        n_classes,
        activation="softmax",
        dtype="float32",
        name="probabilities",
    )(pooled)  # (batch, n_classes)
    model = keras.Model(ids, probabilities, name=NET)
    reinitialise(model, seed=seed)
    return model


def uses_cudnn(params: GRUParams) -> bool:
    """Say whether the recurrence runs on cuDNN here, by the rule of Keras's own layer."""
    # The layer gives up XLA for cuDNN, and for nothing else.
    return not _gru(params, name="example").supports_jit


def _some_unknown(ids: Tensor, dropout: layers.Layer) -> Tensor:
    """Replace words by the unknown one while training: what is dropped of as many ones."""
    kept = dropout(ops.ones_like(ids, dtype="float32"))
    return ops.where(kept > 0, ids, ops.minimum(ids, UNKNOWN_ID))  # padding stays


def _read(
    sequence: Tensor,
    pieces: Pieces,
    params: GRUParams,
    number: int,
    *,
    backward: bool = False,
    for_training: bool,
) -> Tensor:
    """Run one direction of a layer: (pieces, length, features) to (pieces, length, units)."""
    name = f"gru_{number}_{'backward' if backward else 'forward'}"
    if for_training and not uses_cudnn(params) and _is_plain(params):
        layer = ProcessorGRU(
            params.units,
            backward=backward,
            n_parts=_n_parts(params),
            return_sequences=True,
            name=name,
        )
        return layer(sequence, real=pieces.real if backward else None)
    layer = _gru(params, name=name)
    return pieces.reverse(layer(pieces.reverse(sequence))) if backward else layer(sequence)


def _gru(params: GRUParams, *, name: str) -> layers.GRU:
    return layers.GRU(
        params.units,
        return_sequences=True,
        reset_after=params.reset_after,
        dtype=params.precision,
        name=name,
    )


def _n_parts(params: GRUParams) -> int:
    """Say into how many parts a layer cuts a batch, so that all threads have something to do."""
    n_threads = tf.config.threading.get_inter_op_parallelism_threads() or usable_cores()
    return math.ceil(n_threads / (2 if params.bidirectional else 1))


def _is_plain(params: GRUParams) -> bool:
    return params.reset_after and params.precision == "float32"
