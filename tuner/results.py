"""Read a study: its progress, its trials, the best of them, as frozen values."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from optuna.distributions import json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import Float, Row, Select, and_, asc, case, cast, desc, exists, func, select
from sqlalchemy.orm import Session, aliased

from tuner.domain import Scalar
from tuner.errors import InputError, NoUsableTrialError
from tuner.storage import Database, SlotCounts, StoredStudy
from tuner.storage.budget import SUPERSEDED
from tuner.storage.schema import SLOTS, STATES, epoch_seconds
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
    #: running, complete, pruned, failed, or waiting: handed back, and nobody is at it.
    state: State
    #: The objective; of a pruned trial its last report; None where there is none.
    value: float | None
    #: All hyperparameters, fixed ones included; of a trial without slot those that were drawn.
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
    #: Whether it failed and its slot was given to another trial, which counts instead.
    superseded: bool

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
            "superseded": self.superseded,
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
    #: Parts that each batch was cut into, so that it fits into memory.
    micro_batches: int

    def to_json(self) -> dict[str, Any]:
        """Give JSON types."""
        reports = [{"step": s, "value": _finite(v)} for s, v in self.reports.items()]
        return self.row.to_json() | {
            "reports": reports,
            "attributes": dict(self.attributes),
            "micro_batches": self.micro_batches,
        }


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
    #: The open trials: running, or waiting to be taken up.
    running: tuple[TrialRow, ...]
    #: Trials closed an hour at the pace of the latest ones, with as many running as now.
    per_hour: float | None
    #: Seconds until the budget is done, at that pace.
    eta_seconds: float | None
    #: ``stopped``, ``hours`` or ``bug`` where the study ends before its budget is used up.
    ended: str | None
    #: Why, for people.
    message: str
    #: Time that the study may take, in hours; None without that limit.
    hours: float | None
    #: Time that it took, in hours; None where nobody counts.
    spent_hours: float | None

    @property
    def is_over(self) -> bool:
        """Whether a worker would find nothing to do."""
        if self.slots.done == self.slots.total:
            return True
        is_open = self.slots.held > 0 or any(row.slot is not None for row in self.running)
        return self.ended is not None and not is_open

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
            "ended": self.ended,
            "message": self.message,
            "hours": self.hours,
            "spent_hours": self.spent_hours,
        }


def trials(database: Database, study: StoredStudy) -> tuple[TrialRow, ...]:
    """Read every trial of a study, by number."""
    with database.transaction() as session:
        rows = session.execute(_select_trials(study).order_by(models.TrialModel.number)).all()
        drawn = _drawn_params(session, [row.trial_id for row in rows if row.slot is None])
    return tuple(_trial_row(row, drawn.get(row.trial_id)) for row in rows)


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
        drawn = _drawn_params(session, [found.trial_id] if found.slot is None else [])
    return TrialDetails(
        row=_trial_row(found, drawn.get(found.trial_id)),
        reports={
            s: reports.stored_repr_to_intermediate_value(value, kind) for s, value, kind in steps
        },
        attributes={key: json.loads(value) for key, value in facts},
        micro_batches=found.micro_batches or 1,
    )


def progress(database: Database, study: StoredStudy) -> Progress:
    """Read how far a study is: a handful of narrow queries, whatever its size."""
    states = (
        select(models.TrialModel.state, SLOTS.c.state.label("slot_state"), func.count().label("n"))
        .join(SLOTS, SLOTS.c.trial_id == models.TrialModel.trial_id)
        .where(SLOTS.c.study_id == study.study_id)
        .group_by(models.TrialModel.state, SLOTS.c.state)
    )
    latest = (
        select(models.TrialModel._datetime_start_utc, models.TrialModel._datetime_complete_utc)
        .join(SLOTS, SLOTS.c.trial_id == models.TrialModel.trial_id)
        .where(SLOTS.c.study_id == study.study_id, SLOTS.c.state == "done")
        .order_by(models.TrialModel._datetime_complete_utc.desc())
        .limit(PACE_TRIALS)
    )
    running = _select_trials(study).where(models.TrialModel.state == TrialState.RUNNING)
    standing = select(STATES.c.ended, STATES.c.message, STATES.c.spent_seconds).where(
        STATES.c.study_id == study.study_id
    )
    by_state: dict[State, int] = {}
    with database.transaction() as session:
        slots = count_slots(session, study.study_id)
        for found in session.execute(states):
            state = _state(found.state, found.slot_state)
            by_state[state] = by_state.get(state, 0) + found.n
        stands = session.execute(standing).one_or_none()
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
        ended=stands.ended if stands else None,
        message=(stands.message or "") if stands else "",
        hours=study.config.budget.hours,
        spent_hours=stands.spent_seconds / 3600 if stands and study.config.budget.hours else None,
    )


def _state(trial: TrialState, slot: str | None) -> State:
    """Name a trial's state, of which Optuna does not know whether anybody is at it."""
    is_waiting = trial == TrialState.RUNNING and slot == "free"
    return "waiting" if is_waiting else _STATES[trial]


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
    fact = models.TrialUserAttributeModel
    earlier = aliased(report)
    superseded = exists().where(fact.trial_id == trial.trial_id, fact.key == SUPERSEDED)
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
            SLOTS.c.micro_batches,
            SLOTS.c.state.label("slot_state"),
            case((superseded, 1), else_=0).label("superseded"),
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


def _drawn_params(session: Session, trial_ids: Sequence[int]) -> dict[int, dict[str, Scalar]]:
    """Read what Optuna knows of the params of trials that have no slot."""
    table = models.TrialParamModel
    found: dict[int, dict[str, Scalar]] = {}
    if trial_ids:
        columns = table.trial_id, table.param_name, table.param_value, table.distribution_json
        for row in session.execute(select(*columns).where(table.trial_id.in_(trial_ids))):
            domain = json_to_distribution(row.distribution_json)
            value = domain.to_external_repr(row.param_value)
            found.setdefault(row.trial_id, {})[row.param_name] = value
    return found


def _trial_row(row: Row[Any], drawn: Mapping[str, Scalar] | None = None) -> TrialRow:
    values, reports = models.TrialValueModel, models.TrialIntermediateValueModel
    value = values.stored_repr_to_value(row.value, row.value_type) if row.value_type else None
    last = (
        reports.stored_repr_to_intermediate_value(
            row.intermediate_value, row.intermediate_value_type
        )
        if row.intermediate_value_type
        else None
    )
    state = _state(row.state, row.slot_state)
    running = state == "running"
    return TrialRow(
        number=row.number,
        state=state,
        value=value,
        params=json.loads(row.params) if row.params else drawn or {},
        last_step=row.step,
        last_value=last,
        started=row.started.replace(tzinfo=UTC) if row.started else None,
        ended=row.ended.replace(tzinfo=UTC) if row.ended else None,
        slot=row.slot,
        worker=row.worker if running else None,
        lease_seconds=row.lease if running and row.worker else None,
        superseded=bool(row.superseded),
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
