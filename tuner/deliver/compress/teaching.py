"""A net learns to say what another one says: its probabilities are the targets, not the labels."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import keras
import numpy as np
import tensorflow as tf

from tuner.data.batches import TIME_STEP, n_batches, training_batches
from tuner.data.encoded import Encoded
from tuner.deliver.compress.models import Model, Models
from tuner.deliver.weights import put_weights, weights_of
from tuner.errors import TrialFailedError
from tuner.gradient_step import GradientStep, StepKind
from tuner.metrics import Probabilities
from tuner.model import piece_length
from tuner.network import Network
from tuner.schedule import learning_rate

#: How far all probabilities are evened out before they are compared: at 1 they are as they are. A
#: teacher is nearly certain of what it has learned from, and only then tells how certain.
TEMPERATURE = 2.0
#: What the teacher knows already, or what judges weights that are not trained here.
_LEFT_OUT = {
    "label_smoothing": 0.0,
    "class_weights": False,
    "adversarial": 0.0,
    "ema_decay": 0.0,
}

#: Called after each gradient step with the net and the share of all steps that is done.
AfterStep = Callable[[keras.Model, float], None]


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What a net learns from."""

    #: The texts, with the original's ids; the labels are not looked at.
    data: Encoded
    #: What the teacher says of them; float32, (n, n_classes).
    targets: Probabilities
    #: Parts into which each batch is cut to save memory.
    micro_batches: int = 1


class SoftStep(GradientStep):
    r"""Trains on the probabilities of another model.

    .. math:: -T^2 \sum_c q_c \log p_c

    with both evened out, :math:`p_c \propto \text{probability}_c^{1/T}`, which is the softmax of
    the logits divided by the temperature :math:`T`; :math:`T^2` keeps the gradient's size.

    References:
        Hinton et al. 2015, arXiv:1503.02531.
    """

    labels = tf.TensorSpec((None, None), tf.float32)

    def _loss(self, labels: tf.Tensor, probabilities: tf.Tensor, n_all: tf.Tensor) -> tf.Tensor:
        each = keras.losses.categorical_crossentropy(_even_out(labels), _even_out(probabilities))
        return TEMPERATURE**2 * tf.reduce_sum(each) / tf.cast(n_all, tf.float32)


def _even_out(probabilities: tf.Tensor) -> tf.Tensor:
    # Away from 0, where the root has no slope.
    powers = tf.maximum(probabilities, keras.config.epsilon()) ** (1 / TEMPERATURE)
    return powers / tf.reduce_sum(powers, axis=1, keepdims=True)


def teach(
    model: Model,
    models: Models,
    lesson: Lesson,
    *,
    epochs: int,
    goes_on: bool,
    after_step: AfterStep = lambda _net, _share: None,
) -> Model:
    """Train a model with a teacher.

    Args:
        model: Which; its weights play no part unless it goes on.
        models: Those it belongs to.
        lesson: What to learn.
        epochs: How long.
        goes_on: Whether it begins with its weights, or anew from its seed.
        after_step: Called after each gradient step.

    Returns:
        The model with new weights.

    Raises:
        TrialFailedError: It diverged.
    """
    params = model.params.model_copy(update=_LEFT_OUT)
    network = Network(
        params,
        vocabulary=len(models.kept),
        n_classes=models.n_classes,
        micro_batches=lesson.micro_batches,
    )
    network.restart(params, seed=model.seed, class_weights={})
    if goes_on:
        put_weights(network.model, model.weights)
    step = SoftStep(
        network.model,
        network.optimizer,
        StepKind(n_parts=lesson.micro_batches, is_adversarial=False),
        n_classes=models.n_classes,
    )
    # The batches' labels are the rows of the targets.
    rows = np.arange(len(lesson.data), dtype=np.int32)
    data = replace(models.numbered(lesson.data), labels=rows)
    n_all = epochs * n_batches(len(data), params.batch_size)
    n_done = 0
    for epoch in range(epochs):
        for ids, places in training_batches(
            data,
            batch_size=params.batch_size,
            max_length=params.max_length,
            truncate=params.truncate,
            seed=model.seed,
            epoch=epoch,
            pad_to=piece_length(params) or TIME_STEP,
        ):
            network.set_learning_rate(learning_rate(params, n_done=n_done, n_all=n_all))
            step.run(tf.constant(ids), tf.constant(lesson.targets[places]))
            n_done += 1
            after_step(network.model, n_done / n_all)
    weights = weights_of(network.model)
    if not all(np.isfinite(weight).all() for weight in weights.values()):
        raise TrialFailedError(
            f"The training with learning_rate={params.learning_rate:g} diverged. Leave out the "
            f"steps that train.",
            reason="diverged",
        )
    return replace(model, weights=weights)
