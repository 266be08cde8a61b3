"""The queries behind a study's progress, its trials, and the best of them."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

from optuna.distributions import json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import (
    ColumnElement,
    Float,
    Row,
    Select,
    and_,
    asc,
    case,
    cast,
    desc,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.orm import Session, aliased

from tuner.domain import Scalar
from tuner.errors import InputError, NoUsableTrialError
from tuner.results.values import Progress, State, TrialDetails, TrialRow
from tuner.storage import Database, StoredStudy
from tuner.storage.budget import SUPERSEDED
from tuner.storage.refusals import read_refusals
from tuner.storage.schema import CONSTRAINT, SLOTS, STATES, epoch_seconds
from tuner.storage.slots import count_slots

_STATES: dict[TrialState, State] = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.WAITING: "waiting",
}


#: Finished trials that the pace is taken from.
PACE_TRIALS = 50


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
        facts, constraints = (
            session.execute(
                select(table.key, table.value_json)
                .where(table.trial_id == found.trial_id)
                .order_by(table.key)
            ).all()
            for table in (attributes, models.TrialSystemAttributeModel)
        )
        drawn = _drawn_params(session, [found.trial_id] if found.slot is None else [])
    return TrialDetails(
        row=_trial_row(found, drawn.get(found.trial_id)),
        reports={
            s: reports.stored_repr_to_intermediate_value(value, kind) for s, value, kind in steps
        },
        attributes={key: json.loads(value) for key, value in facts},
        constraints={
            key.removeprefix(CONSTRAINT): json.loads(value)
            for key, value in constraints
            if key.startswith(CONSTRAINT)
        },
        micro_batches=found.micro_batches or 1,
    )


def learning_curves(
    database: Database, study: StoredStudy
) -> Mapping[int, tuple[tuple[int, float], ...]]:
    """Read all reports of all trials.

    Returns:
        Trial number to (step, value) by step; trials without reports are left out.
    """
    trial, report = models.TrialModel, models.TrialIntermediateValueModel
    statement = (
        select(
            trial.number,
            report.step,
            report.intermediate_value,
            report.intermediate_value_type,
        )
        .join(report, report.trial_id == trial.trial_id)
        .where(trial.study_id == study.study_id)
        .order_by(trial.number, report.step)
    )
    curves: dict[int, list[tuple[int, float]]] = {}
    with database.transaction() as session:
        for number, step, value, kind in session.execute(statement):
            told = report.stored_repr_to_intermediate_value(value, kind)
            curves.setdefault(number, []).append((step, told))
    return {number: tuple(curve) for number, curve in curves.items()}


def trial_attributes(
    database: Database, study: StoredStudy, names: Sequence[str]
) -> Mapping[int, Mapping[str, Any]]:
    """Read some facts of all trials, such as ``host`` or ``reason``.

    Args:
        database: Where the study is.
        study: The study.
        names: Attributes that are wanted.

    Returns:
        Trial number to name to fact; what a trial lacks is left out.
    """
    trial, fact = models.TrialModel, models.TrialUserAttributeModel
    statement = (
        select(trial.number, fact.key, fact.value_json)
        .join(fact, fact.trial_id == trial.trial_id)
        .where(trial.study_id == study.study_id, fact.key.in_(names))
        .order_by(trial.number)
    )
    facts: dict[int, dict[str, Any]] = {}
    with database.transaction() as session:
        for number, key, value in session.execute(statement):
            facts.setdefault(number, {})[key] = json.loads(value)
    return facts


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
        refusals = read_refusals(session, study.study_id)
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
        refusals=refusals,
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
            ~_is_infeasible(),
        )
        .order_by(order(values.value), models.TrialModel.number)
        .limit(top)
    )
    return tuple(_trial_row(row) for row in session.execute(statement).all())


def _is_infeasible() -> ColumnElement[bool]:
    """Say whether a trial violates a constraint: one of them is above 0."""
    constraint = models.TrialSystemAttributeModel
    return exists().where(
        constraint.trial_id == models.TrialModel.trial_id,
        constraint.key.startswith(CONSTRAINT),
        # SQLite reads a number out of "Infinity" as 0.
        or_(constraint.value_json == "Infinity", cast(constraint.value_json, Float) > 0),
    )


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
            case((_is_infeasible(), 1), else_=0).label("infeasible"),
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
        feasible=not row.infeasible,
        superseded=bool(row.superseded),
    )
