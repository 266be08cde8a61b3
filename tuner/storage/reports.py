"""Reports of trials that are stored, as numbers."""

import math

from optuna.storages._rdb import models
from sqlalchemy import select
from sqlalchemy.orm import Session


def read_reports(session: Session, trial_id: int) -> dict[int, float]:
    """Read what a trial reported, by step."""
    table = models.TrialIntermediateValueModel
    rows = session.execute(
        select(table.step, table.intermediate_value, table.intermediate_value_type)
        .where(table.trial_id == trial_id)
        .order_by(table.step)
    )
    return {
        step: table.stored_repr_to_intermediate_value(value, kind) for step, value, kind in rows
    }


def read_rivals(session: Session, study_id: int, step: int, *, except_trial: int) -> list[float]:
    """Read what the other trials of a study reported at a step, NaN left out."""
    values, trials = models.TrialIntermediateValueModel, models.TrialModel
    statement = (
        select(values.intermediate_value, values.intermediate_value_type)
        .join(trials, trials.trial_id == values.trial_id)
        .where(
            trials.study_id == study_id,
            values.step == step,
            values.trial_id != except_trial,
        )
    )
    rows = session.execute(statement).all()
    stored = [values.stored_repr_to_intermediate_value(value, kind) for value, kind in rows]
    return [value for value in stored if not math.isnan(value)]
