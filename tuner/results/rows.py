"""How one statement selects trials, and what becomes of its rows."""

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
from tuner.results.front import pareto_front
from tuner.results.values import State, TrialRow
from tuner.storage import StoredStudy
from tuner.storage.budget import SUPERSEDED
from tuner.storage.reports import table_of_reports
from tuner.storage.schema import CONSTRAINT, SLOTS, SYSTEM_ATTRIBUTES, TRIALS, epoch_seconds
from tuner.storage.violations import is_violated

#: What the columns of further objectives are called, before their names.
_VALUE, _KIND = "value:", "value_type:"

_STATES: dict[TrialState, State] = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.WAITING: "waiting",
}


def select_trials(study: StoredStudy) -> Select[Any]:
    """Select the trials of a study with what hangs on them, each as `trial_row` wants it."""
    trial, value = models.TrialModel, models.TrialValueModel
    reports = table_of_reports(study.config)
    report, earlier = reports.c, reports.alias("earlier").c
    fact = models.TrialUserAttributeModel
    further = {name: aliased(value) for name in study.config.objectives[1:]}
    superseded = exists().where(fact.trial_id == trial.trial_id, fact.key == SUPERSEDED)
    last_step = (
        select(func.max(earlier.step)).where(earlier.trial_id == trial.trial_id).scalar_subquery()
    )
    statement = (
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
            SLOTS.c.origin,
            SLOTS.c.state.label("slot_state"),
            case((superseded, 1), else_=0).label("superseded"),
            case((_is_infeasible(study), 1), else_=0).label("infeasible"),
            cast(SLOTS.c.expires_at - epoch_seconds(), Float).label("lease"),
            *(each.value.label(f"{_VALUE}{name}") for name, each in further.items()),
            *(each.value_type.label(f"{_KIND}{name}") for name, each in further.items()),
        )
        .join(SLOTS, SLOTS.c.trial_id == trial.trial_id, isouter=True)
        .join(value, and_(value.trial_id == trial.trial_id, value.objective == 0), isouter=True)
        .join(
            reports,
            and_(report.trial_id == trial.trial_id, report.step == last_step),
            isouter=True,
        )
        .where(trial.study_id == study.study_id)
    )
    for place, each in enumerate(further.values(), start=1):
        is_its = and_(each.trial_id == trial.trial_id, each.objective == place)
        statement = statement.join(each, is_its, isouter=True)
    return statement


def _is_infeasible(study: StoredStudy) -> ColumnElement[bool]:
    """Say whether a trial violates a constraint.

    A trial that was made by other means, and does not tell how large its model is, may be larger
    than the study allows, and counts as that.
    """
    constraint = SYSTEM_ATTRIBUTES.c
    untold = [
        and_(
            TRIALS.c.state == TrialState.COMPLETE,
            ~exists().where(
                constraint.trial_id == TRIALS.c.trial_id,
                constraint.key == f"{CONSTRAINT}{name}",
            ),
        )
        for name in study.config.constraints
    ]
    return or_(is_violated(TRIALS.c.trial_id), *untold)


def best_rows(
    session: Session, study: StoredStudy, top: int | None, *, by_first: bool = False
) -> tuple[TrialRow, ...]:
    """Read the best complete trials that violate nothing, best first; None for all of them.

    With several objectives these are the trials that no other one outdoes, or the best by the first
    objective alone.
    """
    trial, values = models.TrialModel, models.TrialValueModel
    chosen = [
        trial.state == TrialState.COMPLETE,
        values.value_type == values.TrialValueType.FINITE,
        ~_is_infeasible(study),
    ]
    if study.config.metrics is not None and not by_first:
        front = _front(session, study, *chosen)[:top]
        rows = session.execute(select_trials(study).where(trial.number.in_(front))).all()
        return tuple(sorted(map(trial_row, rows), key=lambda row: front.index(row.number)))
    order = desc if study.config.direction == "maximize" else asc
    statement = select_trials(study).where(*chosen).order_by(order(values.value), trial.number)
    return tuple(trial_row(row) for row in session.execute(statement.limit(top)).all())


def _front(session: Session, study: StoredStudy, *chosen: ColumnElement[bool]) -> list[int]:
    """Give the numbers of the trials on the Pareto front, the best by the first objective first."""
    trial, values = models.TrialModel, models.TrialValueModel
    statement = (
        select(trial.number, values.objective, values.value)
        .join(values, values.trial_id == trial.trial_id)
        .where(trial.study_id == study.study_id, *chosen)
        .order_by(trial.number, values.objective)
    )
    found: dict[int, list[float]] = {}
    for number, _, value in session.execute(statement):
        found.setdefault(number, []).append(value)
    directions = study.config.directions
    # Where one is not finite, there are fewer.
    whole = [number for number, each in found.items() if len(each) == len(directions)]
    front = pareto_front([found[number] for number in whole], directions)
    return [whole[place] for place in front]


def drawn_params(session: Session, trial_ids: Sequence[int]) -> dict[int, dict[str, Scalar]]:
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


def trial_row(row: Row[Any], drawn: Mapping[str, Scalar] | None = None) -> TrialRow:
    """Give what was selected as a frozen value.

    Args:
        row: Of `select_trials`.
        drawn: Params of a trial that has no slot.
    """
    values, reports = models.TrialValueModel, models.TrialIntermediateValueModel
    value = values.stored_repr_to_value(row.value, row.value_type) if row.value_type else None
    last = (
        reports.stored_repr_to_intermediate_value(
            row.intermediate_value, row.intermediate_value_type
        )
        if row.intermediate_value_type
        else None
    )
    further = {
        name.removeprefix(_VALUE): values.stored_repr_to_value(number, kind) if kind else None
        for name, number in row._mapping.items()
        if name.startswith(_VALUE)
        for kind in (row._mapping[f"{_KIND}{name.removeprefix(_VALUE)}"],)
    }
    state = shown_state(row.state, row.slot_state)
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
        further=further,
    )


def shown_state(trial: TrialState, slot: str | None) -> State:
    """Name a trial's state, of which Optuna does not know whether anybody is at it."""
    is_waiting = trial == TrialState.RUNNING and slot == "free"
    return "waiting" if is_waiting else _STATES[trial]
