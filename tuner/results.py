"""Read a study: its progress, its trials, the best of them, as frozen values."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import Float, Row, Select, and_, asc, cast, desc, func, select
from sqlalchemy.orm import Session, aliased

from tuner.domain import Scalar
from tuner.errors import InputError, NoUsableTrialError
from tuner.storage import Database, SlotCounts, StoredStudy
from tuner.storage.schema import SLOTS, epoch_seconds
from tuner.storage.slots import count_slots

State = Literal["running", "complete", "pruned", "failed", "waiting"]
_STATES: dict[TrialState, State] = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.WAITING: "waiting",
}


#: Finished trials that the pace is taken from.
PACE_TRIALS = 50


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """One trial, as people and programs read it."""

    #: Number in the study, from 0.
    number: int
    #: running, complete, pruned, failed or waiting.
    state: State
    #: The objective; of a pruned trial its last report; None where there is none.
    value: float | None
    #: All hyperparameters, fixed ones included.
    params: Mapping[str, Scalar]
    #: Last step that was reported, in quarters of an epoch.
    last_step: int | None
    #: What was reported there.
    last_value: float | None
    #: When it began, UTC.
    started: datetime | None
    #: When it ended, UTC.
    ended: datetime | None
    #: Place in the budget; None for a trial that was made by other means.
    slot: int | None
    #: Who runs it now.
    worker: str | None
    #: Seconds that the worker's lease has left, by the database's clock.
    lease_seconds: float | None

    def to_json(self) -> dict[str, Any]:
        """Give JSON types; what is not finite becomes null."""
        return {
            "number": self.number,
            "state": self.state,
            "value": _finite(self.value),
            "params": dict(self.params),
            "last_step": self.last_step,
            "last_value": _finite(self.last_value),
            "started": self.started.isoformat() if self.started else None,
            "ended": self.ended.isoformat() if self.ended else None,
            "slot": self.slot,
            "worker": self.worker,
        }


@dataclass(frozen=True, kw_only=True)
class TrialDetails:
    """All about one trial."""

    #: The trial.
    row: TrialRow
    #: Step to value of every report.
    reports: Mapping[int, float]
    #: Facts: why it ended, where it ran.
    attributes: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Give JSON types."""
        reports = [{"step": s, "value": _finite(v)} for s, v in self.reports.items()]
        return self.row.to_json() | {"reports": reports, "attributes": dict(self.attributes)}


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a study is."""

    #: Its name.
    name: str
    #: What is judged.
    metric: str
    #: Slots by state.
    slots: SlotCounts
    #: Trials in slots by state.
    trials: Mapping[State, int]
    #: The best finished trial so far.
    best: TrialRow | None
    #: The running trials.
    running: tuple[TrialRow, ...]
    #: Trials closed an hour at the pace of the latest ones, with as many running as now.
    per_hour: float | None
    #: Seconds until the budget is done, at that pace.
    eta_seconds: float | None

    def to_json(self) -> dict[str, Any]:
        """Give JSON types."""
        return {
            "name": self.name,
            "metric": self.metric,
            "budget": self.slots.total,
            "done": self.slots.done,
            "held": self.slots.held,
            "free": self.slots.free,
            "trials": dict(self.trials),
            "best": self.best.to_json() if self.best else None,
            "running": [row.to_json() for row in self.running],
            "per_hour": self.per_hour,
            "eta_seconds": self.eta_seconds,
        }


def trials(database: Database, study: StoredStudy) -> tuple[TrialRow, ...]:
    """Read every trial of a study, by number."""
    with database.transaction() as session:
        rows = session.execute(_select_trials(study).order_by(models.TrialModel.number)).all()
    return tuple(_trial_row(row) for row in rows)


def best_trials(database: Database, study: StoredStudy, *, top: int) -> tuple[TrialRow, ...]:
    """Read the best complete trials, best first, of equals the earlier first.

    Raises:
        NoUsableTrialError: No trial has a value yet.
    """
    with database.transaction() as session:
        rows = _best(session, study, top)
        counts = count_slots(session, study.study_id) if not rows else None
    if counts is not None:
        told = f"{counts.done} of {counts.total} slots are done and {counts.held} held"
        way_out = (
            f"Look at why with `tuner trials {study.config.name}`."
            if counts.done == counts.total
            else f"Start a worker with `tuner work {study.config.name}`, or wait."
        )
        raise NoUsableTrialError(
            f"Study {study.config.name!r} has no complete trial yet: {told}. {way_out}"
        )
    return rows


def show_trial(database: Database, study: StoredStudy, number: int) -> TrialDetails:
    """Read everything about one trial.

    Raises:
        InputError: There is no such trial.
    """
    reports, attributes = models.TrialIntermediateValueModel, models.TrialUserAttributeModel
    with database.transaction() as session:
        found = session.execute(
            _select_trials(study).where(models.TrialModel.number == number)
        ).one_or_none()
        if found is None:
            raise InputError(
                f"Study {study.config.name!r} has no trial {number}. "
                f"List them with `tuner trials {study.config.name}`."
            )
        steps = session.execute(
            select(reports.step, reports.intermediate_value, reports.intermediate_value_type)
            .where(reports.trial_id == found.trial_id)
            .order_by(reports.step)
        ).all()
        facts = session.execute(
            select(attributes.key, attributes.value_json)
            .where(attributes.trial_id == found.trial_id)
            .order_by(attributes.key)
        ).all()
    return TrialDetails(
        row=_trial_row(found),
        reports={
            s: reports.stored_repr_to_intermediate_value(value, kind) for s, value, kind in steps
        },
        attributes={key: json.loads(value) for key, value in facts},
    )


def progress(database: Database, study: StoredStudy) -> Progress:
    """Read how far a study is: a handful of narrow queries, whatever its size."""
    states = (
        select(models.TrialModel.state, func.count())
        .join(SLOTS, SLOTS.c.trial_id == models.TrialModel.trial_id)
        .where(SLOTS.c.study_id == study.study_id)
        .group_by(models.TrialModel.state)
    )
    latest = (
        select(models.TrialModel._datetime_start_utc, models.TrialModel._datetime_complete_utc)
        .join(SLOTS, SLOTS.c.trial_id == models.TrialModel.trial_id)
        .where(SLOTS.c.study_id == study.study_id, SLOTS.c.state == "done")
        .order_by(models.TrialModel._datetime_complete_utc.desc())
        .limit(PACE_TRIALS)
    )
    running = _select_trials(study).where(models.TrialModel.state == TrialState.RUNNING)
    with database.transaction() as session:
        slots = count_slots(session, study.study_id)
        by_state = {_STATES[state]: count for state, count in session.execute(states)}
        spans = session.execute(latest).all()
        rows = session.execute(running.order_by(models.TrialModel.number)).all()
        best = _best(session, study, 1)
    per_hour = eta = None
    if spans and slots.held:
        seconds = sum((ended - started).total_seconds() for started, ended in spans) / len(spans)
        per_hour = 3600 * slots.held / max(seconds, 1e-3)
        eta = 3600 * (slots.total - slots.done) / per_hour
    return Progress(
        name=study.config.name,
        metric=study.config.metric,
        slots=slots,
        trials=by_state,
        best=best[0] if best else None,
        running=tuple(_trial_row(row) for row in rows),
        per_hour=per_hour,
        eta_seconds=eta,
    )


def _best(session: Session, study: StoredStudy, top: int) -> tuple[TrialRow, ...]:
    values = models.TrialValueModel
    order = desc if study.config.direction == "maximize" else asc
    statement = (
        _select_trials(study)
        .where(
            models.TrialModel.state == TrialState.COMPLETE,
            values.value_type == values.TrialValueType.FINITE,
        )
        .order_by(order(values.value), models.TrialModel.number)
        .limit(top)
    )
    return tuple(_trial_row(row) for row in session.execute(statement).all())


def _select_trials(study: StoredStudy) -> Select[Any]:
    trial, value = models.TrialModel, models.TrialValueModel
    report = models.TrialIntermediateValueModel
    earlier = aliased(report)
    last_step = (
        select(func.max(earlier.step)).where(earlier.trial_id == trial.trial_id).scalar_subquery()
    )
    return (
        select(
            trial.trial_id,
            trial.number,
            trial.state,
            value.value,
            value.value_type,
            report.step,
            report.intermediate_value,
            report.intermediate_value_type,
            trial._datetime_start_utc.label("started"),
            trial._datetime_complete_utc.label("ended"),
            SLOTS.c.slot,
            SLOTS.c.worker,
            SLOTS.c.params,
            cast(SLOTS.c.expires_at - epoch_seconds(), Float).label("lease"),
        )
        .join(SLOTS, SLOTS.c.trial_id == trial.trial_id, isouter=True)
        .join(value, and_(value.trial_id == trial.trial_id, value.objective == 0), isouter=True)
        .join(
            report,
            and_(report.trial_id == trial.trial_id, report.step == last_step),
            isouter=True,
        )
        .where(trial.study_id == study.study_id)
    )


def _trial_row(row: Row[Any]) -> TrialRow:
    values, reports = models.TrialValueModel, models.TrialIntermediateValueModel
    value = values.stored_repr_to_value(row.value, row.value_type) if row.value_type else None
    last = (
        reports.stored_repr_to_intermediate_value(
            row.intermediate_value, row.intermediate_value_type
        )
        if row.intermediate_value_type
        else None
    )
    running = row.state == TrialState.RUNNING
    return TrialRow(
        number=row.number,
        state=_STATES[row.state],
        value=value,
        params=json.loads(row.params) if row.params else {},
        last_step=row.step,
        last_value=last,
        started=row.started.replace(tzinfo=UTC) if row.started else None,
        ended=row.ended.replace(tzinfo=UTC) if row.ended else None,
        slot=row.slot,
        worker=row.worker if running else None,
        lease_seconds=row.lease if running and row.worker else None,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
