"""Train one model from start to end, keep its best epoch, and say how good that was."""

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tuner.checkpoints import Checkpoints, Report
from tuner.data.batches import evaluation_batches, n_batches, training_batches
from tuner.data.encoded import Encoded
from tuner.errors import ConfigError, DataError, TrialFailedError
from tuner.metrics import METRICS, STEPS_PER_EPOCH, Labels, Metric, Probabilities, evaluate
from tuner.micro_batches import split_batches
from tuner.model import build_model
from tuner.resume import Progress, interruptible
from tuner.space import GRUParams

#: Share of the validation set that evaluations inside the first epoch use ...
PART_OF_VALIDATION = 0.2
#: ... and how many examples they use at least.
MIN_PART = 200
#: Examples that are evaluated at a time; fixed, so that a value does not depend on `batch_size`.
EVALUATION_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What came of one training.

    A callback may have stopped it before the end of the first epoch. Then no epoch counts:
    ``value`` is not a number, ``best_epoch`` is 0, ``metrics`` is empty, and the model has the
    weights that it had when it stopped.
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
    #: Epochs that an earlier, interrupted training had done; 0 where there was none.
    resumed_epochs: float
    #: The model with the weights of the best epoch.
    model: keras.Model


def fit(
    params: GRUParams,
    train: Encoded,
    validation: Encoded,
    *,
    vocabulary: int,
    n_classes: int,
    epochs: int,
    seed: int,
    metric: str,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    checkpoints: Checkpoints | None = None,
    micro_batches: int = 1,
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
    same bit for bit, in a fresh process or in one that has trained other models, interrupted and
    resumed from a checkpoint or not. Only a resumed training tells its callbacks again of the
    evaluations before the interruption, and numbers the batches that are left in the interrupted
    step from 0. To this end, and
    to free memory, Keras forgets its global state first: models of earlier calls keep working,
    but a global dtype policy or seed does not outlive this call.

    Args:
        params: The hyperparameters.
        train: What is learned from.
        validation: What the model is judged by; each class should occur.
        vocabulary: Number of token ids.
        n_classes: Number of classes.
        epochs: Epochs to train.
        seed: Fixes initial weights, dropout, the order of the data, and the part of the
            validation set; at least 0.
        metric: Name of the metric that decides which epoch is best, such as ``"val_accuracy"``.
        callbacks: Called after the evaluation.
        checkpoints: Where a training goes on that was interrupted, and where this one leaves what
            another needs to go on. Its identity must tell the data and the device.
        micro_batches: Parts into which each batch is cut to save memory; see `split_batches`.

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
    keras.utils.clear_session(free_memory=True)
    progress = Progress()
    model = build_model(params, vocabulary=vocabulary, n_classes=n_classes, seed=seed)
    if micro_batches > 1:
        split_batches(model, micro_batches)
    n_all = n_batches(len(train), params.batch_size)
    per_step = n_all // STEPS_PER_EPOCH
    evaluation = _Evaluation(
        Predictor(model, params), validation, metric, seed, progress, per_step, callbacks
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
            examples=f"{len(train)} + {len(validation)}",
            variables=_shapes(model),
            tensorflow=tf.__version__,
            keras=keras.__version__,
            numpy=np.__version__,
        )
        together = interruptible(model, progress, together, checkpoints, batches_per_step=per_step)
    model.fit(
        _dataset(params, train, epochs=epochs, seed=seed, start=divmod(progress.n_batches, n_all)),
        steps_per_epoch=per_step,
        initial_epoch=progress.n_batches // per_step,
        epochs=epochs * STEPS_PER_EPOCH,
        class_weight=class_weights(train.labels, n_classes) if params.class_weights else None,
        callbacks=together,
        shuffle=False,
        verbose=0,
    )
    best = progress.best
    if best is not None:
        model.set_weights(progress.best_weights)
    return FitResult(
        value=best.value if best else math.nan,
        best_epoch=best.step // STEPS_PER_EPOCH if best else 0,
        metrics=best.metrics if best else {},
        reports=tuple(progress.reports),
        n_parameters=model.count_params(),
        seconds=progress.seconds,
        resumed_epochs=progress.n_resumed / n_all,
        model=model,
    )


class Predictor:
    """Computes class probabilities for whole data sets, by a function that is traced once.

    Args:
        model: From `build_model`, or loaded from such a one's file.
        params: The hyperparameters it was trained with; they say how texts are cut.
    """

    def __init__(self, model: keras.Model, params: GRUParams) -> None:
        self._params = params
        self._n_classes = int(model.output_shape[-1])
        # Keras' own predict() sets up an iterator, callbacks and threads at each call.
        self._run = tf.function(
            lambda ids: model(ids, training=False),
            input_signature=[tf.TensorSpec((None, None), tf.int32)],
            # There is nothing to convert, and a process that is killed would leave the converted
            # source among the temporary files.
            autograph=False,
        )

    def probabilities(
        self, data: Encoded, after_batch: Callable[[int], None] = lambda _: None
    ) -> Probabilities:
        """Predict.

        Args:
            data: The texts; the labels are not looked at.
            after_batch: Called after each batch with its number, from 0.

        Returns:
            float32, ``(n, n_classes)``, in the order of the texts.
        """
        result = np.empty((len(data), self._n_classes), np.float32)
        batches = evaluation_batches(
            data,
            batch_size=EVALUATION_BATCH,
            max_length=self._params.max_length,
            truncate=self._params.truncate,
        )
        for number, (rows, ids) in enumerate(batches):
            result[rows] = self._run(ids).numpy()
            after_batch(number)
        return result


def part_of_validation(labels: Labels, seed: int) -> npt.NDArray[np.int64]:
    """Choose the examples for evaluations inside the first epoch.

    Args:
        labels: Classes of the validation set; int32, (n,).
        seed: Of the trial.

    Returns:
        Rows of the validation set in ascending order; int64, (m,), where m is a fifth of n but at
        least 200, or n where there are fewer. Each class has its share of them, give or take one,
        and at least one where there is room.
    """
    size = min(len(labels), max(MIN_PART, int(PART_OF_VALIDATION * len(labels))))
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    # How far down the queue of its class each example stands, from 0 to below 1: those at the
    # front of all queues are the part.
    depth = np.empty(len(labels))
    for label in np.unique(labels):
        queue = shuffled[labels[shuffled] == label]
        depth[queue] = np.arange(len(queue)) / len(queue)
    return np.sort(np.argsort(depth, kind="stable")[:size])


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


def _shapes(model: keras.Model) -> str:
    """Sum up which variables there are, so that no checkpoint of another network is taken."""
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
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
        )

    def batches() -> Iterator[tuple[npt.NDArray[np.int32], Labels]]:
        each = map(epoch_batches, range(first_epoch, epochs))
        yield from itertools.islice(itertools.chain.from_iterable(each), n_skipped, None)

    ids = tf.TensorSpec((None, None), tf.int32)  # (batch, time)
    labels = tf.TensorSpec((None,), tf.int32)  # (batch,)
    return tf.data.Dataset.from_generator(batches, output_signature=(ids, labels)).prefetch(2)


