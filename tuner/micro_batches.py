"""Trains on batches that are larger than the memory would allow, part by part."""

from typing import Any, TypeAlias

import keras
import tensorflow as tf

#: Sum of the parts' gradients so far, or, of an embedding, each part's values and word ids.
Total: TypeAlias = tf.Tensor | tuple[tf.TensorArray, tf.TensorArray]


def split_batches(model: keras.Model, n_parts: int) -> None:
    """Let a model compute each batch's gradient from those of its parts.

    A gradient step stays one step: loss and gradient are those of the whole batch up to rounding,
    also where parts differ in size or have class weights, and the optimizer counts batches.

    Keras's ``gradient_accumulation_steps`` does not give that. It weighs parts of different sizes
    alike, needs as many parts from a batch of few examples, and counts parts where learning-rate
    schedules expect steps. It also sums up an embedding's gradient over all places of a word,
    whereas Keras's Adam otherwise squares the gradient of each place by itself; so these are
    handed on place by place here, and a net trains alike whole and in parts.

    Parts of the same batch have different dropout masks, as the examples of a batch have.

    Args:
        model: Compiled, with a single input; its `train_step` is replaced.
        n_parts: Parts of a batch, of equal size give or take one example. A batch of fewer
            examples has parts of one.

    Example:
        >>> split_batches(model, 4)
        >>> model.fit(ids, labels, batch_size=64)  # with the memory of batches of 16
    """
    weights = model.trainable_variables
    tables = {
        id(layer.embeddings) for layer in model.layers if isinstance(layer, keras.layers.Embedding)
    }

    def nothing(weight: keras.Variable, n_used: tf.Tensor) -> Total:
        if id(weight) in tables:
            values = _pieces(weight.dtype, (None, weight.shape[1]), n_used)
            return values, _pieces("int32", (None,), n_used)
        return tf.zeros(weight.shape, weight.dtype)

    def train_step(data: tuple[tf.Tensor, ...]) -> dict[str, Any]:
        inputs, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        n_examples = tf.shape(inputs)[0]
        n_used = tf.minimum(n_parts, n_examples)

        def one_part(
            number: tf.Tensor, loss: tf.Tensor, totals: list[Total]
        ) -> tuple[tf.Tensor, tf.Tensor, list[Total]]:
            begin = number * n_examples // n_used
            end = (number + 1) * n_examples // n_used
            share = tf.cast(end - begin, tf.float32) / tf.cast(n_examples, tf.float32)
            part = inputs[begin:end]
            with tf.GradientTape() as tape:
                part_loss = share * model.compute_loss(
                    part,
                    labels[begin:end],
                    model(part, training=True),
                    None if sample_weight is None else sample_weight[begin:end],
                )
                scaled = model.optimizer.scale_loss(part_loss)
            gradients = tape.gradient(scaled, weights)
            added = [
                _add(total, gradient, number)
                for total, gradient in zip(totals, gradients, strict=True)
            ]
            return number + 1, loss + part_loss, added

        # A loop of TensorFlow's, one part after the other: unrolled, the parts could all be in
        # memory at the same time.
        _, loss, totals = tf.while_loop(
            lambda number, *_: number < n_used,
            one_part,
            (tf.constant(0), tf.constant(0.0), [nothing(weight, n_used) for weight in weights]),
            parallel_iterations=1,
        )
        gradients = [
            _gradient(total, weight) for total, weight in zip(totals, weights, strict=True)
        ]
        model.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        for metric in model.metrics:  # there is none but the mean loss
            metric.update_state(loss, sample_weight=n_examples)
        results: dict[str, Any] = model.get_metrics_result()
        return results

    model.train_step = train_step


def _pieces(dtype: str, shape: tuple[int | None, ...], n: tf.Tensor) -> tf.TensorArray:
    return tf.TensorArray(dtype, size=n, element_shape=shape, infer_shape=False)


def _add(total: Total, gradient: tf.Tensor | tf.IndexedSlices, number: tf.Tensor) -> Total:
    if isinstance(total, tuple):
        values, indices = total
        return values.write(number, gradient.values), indices.write(number, gradient.indices)
    return total + gradient


def _gradient(total: Total, weight: keras.Variable) -> tf.Tensor | tf.IndexedSlices:
    if isinstance(total, tuple):
        values, indices = total
        return tf.IndexedSlices(values.concat(), indices.concat(), tf.shape(weight))
    return total
