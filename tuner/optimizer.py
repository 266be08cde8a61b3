"""Adam, with one pass over each weight."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

BETA_1 = 0.9
BETA_2 = 0.999
EPSILON = 1e-7


class Adam(keras.optimizers.Optimizer):
    r"""Adam with decoupled weight decay and a limit to the gradient's norm.

    It is Keras's ``AdamW`` with ``global_clipnorm``, but for three things. TensorFlow's fused
    kernel updates a weight and its moments in one pass, where Keras's goes through ten temporary
    tensors of the weight's size, which for an embedding takes longer than the rest of a small net.
    The gradient of an embedding must be a whole tensor: where a word occurs at several places of a
    batch, its row's gradient is their sum, which Keras would square place by place. And decay and
    limit are variables, so that a compiled step serves other values, too.

    .. math:: w \leftarrow w - \eta \lambda w - \eta \hat m / (\sqrt{\hat v} + \epsilon)

    Args:
        learning_rate: :math:`\eta`.
        decays: Whether there is weight decay.
        clips: Whether there is a limit.

    References:
        Kingma and Ba 2015, arXiv:1412.6980; Loshchilov and Hutter 2019, arXiv:1711.05101; Pascanu
        et al. 2013, arXiv:1211.5063 (the limit).
    """

    def __init__(
        self, learning_rate: float = 1e-3, *, decays: bool = False, clips: bool = False
    ) -> None:
        super().__init__(learning_rate=learning_rate, name="adam")
        self._decay = tf.Variable(0.0, trainable=False) if decays else None
        self._limit = tf.Variable(1.0, trainable=False) if clips else None
        self._moments: dict[Any, tuple[keras.Variable, keras.Variable]] = {}

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Make the running means of gradients and of their squares."""
        if self.built:
            return
        super().build(variables)
        for variable in variables:
            first = self.add_variable_from_reference(variable, name="momentum")
            second = self.add_variable_from_reference(variable, name="velocity")
            self._moments[variable.value.ref()] = first, second

    def configure(self, *, decay: float, limit: float) -> None:
        r"""Set what `decays` and `clips` let be set; the rest is left alone.

        Args:
            decay: :math:`\lambda`, for all weights but biases.
            limit: Norm of the whole gradient, at most.
        """
        if self._decay is not None:
            self._decay.assign(decay)
        if self._limit is not None:
            self._limit.assign(limit)

    def apply(
        self, grads: Sequence[tf.Tensor], trainable_variables: Sequence[keras.Variable]
    ) -> None:
        """Update the variables.

        Keras's own `apply` is left out: it asks other replicas, of which there are none, in a way
        that keeps each graph it is traced in for good.

        Args:
            grads: As tensors of the variables' shapes, float32.
            trainable_variables: What they are gradients of; known to `build`.
        """
        if self._limit is not None:
            grads, _ = tf.clip_by_global_norm(grads, self._limit)
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            self.update_step(gradient, variable.value, self.learning_rate.value)
        self.iterations.assign_add(1)

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        """Update one variable."""
        first, second = self._moments[variable.ref()]
        if self._decay is not None and "bias" not in variable.name:
            variable.assign_sub(variable * (self._decay * learning_rate))
        step = tf.cast(self.iterations.value + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=first.value.handle,
            v=second.value.handle,
            beta1_power=tf.pow(BETA_1, step),
            beta2_power=tf.pow(BETA_2, step),
            lr=learning_rate,
            beta1=BETA_1,
            beta2=BETA_2,
            epsilon=EPSILON,
            grad=gradient,
        )
