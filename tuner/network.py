"""A model with all that is compiled for its training, used again for what has the same graph."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from tuner.averaging import Average
from tuner.evaluation import Predictor
from tuner.gradient_step import GradientStep, StepKind
from tuner.model import build_model, reinitialise, set_rates, structure_of
from tuner.optimizer import Adam
from tuner.params import GRUParams
from tuner.resume import State


class Network:
    """A model, its optimizer and its compiled step.

    Args:
        params: What the graph is made for; other numbers come with `restart`.
        vocabulary: Number of token ids.
        n_classes: Number of classes.
        micro_batches: Parts into which each batch is cut to save memory.
    """

    def __init__(
        self, params: GRUParams, *, vocabulary: int, n_classes: int, micro_batches: int
    ) -> None:
        #: From token ids to probabilities; not for saving.
        self.model = build_model(
            params, vocabulary=vocabulary, n_classes=n_classes, seed=0, adjustable=True
        )
        self._adam = Adam(decays=params.weight_decay > 0, clips=params.clip_norm > 0)
        self._adam.build(self.model.trainable_variables)
        #: What updates the weights.
        self.optimizer: keras.optimizers.Optimizer = self._adam
        if params.precision == "mixed_float16":
            self.optimizer = keras.optimizers.LossScaleOptimizer(self._adam)
            self.optimizer.build(self.model.trainable_variables)
        # The moments begin with zeros; what else there is are numbers, such as the loss's scale.
        self._numbers = [
            (variable, variable.numpy())
            for variable in self.optimizer.variables
            if not variable.ndim
        ]
        self.step = GradientStep(
            self.model,
            self.optimizer,
            StepKind(n_parts=micro_batches, is_adversarial=params.adversarial > 0),
            n_classes=n_classes,
        )
        #: The running average of the weights; None where there is none.
        self.average = Average(self.model.trainable_variables) if params.ema_decay else None
        #: Computes the model's probabilities.
        self.predictor = Predictor(self.model)
        self.model.compile(optimizer=self.optimizer, jit_compile=False)
        self.model.train_function = self._train_on_next

    @property
    def state(self) -> State:
        """All that a gradient step changes."""
        return {
            "model": self.model.variables,
            "optimizer": self.optimizer.variables,
            "average": self.average.values if self.average is not None else [],
        }

    def restart(self, params: GRUParams, *, seed: int, class_weights: Mapping[int, float]) -> None:
        """Make everything as if it had just been built.

        Args:
            params: Hyperparameters with the same graph as those that this was made for.
            seed: Fixes the initial weights and every dropout mask.
            class_weights: Class to the weight of its examples; empty where all weigh 1.
        """
        set_rates(self.model, params)
        reinitialise(self.model, seed=seed)
        for variable in self.optimizer.variables:
            variable.assign(tf.zeros(variable.shape, variable.dtype))
        for variable, number in self._numbers:
            variable.assign(number)
        self._adam.configure(decay=params.weight_decay, limit=params.clip_norm)
        self.step.configure(
            class_weights=class_weights,
            label_smoothing=params.label_smoothing,
            adversarial=params.adversarial,
        )
        if self.average is not None:
            self.average.restart()

    def set_learning_rate(self, value: float) -> None:
        """Decide the step size of the gradient steps that follow."""
        self._adam.learning_rate.assign(value)

    def _train_on_next(self, batches: Iterator[tuple[tf.Tensor, tf.Tensor]]) -> dict[str, Any]:
        """Do what Keras's `fit` does with a batch, without its layers of wrapping."""
        ids, labels = next(batches)
        return {"loss": self.step.run(ids, labels), "size": int(labels.shape[0])}


class Networks:
    """Networks to use again: compiling takes seconds, starting anew milliseconds.

    Args:
        size: How many are kept; those used longest ago go first.
    """

    def __init__(self, size: int = 2) -> None:
        self._size = size
        self._kept: OrderedDict[Hashable, Network] = OrderedDict()

    def get(
        self, params: GRUParams, *, vocabulary: int, n_classes: int, micro_batches: int
    ) -> Network:
        """Give a network whose graph fits; it may hold what an earlier training left."""
        key = (
            structure_of(params),
            params.weight_decay > 0,
            params.clip_norm > 0,
            params.adversarial > 0,
            params.ema_decay > 0,
            vocabulary,
            n_classes,
            micro_batches,
        )
        network = self._kept.pop(key, None)
        if network is None:
            while len(self._kept) >= self._size:
                self._kept.popitem(last=False)
            keras.utils.clear_session(free_memory=True)  # of what nobody holds any more
            network = Network(
                params, vocabulary=vocabulary, n_classes=n_classes, micro_batches=micro_batches
            )
        self._kept[key] = network
        return network
