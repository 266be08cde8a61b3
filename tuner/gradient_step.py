"""One gradient step: a batch's loss, its gradient, and the update of the weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import keras
import tensorflow as tf

#: A loss, and its gradient with respect to each weight.
Slope: TypeAlias = tuple[tf.Tensor, list[tf.Tensor]]


@dataclass(frozen=True, kw_only=True)
class StepKind:
    """What a compiled step computes; all else can be changed without compiling it again."""

    #: Parts into which a batch is cut to save memory.
    n_parts: int
    #: Whether it also trains with the worst small change of each text's word vectors.
    is_adversarial: bool


class GradientStep:
    """Trains on one batch at a time.

    A subclass may learn from something else than classes: with `labels` of its own, a row for each
    text, and the loss of these.

    Args:
        model: From token ids to probabilities, with a layer ``"embedding"``.
        optimizer: Built for the model's trainable variables; it takes whole gradients.
        kind: What is computed.
        n_classes: Number of classes.

    References:
        Miyato et al. 2017, arXiv:1605.07725 (the adversarial loss, whose size is here a share of
        the word vectors' own norm, so that it means the same whatever their scale is); Szegedy et
        al. 2016, arXiv:1512.00567 (label smoothing).
    """

    #: What is learned from, for each text of a batch.
    labels = tf.TensorSpec((None,), tf.int32)

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        kind: StepKind,
        *,
        n_classes: int,
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._kind = kind
        self._weights = model.trainable_variables
        self._class_weights = tf.Variable(tf.ones(n_classes), trainable=False)
        self._label_smoothing = tf.Variable(0.0, trainable=False)
        self._adversarial = tf.Variable(0.0, trainable=False)
        if kind.is_adversarial:
            table = model.get_layer("embedding")
            vectors = table.output
            self._table = table.embeddings
            # The words as the table gets them: some dropped, padded to full pieces.
            self._look_up = keras.Model(model.input, [table.input, vectors])
            self._rest = keras.Model([model.input, vectors], model.output)
            self._rest_weights = [w for w in self._weights if w is not self._table]
        #: From token ids, int32 (batch, time), and `labels` to the batch's loss.
        self.run = tf.function(
            self._step,
            input_signature=[tf.TensorSpec((None, None), tf.int32), self.labels],
            autograph=False,  # there is nothing to convert
        )

    def configure(
        self, *, class_weights: Mapping[int, float], label_smoothing: float, adversarial: float
    ) -> None:
        """Set the numbers of the loss.

        Args:
            class_weights: Class to the weight of its examples; 1 for those left out.
            label_smoothing: Share of each label that is spread over all classes.
            adversarial: Norm of the worst change, as a share of that of a text's word vectors.
        """
        weights = [class_weights.get(label, 1.0) for label in range(self._class_weights.shape[0])]
        self._class_weights.assign(weights)
        self._label_smoothing.assign(label_smoothing)
        self._adversarial.assign(adversarial)

    def worst_change(self, ids: tf.Tensor, labels: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
        """Give the change of word vectors that raises the loss most, to first order.

        Args:
            ids: int32, (batch, time).
            labels: int32, (batch,).
            vectors: Of these ids: (batch, time, embedding).

        Returns:
            (batch, time, embedding), 0 at padding.
        """
        words, _ = self._look_up(ids, training=False)
        _, _, slope = self._slope_of_rest(ids, labels, vectors, tf.shape(ids)[0])
        return self._change(words, vectors, slope)

    def _step(self, ids: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        n_all = tf.shape(ids)[0]
        if self._kind.n_parts == 1:
            loss, gradients = self._slope(ids, labels, n_all)
        else:
            loss, gradients = self._slope_by_parts(ids, labels, n_all)
        self._optimizer.apply(gradients, self._weights)
        return loss

    def _slope_by_parts(self, ids: tf.Tensor, labels: tf.Tensor, n_all: tf.Tensor) -> Slope:
        """Compute a batch's gradient from those of its parts.

        A gradient step stays one step: loss and gradient are those of the whole batch up to
        rounding, also where parts differ in size by an example or have class weights, and the
        optimizer counts batches. Keras's ``gradient_accumulation_steps`` does not give that. Parts
        have different dropout masks, as the examples of a batch have. A batch of fewer examples
        than parts has parts of one.
        """
        n_used = tf.minimum(self._kind.n_parts, n_all)

        def one_part(
            number: tf.Tensor, loss: tf.Tensor, totals: list[tf.Tensor]
        ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
            begin, end = number * n_all // n_used, (number + 1) * n_all // n_used
            part_loss, gradients = self._slope(ids[begin:end], labels[begin:end], n_all)
            added = [total + one for total, one in zip(totals, gradients, strict=True)]
            return number + 1, loss + part_loss, added

        nothing = [tf.zeros(weight.shape, weight.dtype) for weight in self._weights]
        # A loop of TensorFlow's, one part after the other: unrolled, the parts could all be in
        # memory at the same time.
        _, loss, gradients = tf.while_loop(
            lambda number, *_: number < n_used,
            one_part,
            (tf.constant(0), tf.constant(0.0), nothing),
            parallel_iterations=1,
        )
        return loss, gradients

    def _slope(self, ids: tf.Tensor, labels: tf.Tensor, n_all: tf.Tensor) -> Slope:
        if self._kind.is_adversarial:
            return self._adversarial_slope(ids, labels, n_all)
        with tf.GradientTape() as tape:
            loss = self._loss(labels, self._model(ids, training=True), n_all)
            scaled = self._optimizer.scale_loss(loss)
        return loss, _whole(tape.gradient(scaled, self._weights))

    def _adversarial_slope(self, ids: tf.Tensor, labels: tf.Tensor, n_all: tf.Tensor) -> Slope:
        """Average the gradient with that at the worst change of the word vectors.

        The word vectors are looked up once, so that both see the same words dropped.
        """
        with tf.GradientTape() as look_up:
            words, vectors = self._look_up(ids, training=True)  # (batch, time, embedding)
        loss, here, slope = self._slope_of_rest(ids, labels, vectors, n_all)
        changed = vectors + self._change(words, vectors, slope)
        _, there, worst_slope = self._slope_of_rest(ids, labels, changed, n_all)
        table = look_up.gradient(
            vectors, self._table.value, output_gradients=(slope + worst_slope) / 2
        )
        rest = iter([(one + other) / 2 for one, other in zip(here, there, strict=True)])
        gradients = [table if w is self._table else next(rest) for w in self._weights]
        return loss, _whole(gradients)

    def _change(self, words: tf.Tensor, vectors: tf.Tensor, slope: tf.Tensor) -> tf.Tensor:
        """Go up the slope: (batch, time, embedding), 0 at padding."""
        # In float32: squares of a scaled slope are too large for float16.
        real = tf.cast(tf.expand_dims(words != 0, 2), tf.float32)
        size = self._adversarial * _norm(tf.cast(vectors, tf.float32) * real)
        direction = tf.cast(slope, tf.float32) * real
        return tf.cast(tf.math.divide_no_nan(size, _norm(direction)) * direction, vectors.dtype)

    def _slope_of_rest(
        self, ids: tf.Tensor, labels: tf.Tensor, vectors: tf.Tensor, n_all: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor], tf.Tensor]:
        """Give the loss, and its gradient with respect to all other weights and the vectors."""
        with tf.GradientTape() as tape:
            tape.watch(vectors)
            loss = self._loss(labels, self._rest([ids, vectors], training=True), n_all)
            scaled = self._optimizer.scale_loss(loss)
        *gradients, slope = tape.gradient(scaled, [*self._rest_weights, vectors])
        return loss, gradients, slope

    def _loss(self, labels: tf.Tensor, probabilities: tf.Tensor, n_all: tf.Tensor) -> tf.Tensor:
        """Sum up the examples' shares in the mean cross-entropy of a batch of `n_all`."""
        n_classes = probabilities.shape[-1]
        smoothing = self._label_smoothing
        targets = tf.one_hot(labels, n_classes) * (1 - smoothing) + smoothing / n_classes
        each = keras.losses.categorical_crossentropy(targets, probabilities)  # (batch,)
        weights = tf.gather(self._class_weights, labels)
        return tf.reduce_sum(each * weights) / tf.cast(n_all, tf.float32)


def _norm(vectors: tf.Tensor) -> tf.Tensor:
    """Give each text's norm: (batch, time, embedding) to (batch, 1, 1)."""
    return tf.sqrt(tf.reduce_sum(tf.square(vectors), axis=(1, 2), keepdims=True))


def _whole(gradients: Sequence[tf.Tensor | tf.IndexedSlices]) -> list[tf.Tensor]:
    """Sum up the gradients of an embedding by word."""
    return [
        tf.math.unsorted_segment_sum(g.values, g.indices, g.dense_shape[0])
        if isinstance(g, tf.IndexedSlices)
        else g
        for g in gradients
    ]
