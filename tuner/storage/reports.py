"""Reports of trials that are stored, as numbers: where they lie, and whom one is compared with."""

from optuna.storages._rdb import models
from sqlalchemy import BigInteger, Table, case, cast, exists, select
from sqlalchemy.orm import Session

from tuner.config import StudyConfig
from tuner.metrics import STEPS_PER_EPOCH, best_so_far
from tuner.storage.objectives import sizes_judged
from tuner.storage.schema import EVALUATIONS, REPORTS, TRIALS, USER_ATTRIBUTES
from tuner.storage.values import Claim, StoredStudy

_to_number = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value


def table_of_reports(config: StudyConfig) -> Table:
    """Say where a study's reports lie: Optuna's table has them only with one objective."""
    return REPORTS if config.metrics is None else EVALUATIONS


def read_reports(session: Session, study: StoredStudy, trial_id: int) -> dict[int, float]:
    """Read what a trial reported, by step.

    Args:
        session: An open transaction.
        study: The trial's.
        trial_id: Optuna's id of it.
    """
    table = table_of_reports(study.config)
    rows = session.execute(
        select(table.c.step, table.c.intermediate_value, table.c.intermediate_value_type)
        .where(table.c.trial_id == trial_id)
        .order_by(table.c.step)
    )
    return {step: _to_number(value, kind) for step, value, kind in rows}


def read_rivals(session: Session, study: StoredStudy, claim: Claim, step: int) -> list[float]:
    """Read what the trials were worth when they reported at a step that a trial is compared with.

    These are all others of the study; where sizes are objectives, too, those of models that are no
    larger in any: only these can outdo it.

    Args:
        session: An open transaction.
        study: The trial's.
        claim: The trial.
        step: When.
    """
    table = table_of_reports(study.config)
    there = table.alias()
    facts = USER_ATTRIBUTES.c
    is_no_larger = (
        exists().where(
            facts.trial_id == TRIALS.c.trial_id,
            facts.key == name,
            # A database may look at a text before its name: not all are numbers.
            case((facts.key == name, cast(facts.value_json, BigInteger))) <= size,
        )
        for name, size in sizes_judged(study, claim.params).items()
    )
    columns = table.c.trial_id, table.c.step, table.c.intermediate_value
    statement = (
        select(*columns, table.c.intermediate_value_type)
        .join(there, there.c.trial_id == table.c.trial_id)
        .join(TRIALS, TRIALS.c.trial_id == table.c.trial_id)
        .where(
            TRIALS.c.study_id == study.study_id,
            there.c.step == step,
            table.c.step.between(STEPS_PER_EPOCH, step),
            table.c.trial_id != claim.open_trial_id,
            *is_no_larger,
        )
    )
    curves: dict[int, dict[int, float]] = {}
    for trial, at, value, kind in session.execute(statement):
        curves.setdefault(trial, {})[at] = _to_number(value, kind)
    known = (best_so_far(curve, step, study.config.direction) for curve in curves.values())
    return [value for value in known if value is not None]
