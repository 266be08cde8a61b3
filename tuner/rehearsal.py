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
from tuner.metrics import METRICS, STEPS_PER_EPOCH, evaluate
from tuner.objective import Objective, PruningCallback, TrialLike, note_metrics
from tuner.training import FitResult


class Until(keras.callbacks.Callback):
    """Ends a training after some epochs of those that its schedule was made for.

    Args:
        epochs: How many.
    """

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._last_step = epochs * STEPS_PER_EPOCH
        #: Whether it came so far.
        self.is_reached = False

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        """Look how far it is; what Keras calls an epoch is a step here."""
        del logs
        # One that somebody stops at its last batch is not whole.
        if epoch + 1 == self._last_step and not self.model.stop_training:
            self.is_reached = self.model.stop_training = True


class Rehearsal:
    """Trains finalists again.

    Args:
        objective: Of the study that confirms.
        confirmation: What it confirms.
    """

    def __init__(self, objective: Objective, confirmation: Confirmation) -> None:
        self._objective = objective
        self._confirmation = confirmation
        self._data: tuple[Fold, Prepared] | None = None

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
        pruning = PruningCallback(trial, config.metric)
        until = Until(task.epochs) if task.epochs is not None else None
        result = self._objective.fit(
            trial,
            data,
            data.validation if until is None else None,
            seed=seed,
            checkpoints=checkpoints,
            micro_batches=micro_batches,
            callbacks=[until or pruning, *callbacks],
        )
        if not (until.is_reached if until else math.isfinite(result.value)):
            raise optuna.TrialPruned
        metrics = self._judge(trial, result, data, seed=seed, listeners=callbacks)
        note_metrics(trial, metrics, best_epoch=task.epochs or result.best_epoch)
        return metrics[config.metric]

    def _prepared(self, fold: Fold) -> Prepared:
        """Give a fold's data; the last one is kept, as one finalist's tasks follow another's."""
        if self._data is None or self._data[0] != fold:
            config = self._objective.config
            self._data = (
                fold,
                prepare(
                    config.data,
                    seed=config.seed,
                    folder=config.folder,
                    data_root=self._objective.data_root,
                    fold=fold,
                ),
            )
        return self._data[1]

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
        units = data.judged_units
        compute = METRICS[self._objective.config.metric].compute

        def measure(rows: Rows) -> float:
            return compute(labels[rows], found[rows])

        error = standard_error(len(labels), measure, seed=seed, groups=units)
        trial.set_user_attr(STANDARD_ERROR, error)
        trial.set_user_attr(HITS, Hits.of(labels, found, units).to_text())
        return evaluate(labels, found)
