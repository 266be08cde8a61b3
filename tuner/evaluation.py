"""Judge a model by the validation set, in the midst of its training."""

import contextlib
import math
from collections.abc import Callable, Sequence

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tuner.averaging import Average
from tuner.checkpoints import Report
from tuner.data.batches import TIME_STEP, evaluation_batches
from tuner.data.encoded import Encoded
from tuner.errors import DataError, TrialFailedError
from tuner.metrics import METRICS, STEPS_PER_EPOCH, Labels, Metric, Probabilities, evaluate
from tuner.model import piece_length, variables_of
from tuner.params import GRUParams
from tuner.resume import Progress

#: Share of the validation set that evaluations inside the first epoch use: three of them cost less
#: than a twentieth of the epoch, where the validation set is a fifth of the data ...
PART_OF_VALIDATION = 0.1
#: ... and how many examples they use at least.
MIN_PART = 200
#: Examples that are evaluated at a time; fixed, so that a value does not depend on `batch_size`.
#: More are slower on a processor, whose caches they leave.
EVALUATION_BATCH = 128


class Predictor:
    """Computes class probabilities for whole data sets, by a function that is traced once.

    Args:
        model: From token ids to class probabilities.
    """

    def __init__(self, model: keras.Model) -> None:
        self._n_classes = int(model.output_shape[-1])
        # Keras's own predict() sets up an iterator, callbacks and threads at each call.
        self._run = tf.function(
            lambda ids: model(ids, training=False),
            input_signature=[tf.TensorSpec((None, None), tf.int32)],
            # There is nothing to convert, and a process that is killed would leave the converted
            # source among the temporary files.
            autograph=False,
        )

    def probabilities(
        self,
        data: Encoded,
        params: GRUParams,
        after_batch: Callable[[int], None] = lambda _: None,
    ) -> Probabilities:
        """Predict.

        Args:
            data: The texts; the labels are not looked at.
            params: The hyperparameters of the model; they say how texts are cut.
            after_batch: Called after each batch with its number, from 0.

        Returns:
            float32, ``(n, n_classes)``, in the order of the texts.
        """
        result = np.empty((len(data), self._n_classes), np.float32)
        batches = evaluation_batches(
            data,
            batch_size=EVALUATION_BATCH,
            max_length=params.max_length,
            truncate=params.truncate,
            pad_to=piece_length(params) or TIME_STEP,
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
        Rows of the validation set in ascending order; int64, (m,), where m is a tenth of n but at
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


def _part(validation: Encoded, seed: int) -> Encoded:
    return validation.subset(part_of_validation(validation.labels, seed))


class Evaluation(keras.callbacks.Callback):
    """Counts batches, evaluates after steps, remembers the best weights, notices divergence.

    Args:
        predictor: Of the model.
        params: The hyperparameters.
        validation: The whole validation set; None to judge nothing and take the newest weights.
        metric: What decides which epoch is best.
        seed: Of the trial.
        progress: Of the training; it grows.
        batches_per_step: Batches of a quarter of an epoch.
        average: Of the model's weights, to be evaluated instead of the newest ones.
        listeners: Told of each batch of an evaluation.
    """

    def __init__(
        self,
        predictor: Predictor,
        params: GRUParams,
        validation: Encoded | None,
        *,
        metric: str,
        seed: int,
        progress: Progress,
        batches_per_step: int,
        average: Average | None,
        listeners: Sequence[keras.callbacks.Callback],
    ) -> None:
        super().__init__()
        self._predictor = predictor
        self._params = params
        self._metric = metric
        self._sets = (validation, _part(validation, seed)) if validation is not None else None
        self._progress = progress
        self._batches_per_step = batches_per_step
        self._average = average
        self._listeners = listeners

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """Count a batch."""
        del batch  # in an interrupted step Keras counts from where that goes on
        step, number = divmod(self._progress.n_batches, self._batches_per_step)
        self._progress.n_batches += 1
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise self._diverged(f"the loss is {loss} at batch {number + 1} of step {step + 1}")
        self._progress.losses.append((loss, int(logs["size"])))
        if self._average is not None:
            self._average.follow(self._progress.n_batches, self._params.ema_decay)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Evaluate, where it is time for it."""
        step = epoch + 1
        ends_epoch = step % STEPS_PER_EPOCH == 0
        inside_later_epoch = step > STEPS_PER_EPOCH and not ends_epoch
        # A callback that stopped at a batch has left this step unfinished.
        if self.model.stop_training:
            return
        logs["loss"] = self._progress.mean_loss()
        logs.pop("size", None)  # of the last batch
        self._progress.losses.clear()
        if inside_later_epoch:
            return
        with self._average.in_place() if self._average else contextlib.nullcontext():
            if self._sets is None:
                self._keep_weights()
                return
            whole, part = self._sets
            metrics = self._evaluate(whole if ends_epoch else part, step)
            report = Report(
                step=step, value=metrics[self._metric], metrics=metrics, loss=logs["loss"]
            )
            if ends_epoch and self._is_best(report):
                self._progress.best = report
                self._keep_weights()
        self._progress.reports.append(report)
        logs.update(metrics, step=step)

    def _keep_weights(self) -> None:
        self._progress.best_weights = [v.numpy() for v in variables_of(self.model)]

    def _evaluate(self, data: Encoded, step: int) -> dict[str, float]:
        probabilities = self._predictor.probabilities(data, self._params, self._after_batch)
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
        return TrialFailedError(
            f"Training diverged: {what} (a quarter of an epoch), with "
            f"learning_rate={self._params.learning_rate:g}. Lower learning rates are safer.",
            reason="diverged",
        )
