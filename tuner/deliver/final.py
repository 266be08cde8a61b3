"""The final training: on all labelled examples, for as many epochs as proved best."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import keras
import numpy as np

from tuner.data.encoded import Encoded
from tuner.data.prepared import Prepared
from tuner.errors import DataError, InputError, TrialFailedError
from tuner.judging import Estimate
from tuner.metrics import METRICS, STEPS_PER_EPOCH
from tuner.network import Networks
from tuner.params import GRUParams
from tuner.results import TrialDetails, best_trials, show_trial
from tuner.results.confirmed import Confirmed, confirmed_of
from tuner.space import Space
from tuner.storage import Database, StoredStudy, known_fingerprint
from tuner.training import FitResult, fit


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be trained."""

    #: The study.
    study: StoredStudy
    #: Number of the trial that won.
    trial: int
    #: Its hyperparameters.
    params: GRUParams
    #: Its metrics on the validation set, by name.
    metrics: Mapping[str, float]
    #: Parts that each batch is cut into, so that it fits into memory.
    micro_batches: int
    #: One for each model.
    seeds: tuple[int, ...]
    #: Epochs to train.
    epochs: int
    #: Why so many, for people.
    epochs_from: str
    #: Of the data that the study saw.
    fingerprint: str | None
    #: Its metric as `tuner confirm` found it; None where that was not done for it.
    confirmed: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """How far a training is."""

    #: Number of the model, from 1.
    model: int
    #: Epochs trained, in quarters.
    epochs: float
    #: Mean loss in the last quarter.
    loss: float
    #: Seconds that this model takes still, at the pace so far.
    seconds_left: float


def make_plan(
    database: Database,
    study: StoredStudy,
    *,
    trial: int | None,
    n_models: int,
    epochs: int | None,
) -> Plan:
    """Decide what is trained.

    Args:
        database: Where the study is.
        study: The study.
        trial: Number of the trial whose hyperparameters are taken; None for the one that was
            confirmed, where that was done, else the best one.
        n_models: How many models, which differ in their seeds.
        epochs: How long; None for as many epochs as were best for the trial, in its confirmation
            where there is one.

    Raises:
        InputError: The trial has no value, or the epochs are more than the schedule has, or the
            study confirms another one.
        NoUsableTrialError: No trial has a value yet.
    """
    if (confirms := study.config.confirms) is not None:
        raise InputError(
            f"Study {study.config.name!r} confirms {confirms.study!r}, whose winner is what there "
            f"is to train: `tuner refit {confirms.study}`."
        )
    confirmed = confirmed_of(database, study)
    if confirmed is not None and trial not in (None, confirmed.trial):
        confirmed = None  # of another trial
    number = _winner(database, study, confirmed) if trial is None else trial
    details = show_trial(database, study, number)
    name, horizon = study.config.name, study.config.budget.epochs
    if details.row.state != "complete" or details.row.slot is None:
        raise InputError(
            f"Trial {number} of {name!r} is no trial of tuner's that came to its end (it is "
            f"{details.row.state}). Choose a complete one of `tuner trials {name}`."
        )
    if epochs is not None and epochs > horizon:
        raise InputError(
            f"--epochs {epochs}: the study's trials were planned for {horizon} epochs at most, "
            f"and so is the step size. Give {horizon} or fewer."
        )
    best, why = _best_epoch(details, confirmed)
    if confirmed is not None and epochs not in (None, confirmed.epochs):
        confirmed = None  # of another training
    first = study.config.seed
    return Plan(
        study=study,
        trial=number,
        params=Space.complete(details.row.params),
        metrics={
            name: value for name in METRICS if math.isfinite(value := details.attributes[name])
        },
        micro_batches=details.micro_batches,
        seeds=tuple((first + i) % 2**31 for i in range(n_models)),
        epochs=epochs or best,
        epochs_from="asked for" if epochs else why,
        fingerprint=known_fingerprint(database, study),
        confirmed=None if confirmed is None else confirmed.figure,
    )


def _winner(database: Database, study: StoredStudy, confirmed: Confirmed | None) -> int:
    if confirmed is not None:
        return confirmed.trial
    return best_trials(database, study, top=1)[0].number


def _best_epoch(details: TrialDetails, confirmed: Confirmed | None) -> tuple[int, str]:
    """Say how long to train, and how that is known, for people."""
    number = details.row.number
    if not details.attributes.keys() >= {"best_epoch", *METRICS}:
        raise InputError(
            f"Trial {number} does not tell its best epoch: another objective than tuner's GRU made "
            f"it. Choose another one with --trial."
        )
    if confirmed is not None:
        return confirmed.epochs, f"the median best epoch of trial {number} in {confirmed.by}"
    return int(details.attributes["best_epoch"]), f"the best epoch of trial {number}"


def train_models(
    plan: Plan, data: Prepared, *, tell: Callable[[Stage], None] = lambda _: None
) -> Iterator[FitResult]:
    """Train the models of a plan, one after the other, on training and validation examples.

    The step size follows the schedule of the search, over as many epochs, and the training stops
    at the planned epoch. Words have the ids that they had in the search.

    Args:
        plan: What to train.
        data: The study's.
        tell: Called after each quarter of an epoch.

    Raises:
        DataError: The data is not what the study saw.
        TrialFailedError: A training diverged.
    """
    if plan.fingerprint not in (None, data.fingerprint):
        raise DataError(
            f"The data here is not what this study learned from: fingerprint {data.fingerprint} "
            f"here, {plan.fingerprint} in the study. Restore the file."
        )
    everything = together(data)
    shape = data.shape(plan.study.config.data.vocabulary)
    networks = Networks()
    for number, seed in enumerate(plan.seeds, start=1):
        result = fit(
            plan.params,
            everything,
            None,
            vocabulary=shape.n_ids,
            n_classes=shape.n_classes,
            epochs=plan.study.config.budget.epochs,
            until=plan.epochs,
            seed=seed,
            metric=plan.study.config.metric,
            callbacks=[_Course(plan, number, tell)],
            micro_batches=plan.micro_batches,
            networks=networks,
        )
        if not all(np.isfinite(weight).all() for weight in result.weights):
            raise TrialFailedError(
                f"The training with seed {seed} diverged. Choose another trial with --trial.",
                reason="diverged",
            )
        yield result


def together(data: Prepared) -> Encoded:
    """Put training and validation examples into one set."""
    one, other = data.train, data.validation
    return Encoded(
        ids=np.concatenate([one.ids, other.ids]),
        offsets=np.concatenate([one.offsets, other.offsets[1:] + one.offsets[-1]]),
        labels=np.concatenate([one.labels, other.labels]),
    )


class _Course(keras.callbacks.Callback):
    """Tells how far a training is."""

    def __init__(self, plan: Plan, number: int, tell: Callable[[Stage], None]) -> None:
        super().__init__()
        self._plan = plan
        self._number = number
        self._tell = tell
        self._began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        done = (epoch + 1) / STEPS_PER_EPOCH  # what Keras calls an epoch is a step here
        spent = time.monotonic() - self._began
        self._tell(
            Stage(
                model=self._number,
                epochs=done,
                loss=logs["loss"],
                seconds_left=spent / done * (self._plan.epochs - done),
            )
        )
