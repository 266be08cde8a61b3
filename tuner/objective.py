"""An Optuna objective: one trial -> build and train a Keras GRU, report, prune -> its value."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import keras
import optuna

from tuner.checkpoints import Checkpoints
from tuner.config import StudyConfig
from tuner.data.encoded import Encoded
from tuner.data.prepare import Prepared, prepare
from tuner.device import has_gpu
from tuner.errors import InputError
from tuner.model import uses_cudnn
from tuner.network import Networks
from tuner.sizes import SIZES, Shape
from tuner.space import Suggester
from tuner.training import FitResult, fit


class TrialLike(Suggester, Protocol):
    """What an objective needs of a trial: Optuna's `Trial` and `FixedTrial` fit."""

    def report(self, value: float, step: int) -> None:
        """Tell how good the model is at a step."""

    def should_prune(self) -> bool:
        """Say whether the trial should end."""

    def set_user_attr(self, key: str, value: Any) -> None:
        """Note a fact about the trial."""


class JudgedTrial(TrialLike, Protocol):
    """What `study.optimize` gives: a trial that can be told what it has to keep to."""

    def set_constraint(self, key: str, value: float) -> None:
        """Tell by how much something is too large; at most 0 where it is not."""


class PruningCallback(keras.callbacks.Callback):
    """Reports each evaluation to a trial and stops the training when the trial says so.

    `tuner.training.fit` puts ``"step"`` and the metrics into the logs of the Keras epochs that end
    with an evaluation. The training stops by ``model.stop_training``, so that other callbacks
    finish their work; the objective raises `optuna.TrialPruned` afterwards.

    Args:
        trial: Whom to report to.
        metric: Which of the logged metrics.
    """

    def __init__(self, trial: TrialLike, metric: str) -> None:
        super().__init__()
        self.trial = trial
        self.metric = metric
        #: Whether the trial wanted to end.
        self.pruned = False
        self._n_reports = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Report, and ask whether to go on.

        Raises:
            InputError: The training does not compute the metric.
        """
        del epoch  # the step says more
        logs = logs or {}
        if "step" not in logs:
            return  # no evaluation in this part of the epoch
        if self.metric not in logs:
            known = ", ".join(sorted(name for name in logs if name.startswith("val_")))
            raise InputError(
                f"metric: the training reports no {self.metric!r}. Expected one of: {known}."
            )
        self._n_reports += 1
        self.trial.report(float(logs[self.metric]), step=int(logs["step"]))
        if self.trial.should_prune():
            self.pruned = True
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """See that the trial was not left without a report.

        Raises:
            InputError: The training went to its end without an evaluation.
        """
        del logs
        if not self._n_reports and not self.model.stop_training:
            raise InputError(
                f"metric: the training made no evaluation, so {self.metric!r} was never reported. "
                f'Expected "step" and the metric in the logs; train with `tuner.training.fit`.'
            )


class Objective:
    """Trains the model that a trial describes and gives its validation metric.

    Args:
        config: The study.
        data_root: Folder in which relative data paths are looked up first.

    Example:
        >>> study = optuna.create_study(direction=config.direction, pruner=make_pruner(config))
        >>> study.optimize(Objective(config), n_trials=10)
    """

    def __init__(self, config: StudyConfig, *, data_root: Path | None = None) -> None:
        self.config = config
        self.data_root = data_root
        self._networks = Networks()

    @cached_property
    def data(self) -> Prepared:
        """The prepared examples; read once, on first use."""
        config = self.config
        return prepare(
            config.data, seed=config.seed, folder=config.folder, data_root=self.data_root
        )

    @property
    def fingerprint(self) -> str:
        """Identity of the data and its preparation."""
        return self.data.fingerprint

    @property
    def shape(self) -> Shape:
        """What the data decides of every model."""
        return self.data.shape(self.config.data.vocabulary)

    def __call__(self, trial: JudgedTrial) -> float | tuple[float, ...]:
        """Train one model from the start, as `study.optimize` wants it; see `train`.

        A model beyond the study's limits is not trained. With several objectives nothing is
        reported, and nothing pruned: Optuna takes no reports then.

        Raises:
            optuna.TrialPruned: The trial was not worth finishing, or its model is too large.
            TrialFailedError: The training diverged.
        """
        limits, params = self.config.limits(self.shape), self.config.space.suggest(trial)
        for name, excess in limits.excess(params).items():
            trial.set_constraint(name, excess)
        if not limits.allow(params):
            raise optuna.TrialPruned(f"beyond the limits: {limits.describe(params)}")
        return self.train(_Unreported(trial) if self.config.metrics else trial)

    def train(
        self,
        trial: TrialLike,
        *,
        checkpoints: Checkpoints | None = None,
        micro_batches: int = 1,
        callbacks: Sequence[Any] = (),
    ) -> float | tuple[float, ...]:
        """Train one model, or go on with one.

        Args:
            trial: Proposes the hyperparameters and takes the reports; of a training that goes on
                it gets the earlier reports again.
            checkpoints: Where an interrupted training of this trial goes on, and where this one
                leaves what another needs. Its identity must tell the device.
            micro_batches: Parts into which each batch is cut to save memory.
            callbacks: More Keras callbacks.

        Returns:
            The metric on the whole validation set at the end of the epoch where it was best; with
            several objectives all of them, of that epoch's model.

        Raises:
            optuna.TrialPruned: The trial was not worth finishing.
            TrialFailedError: The training diverged.
        """
        pruning = PruningCallback(trial, self.config.metric)
        result = self.fit(
            trial,
            self.data,
            self.data.validation,
            seed=self.config.seed,
            checkpoints=checkpoints,
            micro_batches=micro_batches,
            callbacks=[pruning, *callbacks],
        )
        if pruning.pruned or math.isnan(result.value):
            raise optuna.TrialPruned
        note_metrics(trial, result.metrics, best_epoch=result.best_epoch)
        further = tuple(
            float(SIZES[name](result.params, self.shape)) if name in SIZES else result.metrics[name]
            for name in self.config.objectives[1:]
        )
        return (result.value, *further) if further else result.value

    def fit(
        self,
        trial: TrialLike,
        data: Prepared,
        validation: Encoded | None,
        *,
        until: int | None = None,
        seed: int,
        checkpoints: Checkpoints | None,
        micro_batches: int,
        callbacks: Sequence[Any],
    ) -> FitResult:
        """Train the model that a trial describes, and note with the trial what that took.

        Args:
            trial: Proposes the hyperparameters.
            data: What is learned from.
            validation: What judges each epoch; None for nothing.
            until: Epoch with which the training ends before its schedule; None for all.
            seed: Of the training.
            checkpoints: As in `train`.
            micro_batches: As in `train`.
            callbacks: Keras callbacks.

        Raises:
            TrialFailedError: The training diverged.
        """
        params = self.config.space.suggest(trial)
        if checkpoints is not None:
            checkpoints.identify(data=data.fingerprint)
        shape = data.shape(self.config.data.vocabulary)
        result = fit(
            params,
            data.train,
            validation,
            vocabulary=shape.n_ids,
            n_classes=shape.n_classes,
            epochs=self.config.budget.epochs,
            until=until,
            seed=seed,
            metric=self.config.metric,
            callbacks=callbacks,
            checkpoints=checkpoints,
            micro_batches=micro_batches,
            networks=self._networks,
        )
        trial.set_user_attr("n_parameters", result.n_parameters)
        trial.set_user_attr("training_seconds", round(result.seconds, 3))
        if has_gpu():
            trial.set_user_attr("cudnn", uses_cudnn(params))
        if micro_batches > 1:
            trial.set_user_attr("micro_batches", micro_batches)
        if result.resumed_epochs:
            trial.set_user_attr("resumed_epochs", round(result.resumed_epochs, 3))
        return result


def note_metrics(trial: TrialLike, metrics: Mapping[str, float], *, best_epoch: int) -> None:
    """Note with a trial how good its model is.

    Args:
        trial: The trial.
        metrics: By name.
        best_epoch: The epoch that they are of.
    """
    trial.set_user_attr("best_epoch", best_epoch)
    for name, value in metrics.items():
        trial.set_user_attr(name, value)


class _Unreported:
    """A trial of a study with several objectives, for which Optuna takes no reports.

    Args:
        trial: Optuna's.
    """

    def __init__(self, trial: TrialLike) -> None:
        self.suggest_categorical = trial.suggest_categorical
        self.suggest_int = trial.suggest_int
        self.suggest_float = trial.suggest_float
        self.set_user_attr = trial.set_user_attr

    def report(self, _value: float, step: int) -> None:
        """Keep it from Optuna."""
        del step

    def should_prune(self) -> bool:
        """Say no."""
        return False
