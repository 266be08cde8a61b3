"""Train one model from start to end, keep its best epoch, and say how good that was."""

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tuner.checkpoints import Array, Checkpoints, Report
from tuner.data.batches import TIME_STEP, n_batches, training_batches
from tuner.data.encoded import Encoded
from tuner.errors import ConfigError
from tuner.evaluation import Evaluation
from tuner.metrics import METRICS, STEPS_PER_EPOCH, Labels
from tuner.model import build_model, piece_length, variables_of
from tuner.network import Network, Networks
from tuner.params import GRUParams
from tuner.resume import Progress, State, interruptible
from tuner.schedule import learning_rate


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What came of one training.

    A callback may have stopped it before the end of the first epoch, or there was no validation
    set. Then no epoch counts: ``value`` is not a number, ``best_epoch`` is 0, ``metrics`` is empty,
    and the model has the weights that it had when it stopped; averaged ones after whole epochs.
    """

    #: The metric on the whole validation set at the end of the best epoch.
    value: float
    #: The epoch with that value, from 1; the first of equals.
    best_epoch: int
    #: Every metric at the end of the best epoch, by name.
    metrics: Mapping[str, float]
    #: Every evaluation, in order.
    reports: tuple[Report, ...]
    #: Numbers that training adjusts.
    n_parameters: int
    #: Wall-clock time of training and evaluation, before an interruption too.
    seconds: float
    #: Whether it came to its last epoch's end; no callback stopped it before.
    is_whole: bool
    #: Epochs that an earlier, interrupted training had done; 0 where there was none.
    resumed_epochs: float
    #: What was trained.
    params: GRUParams
    #: What the model's variables were at the best epoch, or at last where none counts, in the
    #: order of `variables_of`.
    weights: Sequence[Array]
    #: Number of token ids, and of classes.
    shape: tuple[int, int]

    @cached_property
    def model(self) -> keras.Model:
        """The model with the weights of the best epoch, of built-in layers, uncompiled."""
        vocabulary, n_classes = self.shape
        model = build_model(self.params, vocabulary=vocabulary, n_classes=n_classes, seed=0)
        for variable, value in zip(variables_of(model), self.weights, strict=True):
            variable.assign(value)
        return model


def fit(
    params: GRUParams,
    train: Encoded,
    validation: Encoded | None,
    *,
    vocabulary: int,
    n_classes: int,
    epochs: int,
    until: int | None = None,
    seed: int,
    metric: str,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    checkpoints: Checkpoints | None = None,
    micro_batches: int = 1,
    networks: Networks | None = None,
) -> FitResult:
    """Train a model and keep the weights of its best epoch.

    What Keras calls an epoch is here a step, a quarter of one. In the first epoch each step ends
    with an evaluation, afterwards each epoch does. Evaluations inside the first epoch use a fixed
    part of the validation set (`part_of_validation`) and never become the value; those at the end
    of an epoch use all of it.

    An evaluation puts every metric and ``"step"``, the number of steps so far, into the ``logs``
    that the given callbacks see in ``on_epoch_end``; after a step without an evaluation they are
    not there. A callback ends the training by ``model.stop_training = True``; in the midst of a
    step this skips the evaluation at its end. A callback that defines ``on_test_batch_end`` is
    called after each batch of an evaluation, so that it can give signs of life.

    The result depends on the arguments alone: on a CPU with the same number of threads it is the
    same bit for bit, in a fresh process or in one that has trained other models, with a network
    that is new or used again, interrupted and resumed from a checkpoint or not. Only a resumed
    training tells its callbacks again of the evaluations before the interruption, and numbers the
    batches that are left in the interrupted step from 0.

    Args:
        params: The hyperparameters.
        train: What is learned from.
        validation: What the model is judged by; each class should occur. None for a final
            training, which nothing judges: the newest weights count.
        vocabulary: Number of token ids.
        n_classes: Number of classes.
        epochs: Epochs to train, along the schedule of the step size.
        until: Epoch with which the training ends before the schedule does; None for all.
        seed: Fixes initial weights, dropout, the order of the data, and the part of the
            validation set; at least 0.
        metric: Name of the metric that decides which epoch is best, such as ``"val_accuracy"``.
        callbacks: Called after the evaluation.
        checkpoints: Where a training goes on that was interrupted, and where this one leaves what
            another needs to go on. Its identity must tell the data and the device.
        micro_batches: Parts into which each batch is cut to save memory.
        networks: What earlier trainings have compiled; None to begin with nothing. Keras forgets
            its global state before the first network, to free memory.

    Returns:
        The value, how it came about, and the model.

    Raises:
        ConfigError: There is no such metric.
        DataError: The metric does not exist for this validation set, or there is too little data.
        TrialFailedError: The loss or a prediction became infinite or not a number; the reason is
            ``"diverged"``.

    Example:
        >>> result = fit(GRUParams(), train, validation, vocabulary=20_000, n_classes=2,
        ...              epochs=5, seed=0, metric="val_accuracy")
        >>> result.best_epoch, round(result.value, 3)
        (3, 0.871)
    """
    if metric not in METRICS:
        raise ConfigError(
            f"metric: expected one of {', '.join(METRICS)}. Received {metric!r}. "
            "Name one of those in the study file."
        )
    network = (networks or Networks()).get(
        params, vocabulary=vocabulary, n_classes=n_classes, micro_batches=micro_batches
    )
    network.restart(
        params,
        seed=seed,
        class_weights=class_weights(train.labels, n_classes) if params.class_weights else {},
    )
    progress = Progress()
    n_all = n_batches(len(train), params.batch_size)
    per_step = n_all // STEPS_PER_EPOCH
    evaluation = Evaluation(
        network.predictor,
        params,
        validation,
        metric=metric,
        seed=seed,
        progress=progress,
        batches_per_step=per_step,
        average=network.average,
        listeners=callbacks,
    )
    together = [evaluation, *callbacks]
    if checkpoints is not None:
        checkpoints.identify(
            params=params.model_dump_json(),
            vocabulary=str(vocabulary),
            n_classes=str(n_classes),
            epochs=str(epochs),
            seed=str(seed),
            metric=metric,
            micro_batches=str(micro_batches),
            examples=f"{len(train)} + {0 if validation is None else len(validation)}",
            variables=_shapes(network.state),
            tensorflow=tf.__version__,
            keras=keras.__version__,
            numpy=np.__version__,
        )
        together = interruptible(
            network.state, progress, together, checkpoints, batches_per_step=per_step
        )
    last = epochs if until is None else until
    pace = _Pace(network, params, progress, n_all=epochs * n_all)
    network.model.fit(
        _dataset(params, train, epochs=last, seed=seed, start=divmod(progress.n_batches, n_all)),
        steps_per_epoch=per_step,
        initial_epoch=progress.n_batches // per_step,
        epochs=last * STEPS_PER_EPOCH,
        callbacks=[pace, *together],
        shuffle=False,
        verbose=0,
    )
    best = progress.best
    return FitResult(
        value=best.value if best else math.nan,
        best_epoch=best.step // STEPS_PER_EPOCH if best else 0,
        metrics=best.metrics if best else {},
        reports=tuple(progress.reports),
        n_parameters=sum(math.prod(weight.shape) for weight in network.model.trainable_variables),
        seconds=progress.seconds,
        # Of a stop after the last batch, there are losses that no step's end has looked at.
        is_whole=progress.n_batches == last * n_all and not progress.losses,
        resumed_epochs=progress.n_resumed / n_all,
        params=params,
        weights=progress.best_weights
        or [variable.numpy() for variable in variables_of(network.model)],
        shape=(vocabulary, n_classes),
    )


class _Pace(keras.callbacks.Callback):
    """Sets the step size of each gradient step."""

    def __init__(
        self, network: Network, params: GRUParams, progress: Progress, *, n_all: int
    ) -> None:
        super().__init__()
        self._network = network
        self._params = params
        self._progress = progress
        self._n_all = n_all

    def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
        del batch, logs
        n_done = self._progress.n_batches
        self._network.set_learning_rate(
            learning_rate(self._params, n_done=n_done, n_all=self._n_all)
        )


def class_weights(labels: Labels, n_classes: int) -> dict[int, float]:
    """Weigh classes so that each has the same weight in all, and an example has 1 on average.

    Args:
        labels: Classes of the training set; int32, (n,).
        n_classes: Number of classes.

    Returns:
        Class to the weight of its examples, ``n / (n_classes * count)``; 1 for a class without
        examples.
    """
    counts = np.bincount(labels, minlength=n_classes)
    return {
        label: len(labels) / (n_classes * int(count)) if count else 1.0
        for label, count in enumerate(counts)
    }


def _shapes(state: State) -> str:
    """Sum up which variables there are, so that no checkpoint of another network is taken."""
    variables = [variable for name in sorted(state) for variable in state[name]]
    shapes = [(tuple(variable.shape), str(variable.dtype)) for variable in variables]
    return hashlib.sha256(repr(shapes).encode()).hexdigest()


def _dataset(
    params: GRUParams, train: Encoded, *, epochs: int, seed: int, start: tuple[int, int]
) -> tf.data.Dataset:
    """Give the batches of all epochs in a row, as one data set of a single shape signature.

    Args:
        params: The hyperparameters.
        train: The examples.
        epochs: Epochs of the whole training.
        seed: Of the trial.
        start: Epochs, and batches of the next one, that are left out as trained already.
    """
    first_epoch, n_skipped = start

    def epoch_batches(epoch: int) -> Iterator[tuple[npt.NDArray[np.int32], Labels]]:
        return training_batches(
            train,
            batch_size=params.batch_size,
            max_length=params.max_length,
            truncate=params.truncate,
            seed=seed,
            epoch=epoch,
            pad_to=piece_length(params) or TIME_STEP,
        )

    def batches() -> Iterator[tuple[npt.NDArray[np.int32], Labels]]:
        each = map(epoch_batches, range(first_epoch, epochs))
        yield from itertools.islice(itertools.chain.from_iterable(each), n_skipped, None)

    ids = tf.TensorSpec((None, None), tf.int32)  # (batch, time)
    labels = tf.TensorSpec((None,), tf.int32)  # (batch,)
    options = tf.data.Options()
    # There is nothing to tune, and its thread, which looks after that, can sleep through the end
    # of the iterator: `fit` would wait for it for up to a minute.
    options.autotune.enabled = False
    made = tf.data.Dataset.from_generator(batches, output_signature=(ids, labels))
    return made.prefetch(2).with_options(options)
