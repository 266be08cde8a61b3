"""One training of a study that confirms: a finalist with another seed, judged by other examples."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import optuna

from tuner.checkpoints import Checkpoints
from tuner.confirmation import Confirmation, Task, training_seed
from tuner.data.prepare import Prepared, prepare
from tuner.data.split import Fold
from tuner.errors import TrialFailedError
from tuner.evaluation import Predictor
from tuner.judging.hits import HITS, STANDARD_ERROR, Hits
from tuner.judging.intervals import Rows, standard_error
from tuner.metrics import METRICS, evaluate
from tuner.objective import Objective, PruningCallback, TrialLike, note_metrics
from tuner.training import FitResult


class Rehearsal:
    """Trains finalists again.

    Args:
        objective: Of the study that confirms.
        confirmation: What it confirms.
    """

    def __init__(self, objective: Objective, confirmation: Confirmation) -> None:
        self._objective = objective
        self._confirmation = confirmation
        self._data: dict[Fold, Prepared] = {}

    def train(
        self,
        trial: TrialLike,
        task: Task,
        *,
        checkpoints: Checkpoints | None = None,
        micro_batches: int = 1,
        callbacks: Sequence[Any] = (),
    ) -> float:
        """Train one, or go on with it; see `Objective.train`.

        Where the task names no epoch, the fold judges each one, as in a search. Where it does, the
        training is the final model's: nothing judges it on the way, it ends with that epoch, and
        the fold judges once.

        Args:
            trial: Proposes the hyperparameters and takes reports, where there are any.
            task: Decides seed, examples and perhaps the last epoch.
            checkpoints: As in `Objective.train`.
            micro_batches: Likewise.
            callbacks: Likewise.

        Returns:
            The study's metric on the fold.

        Raises:
            optuna.TrialPruned: The training was stopped.
            TrialFailedError: It diverged.
        """
        config = self._objective.config
        fold = Fold(number=task.replicate, of=self._confirmation.n_folds)
        data, seed = self._prepared(fold), training_seed(config.seed, task.replicate)
        if checkpoints is not None:
            checkpoints.identify(fold=str(fold), last_epoch=str(task.epochs))
        is_rehearsal = task.epochs is not None
        pruning = [] if is_rehearsal else [PruningCallback(trial, config.metric)]
        result = self._objective.fit(
            trial,
            data,
            None if is_rehearsal else data.validation,
            until=task.epochs,
            seed=seed,
            checkpoints=checkpoints,
            micro_batches=micro_batches,
            callbacks=[*pruning, *callbacks],
        )
        if not (result.is_whole if is_rehearsal else math.isfinite(result.value)):
            raise optuna.TrialPruned
        metrics = self._judge(trial, result, data, seed=seed, listeners=callbacks)
        note_metrics(trial, metrics, best_epoch=task.epochs or result.best_epoch)
        return metrics[config.metric]

    def _prepared(self, fold: Fold) -> Prepared:
        """Give a fold's data, kept as each finalist has a task on each; its ids are on disk."""
        if fold not in self._data:
            config = self._objective.config
            self._data[fold] = prepare(
                config.data,
                seed=config.seed,
                folder=config.folder,
                data_root=self._objective.data_root,
                fold=fold,
            )
        return self._data[fold]

    def _judge(
        self,
        trial: TrialLike,
        result: FitResult,
        data: Prepared,
        *,
        seed: int,
        listeners: Sequence[keras.callbacks.Callback],
    ) -> dict[str, float]:
        """Judge a model by a fold; note with the trial what was right, and how sure that is."""

        def after_batch(number: int) -> None:
            for listener in listeners:
                listener.on_test_batch_end(number, {})

        labels = data.validation.labels
        predictor = Predictor(result.model)
        found = predictor.probabilities(data.validation, result.params, after_batch)
        if not np.isfinite(found).all():
            raise TrialFailedError(
                "Training diverged: predictions are not finite at its end. Lower learning rates "
                "are safer.",
                reason="diverged",
            )
        units = data.units
        compute = METRICS[self._objective.config.metric].compute

        def measure(rows: Rows) -> float:
            return compute(labels[rows], found[rows])

        error = standard_error(len(labels), measure, seed=seed, groups=units)
        trial.set_user_attr(STANDARD_ERROR, error)
        trial.set_user_attr(HITS, Hits.of(labels, found, units).to_text())
        return evaluate(labels, found)
