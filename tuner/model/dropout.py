"""Dropout whose rate can be changed in a net that has been traced already."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops


class AdjustableDropout(layers.Dropout):
    """Does what Keras's `Dropout` does, bit for bit, at a rate that may change.

    The rate is a hyperparameter and no state: it is not among the variables of a model, so that
    these are the ones of the net of built-in layers.

    Args:
        rate: Share that is dropped; above 0, below 1.
        **others: As for `Dropout`.
    """

    def __init__(self, rate: float, **others: Any) -> None:
        super().__init__(rate, **others)
        # What is added is 1 / (1 - rate): dividing by the other would round differently.
        self._rate_and_scale = tf.Variable([0.0, 0.0], trainable=False)
        self.adjust(rate)

    def adjust(self, rate: float) -> None:
        """Change the rate, to another above 0 and below 1."""
        self.rate = rate
        self._rate_and_scale.assign([rate, 1 / (1 - rate)])

    def call(self, inputs: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Drop some of the inputs, and scale up the others."""
        if not training:
            return inputs
        rate, scale = tf.unstack(tf.cast(self._rate_and_scale, inputs.dtype))
        given = self.noise_shape or (None,) * len(inputs.shape)
        actual = ops.shape(inputs)
        shape = [
            size if fixed is None else fixed for fixed, size in zip(given, actual, strict=True)
        ]
        noise = keras.random.uniform(shape, dtype=inputs.dtype, seed=self.seed_generator)
        return ops.where(noise >= rate, inputs * scale, 0)
