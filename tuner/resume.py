"""Interrupts a Keras training between two batches so that it goes on as if it had not been.

Nothing here relies on the names of variables, as Keras numbers them through a process; their
order follows from how the model was built.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tuner.checkpoints import Array, Checkpoints, Report, Snapshot

#: Variables that a batch changes, by what they belong to, each list in an order of its own.
State: TypeAlias = Mapping[str, Sequence[keras.Variable | tf.Variable]]


@dataclass(kw_only=True)
class Progress:
    """How far a training has come; it grows."""

    #: Batches trained so far, over all epochs.
    n_batches: int = 0
    #: Every evaluation so far, in order.
    reports: list[Report] = field(default_factory=list)
    #: The best evaluation of a whole epoch so far.
    best: Report | None = None
    #: The model's weights then.
    best_weights: Sequence[Array] = ()
    #: Loss and size of each batch of the step that is being trained.
    losses: list[tuple[float, int]] = field(default_factory=list)
    #: Batches that an earlier, interrupted training had done; 0 for a training that is new.
    n_resumed: int = 0
    #: Seconds that the earlier training took.
    earlier_seconds: float = 0.0
    #: When this one began, by `time.perf_counter`.
    started: float = field(default_factory=time.perf_counter)

    def mean_loss(self) -> float:
        """Average the loss over the examples of this step so far, of which there are some."""
        total = sum(loss * size for loss, size in self.losses)
        return total / sum(size for _, size in self.losses)

    @property
    def seconds(self) -> float:
        """Wall-clock time of training and evaluation so far, before the interruption too."""
        return self.earlier_seconds + time.perf_counter() - self.started


def interruptible(
    state: State,
    progress: Progress,
    callbacks: Sequence[keras.callbacks.Callback],
    checkpoints: Checkpoints,
    *,
    batches_per_step: int,
) -> list[keras.callbacks.Callback]:
    """Set a training to where its newest checkpoint was made, and let it write new ones.

    Before it goes on, the callbacks are told again how the evaluated steps ended, in order and
    with the same logs, as whoever listens now may have missed some.

    Args:
        state: All that a batch changes, by what it belongs to, as it is before the first batch;
            it is overwritten.
        progress: Of the training; it is overwritten.
        callbacks: Of the training; the first one counts batches in `progress`, adds reports to
            it, and puts ``"step"`` and the metrics into the logs.
        checkpoints: Where to look, and where to write.
        batches_per_step: What Keras calls `steps_per_epoch`.

    Returns:
        The callbacks to train with. Give Keras's `fit` the batches after `progress.n_batches`,
        and as `initial_epoch` the steps that have ended by then.
    """
    snapshot = checkpoints.newest()
    if snapshot is not None:
        for name, variables in state.items():
            for variable, value in zip(variables, snapshot.arrays[name], strict=True):
                variable.assign(value)
        progress.n_batches = progress.n_resumed = snapshot.n_batches
        progress.earlier_seconds = snapshot.seconds
        progress.reports[:] = snapshot.reports
        progress.best = next((r for r in snapshot.reports if r.step == snapshot.best_step), None)
        progress.best_weights = snapshot.arrays["best"]
        progress.losses[:] = zip(*(a.tolist() for a in snapshot.arrays["losses"]), strict=True)
        checkpoints.on_resume(snapshot)
    early_end = _EarlyEnd()
    keeper = _Keeper(state, checkpoints, progress, callbacks, early_end, batches_per_step, snapshot)
    return [early_end, *callbacks, keeper]


class _EarlyEnd(keras.callbacks.Callback):
    """Takes back the stop by which the keeper ends a step, before others see it; goes first.

    All steps of one `fit` have the same number of batches, but of a step that was interrupted
    only the rest is trained, and nothing but a stop ends it early. A `fit` of its own for this
    rest would tell the callbacks twice that the training begins and ends.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = False

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        del epoch, logs  # Keras passes them by name
        if self.now:
            self.now = self.model.stop_training = False


class _Keeper(keras.callbacks.Callback):
    """Writes checkpoints, and leads a resumed training back to its course; goes last."""

    def __init__(
        self,
        state: State,
        checkpoints: Checkpoints,
        progress: Progress,
        others: Sequence[keras.callbacks.Callback],
        early_end: _EarlyEnd,
        batches_per_step: int,
        resumed: Snapshot | None,
    ) -> None:
        super().__init__()
        self._state = state
        self._checkpoints = checkpoints
        self._progress = progress
        self._others = others
        self._early_end = early_end
        self._batches_per_step = batches_per_step
        self._resumed = resumed
        self._is_inside_resumed_step = bool(resumed and resumed.n_batches % batches_per_step)
        self._last_write = time.monotonic()

    @property
    def _is_at_end_of_step(self) -> bool:
        return self._progress.n_batches % self._batches_per_step == 0

    @property
    def _is_due(self) -> bool:
        return time.monotonic() - self._last_write >= self._checkpoints.every

    def on_train_begin(self, logs: object = None) -> None:
        del logs
        self._last_write = time.monotonic()
        if self._resumed is None:
            return
        evaluation, *listeners = self._others
        for report in self._resumed.reports:
            told = {"loss": report.loss, **report.metrics, "step": report.step}
            for callback in listeners:
                callback.on_epoch_end(report.step - 1, told)
        step = self._progress.n_batches // self._batches_per_step
        if self._is_at_end_of_step and self._progress.losses:
            # A stop after a step's last batch came before its evaluation.
            unfinished: dict[str, float] = {}
            for callback in (evaluation, *listeners):
                callback.on_epoch_end(step - 1, unfinished)

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        del epoch, logs
        self._resumed = None  # its arrays are many megabytes

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        del batch, logs
        if self.model.stop_training:
            return  # the end of the step comes next, and decides
        if not self._is_at_end_of_step:
            if self._is_due:
                self._write()
        elif self._is_inside_resumed_step:
            self._early_end.now = self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        del epoch, logs
        self._is_inside_resumed_step = False
        if self.model.stop_training:
            wanted = self._checkpoints.keep_when_stopped.is_set()
        else:
            wanted = self._is_due
        if wanted:
            self._write()

    def _write(self) -> None:
        progress = self._progress
        arrays: Mapping[str, tuple[Array, ...]] = {
            name: tuple(variable.numpy() for variable in variables)
            for name, variables in self._state.items()
        }
        self._checkpoints.write(
            Snapshot(
                n_batches=progress.n_batches,
                seconds=progress.seconds,
                reports=tuple(progress.reports),
                best_step=progress.best.step if progress.best else None,
                arrays={
                    **arrays,
                    "best": tuple(progress.best_weights),
                    "losses": (
                        np.array([loss for loss, _ in progress.losses], np.float64),
                        np.array([size for _, size in progress.losses], np.int64),
                    ),
                },
            )
        )
        self._last_write = time.monotonic()
