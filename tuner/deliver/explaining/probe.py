"""A net of an artifact, opened where its word vectors are: its logits, and their slopes."""

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tuner.attribution.odds import Floats, Numbers
from tuner.data.batches import Ids
from tuner.deliver.artifact import Classifier
from tuner.errors import InputError
from tuner.model import build_model
from tuner.model.restart import RATES


class Probe:
    """Computes what a net makes of word vectors that are scaled down.

    A text's vectors are multiplied by a share from 0 to 1. At 0 each word has the zero vector,
    while the text is as long as it was; so the last word, means, pieces and the backward
    direction stay where they are, and only what the words say is gone. Zero is also the middle of
    what an embedding begins with. The vector of padding would be no better: no text reads it, so
    that it is never trained and says nothing.

    The net is built anew, with the same weights, in float32 and without dropout, which does
    nothing when predicting: that is the form whose slopes are quick to compute, and whose digits
    are enough to sum them up. One that predicts in ``mixed_float16`` differs by its rounding.

    Args:
        classifier: Where the weights come from.
        n_ids: Number of token ids.

    Raises:
        InputError: The net is not the one that the hyperparameters say.
    """

    def __init__(self, classifier: Classifier, *, n_ids: int) -> None:
        params = classifier.member.params
        bare = params.model_copy(update={"precision": "float32", **dict.fromkeys(RATES, 0.0)})
        net = build_model(
            bare,
            vocabulary=n_ids,
            n_classes=int(classifier.net.output_shape[-1]),
            seed=0,
            adjustable=True,  # brings the GRU with the quick gradient, where there is no cuDNN
        )
        _copy_weights(classifier, net)
        table, self._last = net.get_layer("embedding"), net.get_layer("probabilities")
        self._look_up = keras.Model(net.input, table.output)
        self._rest = keras.Model([net.input, table.output], self._last.input)

    def logits(self, ids: Ids, shares: Floats) -> Floats:
        """Compute what the softmax gets.

        Args:
            ids: Padded on the right with 0; int32, (batch, time).
            shares: What each text's word vectors are multiplied by; (batch,).

        Returns:
            (batch, n_classes).
        """
        scaled = self._look_up(ids) * _by_row(shares)
        return np.asarray(self._logits(ids, scaled, training=False), np.float64)

    def slopes(self, ids: Ids, shares: Floats, targets: Numbers) -> tuple[Floats, Floats]:
        """Compute logits, and how a class's log-odds grow as each word's vector does.

        Args:
            ids: As for `logits`.
            shares: As for `logits`.
            targets: Which class; (batch,).

        Returns:
            Logits, (batch, n_classes), and for each word the product of its vector with the
            gradient of the log-odds where all vectors are scaled; (batch, time), 0 at padding.
        """
        vectors = self._look_up(ids)  # (batch, time in full pieces, embedding)
        scaled = vectors * _by_row(shares)
        with tf.GradientTape() as tape:
            tape.watch(scaled)
            # There is no dropout: for training means that the GRU keeps what its gradient needs.
            logits = self._logits(ids, scaled, training=True)
            odds = _log_odds(logits, targets)
        products = tf.reduce_sum(vectors * tape.gradient(odds, scaled), axis=2)
        return (
            np.asarray(logits, np.float64),
            np.asarray(products[:, : ids.shape[1]], np.float64),
        )

    def _logits(self, ids: Ids, vectors: tf.Tensor, *, training: bool) -> tf.Tensor:
        features = self._rest([tf.constant(ids), vectors], training=training)
        return tf.matmul(features, self._last.kernel.value) + self._last.bias.value


def _copy_weights(classifier: Classifier, net: keras.Model) -> None:
    for layer in net.layers:
        if not layer.weights:
            continue
        try:
            layer.set_weights(classifier.net.get_layer(layer.name).get_weights())
        except ValueError as error:  # there is none of that name, or of another shape
            raise InputError(
                f"{classifier.member.file}: its net has no layer {layer.name!r} as its "
                f"hyperparameters say ({next(iter(str(error).splitlines()), 'no reason given')}). "
                f"Expected a net of tuner's. Explain the artifact that `tuner refit` wrote."
            ) from error


def _by_row(shares: Floats) -> npt.NDArray[np.float32]:
    return shares.astype(np.float32)[:, None, None]


def _log_odds(logits: tf.Tensor, targets: Numbers) -> tf.Tensor:
    """Compute log-odds as `tuner.attribution.odds` does, with a gradient."""
    n_classes = logits.shape[-1]
    is_target = tf.one_hot(targets, n_classes, on_value=True, off_value=False, dtype=tf.bool)
    own = tf.reduce_sum(tf.where(is_target, logits, 0.0), axis=1)
    return own - tf.reduce_logsumexp(tf.where(is_target, -np.inf, logits), axis=1)
