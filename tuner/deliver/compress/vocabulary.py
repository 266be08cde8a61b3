"""How much each word matters to a model's judgement."""

from dataclasses import replace

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tuner.data.batches import TIME_STEP, evaluation_batches
from tuner.data.encoded import Encoded
from tuner.deliver.compress.models import Models
from tuner.evaluation import EVALUATION_BATCH
from tuner.model import piece_length
from tuner.packing import TABLE, choose_rows
from tuner.packing.rows import UNKNOWN
from tuner.params import GRUParams

#: Texts that are looked at, at most: words that are not in so many can hardly matter.
N_TEXTS = 4_000
#: Probabilities are kept so far from 0 and 1 that their logarithms have a slope.
_EPSILON = 1e-6


def importance(
    net: keras.Model, params: GRUParams, data: Encoded, *, batch_size: int = EVALUATION_BATCH
) -> npt.NDArray[np.float64]:
    r"""Estimate how far the judgement of texts moves when a word becomes an unknown one.

    .. math:: \sum_t |\nabla_{e_t} F \cdot (e_t - e_\text{unknown})|, \qquad
        F = \log p_c - \log(1 - p_c)

    over all places :math:`t` where the word stands, to first order; :math:`c` is the class that
    the net finds most probable.

    Args:
        net: From ids to probabilities.
        params: Its hyperparameters.
        data: Texts to look at.
        batch_size: Texts at a time.

    Returns:
        Of each id, (n_ids,).

    References:
        Molchanov et al. 2017, arXiv:1611.06440 (the criterion).
    """
    table = net.get_layer("embedding")
    look_up = keras.Model(net.input, [table.input, table.output])
    rest = keras.Model([net.input, table.output], net.output)
    unknown = table.embeddings[UNKNOWN]

    def moves(ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        words, vectors = look_up(ids, training=False)  # (batch, time), (batch, time, embedding)
        with tf.GradientTape() as tape:
            tape.watch(vectors)
            best = tf.reduce_max(rest([ids, vectors], training=False), axis=1)
            best = tf.clip_by_value(best, _EPSILON, 1 - _EPSILON)
            odds = tf.reduce_sum(tf.math.log(best) - tf.math.log1p(-best))
        slopes = tf.cast(tape.gradient(odds, vectors), tf.float32)
        change = tf.cast(vectors, tf.float32) - unknown
        return words, tf.abs(tf.reduce_sum(slopes * change, axis=2))

    compiled = tf.function(
        moves, input_signature=[tf.TensorSpec((None, None), tf.int32)], autograph=False
    )
    total = np.zeros(table.input_dim)
    for _, ids in evaluation_batches(
        data,
        batch_size=batch_size,
        max_length=params.max_length,
        truncate=params.truncate,
        pad_to=piece_length(params) or TIME_STEP,
    ):
        words, sizes = (tensor.numpy().ravel() for tensor in compiled(ids))
        total += np.bincount(words, sizes, len(total))
    return total


def keep_words(models: Models, importances: npt.NDArray[np.float64], n_kept: int) -> Models:
    """Take the rows of the least important words out of the models' tables.

    Args:
        models: With all words.
        importances: Of each id, (n_ids,).
        n_kept: Ids that are left.
    """
    kept = choose_rows(importances, n_kept)
    return replace(
        models,
        each=tuple(
            replace(each, weights=each.weights | {TABLE: each.weights[TABLE][kept]})
            for each in models.each
        ),
        kept=kept,
    )
