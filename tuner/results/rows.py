"""How one statement selects trials, and what becomes of its rows."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

from optuna.distributions import json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import (
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
    select,
)
from sqlalchemy.orm import Session, aliased

from tuner.domain import Scalar
from tuner.results.values import State, TrialRow
from tuner.storage import StoredStudy
from tuner.storage.budget import SUPERSEDED
from tuner.storage.schema import SLOTS, TRIALS, epoch_seconds
from tuner.storage.violations import is_violated

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
            SLOTS.c.origin,
            SLOTS.c.state.label("slot_state"),
            case((superseded, 1), else_=0).label("superseded"),
            case((is_violated(TRIALS.c.trial_id), 1), else_=0).label("infeasible"),
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


def best_rows(session: Session, study: StoredStudy, top: int) -> tuple[TrialRow, ...]:
    """Read the best complete trials that violate nothing, best first."""
    values = models.TrialValueModel
    order = desc if study.config.direction == "maximize" else asc
    statement = (
        select_trials(study)
        .where(
            models.TrialModel.state == TrialState.COMPLETE,
            values.value_type == values.TrialValueType.FINITE,
            ~is_violated(TRIALS.c.trial_id),
        )
        .order_by(order(values.value), models.TrialModel.number)
        .limit(top)
    )
    return tuple(trial_row(row) for row in session.execute(statement).all())


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
    )


def shown_state(trial: TrialState, slot: str | None) -> State:
    """Name a trial's state, of which Optuna does not know whether anybody is at it."""
    is_waiting = trial == TrialState.RUNNING and slot == "free"
    return "waiting" if is_waiting else _STATES[trial]