class _Evaluation(keras.callbacks.Callback):
    """Counts batches, evaluates after steps, remembers the best weights, notices divergence."""

    def __init__(
        self,
        predictor: Predictor,
        validation: Encoded,
        metric: str,
        seed: int,
        progress: Progress,
        batches_per_step: int,
        listeners: Sequence[keras.callbacks.Callback],
    ) -> None:
        super().__init__()
        self._predictor = predictor
        self._metric = metric
        self._whole = validation
        self._part = validation.subset(part_of_validation(validation.labels, seed))
        self._progress = progress
        self._batches_per_step = batches_per_step
        self._listeners = listeners

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        del batch  # in an interrupted step Keras counts from where that goes on
        step, number = divmod(self._progress.n_batches, self._batches_per_step)
        self._progress.n_batches += 1
        if not math.isfinite(logs["loss"]):
            raise self._diverged(
                f"the loss is {logs['loss']} at batch {number + 1} of step {step + 1}"
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        step = epoch + 1
        ends_epoch = step % STEPS_PER_EPOCH == 0
        inside_later_epoch = step > STEPS_PER_EPOCH and not ends_epoch
        # A callback that stopped at a batch has left this step unfinished.
        if inside_later_epoch or self.model.stop_training:
            return
        metrics = self._evaluate(self._whole if ends_epoch else self._part, step)
        report = Report(
            step=step, value=metrics[self._metric], metrics=metrics, loss=float(logs["loss"])
        )
        self._progress.reports.append(report)
        logs.update(metrics, step=step)
        if ends_epoch and self._is_best(report):
            self._progress.best = report
            self._progress.best_weights = self.model.get_weights()

    def _evaluate(self, data: Encoded, step: int) -> dict[str, float]:
        probabilities = self._predictor.probabilities(data, self._after_batch)
        if not np.isfinite(probabilities).all():
            raise self._diverged(f"predictions are not finite after step {step}")
        metrics = evaluate(data.labels, probabilities)
        if not math.isfinite(metrics[self._metric]):
            raise DataError(
                f"{self._metric} is not a number on {len(data)} validation examples of "
                f"{len(np.unique(data.labels))} class(es). Give each class more examples, or "
                "judge the study by another metric."
            )
        return metrics

    def _after_batch(self, number: int) -> None:
        for callback in self._listeners:
            callback.on_test_batch_end(number, {})

    def _is_best(self, report: Report) -> bool:
        judge: Metric = METRICS[self._metric]
        best = self._progress.best
        return best is None or judge.better(report.value, best.value)

    def _diverged(self, what: str) -> TrialFailedError:
        rate = float(self.model.optimizer.learning_rate)
        return TrialFailedError(
            f"Training diverged: {what} (a quarter of an epoch), with learning_rate={rate:g}. "
            "Lower learning rates are safer.",
            reason="diverged",
        )
