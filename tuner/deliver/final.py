"""The final training: on all labelled examples, for as many epochs as proved best."""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
class PlannedModel:
    """A model that is to be trained."""

    #: Its hyperparameters.
    params: GRUParams
    #: Parts that each batch is cut into, so that it fits into memory.
    micro_batches: int
    #: Of weights, order and dropout.
    seed: int
    #: Epochs to train.
    epochs: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be trained."""

    #: The study.
    study: StoredStudy
    #: Numbers of the trials whose hyperparameters are taken; who won first.
    trials: tuple[int, ...]
    #: The models, in the order of the trials.
    models: tuple[PlannedModel, ...]
    #: Metrics of the trial that won on the validation set, by name.
    metrics: Mapping[str, float]
    #: Why the models are trained for as many epochs as they are, for people.
    epochs_from: str
    #: Of the data that the study saw.
    fingerprint: str | None
    #: Its metric as `tuner confirm` found it for models of the trial that won; None where that was
    #: not done for it.
    confirmed: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """How far a training is."""

    #: Number of the model, from 1.
    model: int
    #: Epochs trained, in quarters.
    epochs: float
    #: Epochs that it is trained in all.
    of_epochs: int
    #: Mean loss in the last quarter.
    loss: float
    #: Seconds that this model takes still, at the pace so far.
    seconds_left: float


def make_plan(
    database: Database,
    study: StoredStudy,
    *,
    trial: int | None = None,
    top: int = 1,
    n_seeds: int = 1,
    epochs: int | None = None,
) -> Plan:
    """Decide what is trained.

    Args:
        database: Where the study is.
        study: The study.
        trial: Number of the trial whose hyperparameters are taken; None for the best ones.
        top: How many of the best trials are taken: those that were confirmed, where that was done,
            else those of the search.
        n_seeds: How many models of each trial, which differ in their seeds.
        epochs: How long; None for as many epochs as were best for a trial, in its confirmation
            where there is one.

    Raises:
        InputError: A trial has no value, or there are fewer, or the epochs are more than the
            schedule has, or the study confirms another one.
        NoUsableTrialError: No trial has a value yet.
    """
    if (confirms := study.config.confirms) is not None:
        raise InputError(
            f"Study {study.config.name!r} confirms {confirms.study!r}, whose winner is what there "
            f"is to train: `tuner refit {confirms.study}`."
        )
    horizon = study.config.budget.epochs
    if epochs is not None and epochs > horizon:
        raise InputError(
            f"--epochs {epochs}: the study's trials were planned for {horizon} epochs at most, "
            f"and so is the step size. Give {horizon} or fewer."
        )
    confirmed = confirmed_of(database, study)
    if confirmed is not None and trial not in (None, confirmed.trial):
        confirmed = None  # of another trial
    known = {} if confirmed is None else _finalists(confirmed)
    numbers = _best(database, study, known, top) if trial is None else (trial,)
    chosen = [_chosen(database, study, number) for number in numbers]
    lengths = [
        epochs or (known[number] if known else int(details.attributes["best_epoch"]))
        for number, details in zip(numbers, chosen, strict=True)
    ]
    seeds = itertools.count(study.config.seed)
    whole = None if confirmed is None or lengths[0] != confirmed.epochs else confirmed.figure
    return Plan(
        study=study,
        trials=numbers,
        models=tuple(
            PlannedModel(
                params=Space.complete(details.row.params),
                micro_batches=details.micro_batches,
                seed=next(seeds) % 2**31,
                epochs=length,
            )
            for details, length in zip(chosen, lengths, strict=True)
            for _ in range(n_seeds)
        ),
        metrics={
            name: value for name in METRICS if math.isfinite(value := chosen[0].attributes[name])
        },
        epochs_from="asked for" if epochs else _why_so_long(numbers, confirmed),
        fingerprint=known_fingerprint(database, study),
        confirmed=whole,
    )


def _finalists(confirmed: Confirmed) -> dict[int, int]:
    """Give the trials that were confirmed, best first, and the epochs of each."""
    return {confirmed.trial: confirmed.epochs} | {
        each.trial: each.epochs
        for each in confirmed.finalists
        if each.trial is not None and each.epochs is not None
    }


def _best(
    database: Database, study: StoredStudy, known: Mapping[int, int], top: int
) -> tuple[int, ...]:
    """Give the numbers of the best trials, best first: of the finalists where there are such."""
    found = list(known)[:top] or [row.number for row in best_trials(database, study, top=top)]
    if len(found) < top:
        whose = "finalists with a result" if known else "trials to choose from"
        raise InputError(
            f"--top {top}: {study.config.name!r} has {len(found)} {whose}. Give {len(found)} or "
            f"fewer."
        )
    return tuple(found)


def _chosen(database: Database, study: StoredStudy, number: int) -> TrialDetails:
    """Read a trial that can be trained again."""
    details, name = show_trial(database, study, number), study.config.name
    if details.row.state != "complete" or details.row.slot is None:
        raise InputError(
            f"Trial {number} of {name!r} is no trial of tuner's that came to its end (it is "
            f"{details.row.state}). Choose a complete one of `tuner trials {name}`."
        )
    if not details.attributes.keys() >= {"best_epoch", *METRICS}:
        raise InputError(
            f"Trial {number} does not tell its best epoch: another objective than tuner's GRU made "
            f"it. Choose another one with --trial."
        )
    return details


def _why_so_long(numbers: Sequence[int], confirmed: Confirmed | None) -> str:
    """Say how that is known, for people."""
    what = "best epoch" if confirmed is None else "median best epoch"
    whose = f"of trial {numbers[0]}" if len(numbers) == 1 else "of each trial"
    return f"the {what} {whose}{'' if confirmed is None else f' in {confirmed.by}'}"


def check_data(plan: Plan, data: Prepared) -> None:
    """See that the data is what the study saw.

    Raises:
        DataError: It is not.
    """
    if plan.fingerprint not in (None, data.fingerprint):
        raise DataError(
            f"The data here is not what this study learned from: fingerprint {data.fingerprint} "
            f"here, {plan.fingerprint} in the study. Restore the file."
        )


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
    check_data(plan, data)
    everything = together(data)
    shape = data.shape(plan.study.config.data.vocabulary)
    networks = Networks()
    for number, model in enumerate(plan.models, start=1):
        result = fit(
            model.params,
            everything,
            None,
            vocabulary=shape.n_ids,
            n_classes=shape.n_classes,
            epochs=plan.study.config.budget.epochs,
            until=model.epochs,
            seed=model.seed,
            metric=plan.study.config.metric,
            callbacks=[_Course(model, number, tell)],
            micro_batches=model.micro_batches,
            networks=networks,
        )
        if not all(np.isfinite(weight).all() for weight in result.weights):
            raise TrialFailedError(
                f"The training of model {number}, with seed {model.seed}, diverged. Choose "
                f"another trial with --trial, or fewer with --top.",
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

    def __init__(self, planned: PlannedModel, number: int, tell: Callable[[Stage], None]) -> None:
        super().__init__()
        self._planned = planned
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
                of_epochs=self._planned.epochs,
                loss=logs["loss"],
                seconds_left=spent / done * (self._planned.epochs - done),
            )
        )
