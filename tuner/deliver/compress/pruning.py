"""Most weights become 0, little by little, while the others learn to do without them."""

from dataclasses import replace

import keras
import tensorflow as tf

from tuner.deliver.compress.models import Model, Models
from tuner.deliver.compress.teaching import Lesson, teach
from tuner.packing import largest_mask

#: Epochs of learning to do without.
EPOCHS = 2
#: Of the step size with which the model was trained.
SHARE_OF_STEP_SIZE = 0.25
#: Share of the gradient steps within which the zeros come.
UNTIL = 0.5
#: Times that more weights become 0.
N_TIMES = 16


def prune(models: Models, lesson: Lesson, share: float) -> Models:
    """Set the smallest weights of each matrix to 0, and train the rest further.

    The teacher is the original model: what it says is to be kept, where labels would move the
    model elsewhere.

    Args:
        models: To be pruned.
        lesson: What the original says.
        share: Of each matrix that becomes 0; biases stay.

    References:
        Han et al. 2015, arXiv:1506.02626; Zhu and Gupta 2017, arXiv:1710.01878 (little by little).
    """
    return replace(models, each=tuple(_prune(each, models, lesson, share) for each in models.each))


def _prune(model: Model, models: Models, lesson: Lesson, share: float) -> Model:
    params = model.params.model_copy(
        update={
            "learning_rate": SHARE_OF_STEP_SIZE * model.params.learning_rate,
            "schedule": "linear",
            "warmup": 0.0,
        }
    )
    gradual = _Zeros(share)
    taught = teach(
        replace(model, params=params),
        models,
        lesson,
        epochs=EPOCHS,
        goes_on=True,
        after_step=gradual.after_step,
    )
    return replace(taught, params=model.params)


class _Zeros:
    """Keeps weights of a net at 0, more and more of them.

    Args:
        share: Of each matrix, in the end.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._n_times = 0
        self._masks: list[tuple[keras.Variable, tf.Tensor]] = []

    def after_step(self, net: keras.Model, done: float) -> None:
        """Set weights to 0 after a gradient step.

        Args:
            net: The net.
            done: Share of all gradient steps.
        """
        time = min(1.0, done / UNTIL)
        if int(time * N_TIMES) > self._n_times:
            self._n_times = int(time * N_TIMES)
            share = self._share * (1 - (1 - time) ** 3)  # fast at first, where it costs little
            self._masks = [
                (weight, tf.constant(largest_mask(weight.numpy(), share), tf.float32))
                for weight in net.trainable_variables
                if weight.value.shape.rank == 2 and "bias" not in weight.name
            ]
        for weight, mask in self._masks:
            weight.assign(weight.value * mask)
