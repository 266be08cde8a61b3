"""Optuna's rows of one trial, written in few statements inside somebody else's transaction.

Optuna's own methods look up the trial before each parameter, report and attribute. What they would
check, that the trial is running and its owner alone writes, is a condition of these statements or
has been proved by the slot's token.
"""

import importlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Table, func, insert, literal, select, update
from sqlalchemy.orm import Session

from tuner.storage.schema import (
    CONSTRAINT,
    PARAMS,
    STUDIES,
    SYSTEM_ATTRIBUTES,
    TRIALS,
    USER_ATTRIBUTES,
    VALUES,
)
from tuner.storage.values import Ending


def insert_trial(session: Session, study_id: int, trial: FrozenTrial) -> tuple[int, int]:
    """Create a running trial with its params.

    Args:
        session: An open transaction.
        study_id: Whose trial it is.
        trial: Params, distributions and attributes are taken.

    Returns:
        Its id, and its number in the study.
    """
    # Numbers are counted, one trial at a time: the lock on the study is what Optuna takes, too.
    study = STUDIES.c.study_id == study_id
    session.execute(select(STUDIES.c.study_id).where(study).with_for_update())
    n_before = select(func.count()).where(TRIALS.c.study_id == study_id).scalar_subquery()
    row = session.execute(
        insert(TRIALS)
        .values(
            study_id=study_id,
            number=n_before,
            state=TrialState.RUNNING,
            datetime_start=_now(),
        )
        .returning(TRIALS.c.trial_id, TRIALS.c.number)
    ).one()
    params = [
        {
            "trial_id": row.trial_id,
            "param_name": name,
            "param_value": trial.distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(trial.distributions[name]),
        }
        for name, value in trial.params.items()
    ]
    if params:
        session.execute(insert(PARAMS), params)
    _insert_attributes(session, SYSTEM_ATTRIBUTES, row.trial_id, trial.system_attrs.items())
    _insert_attributes(session, USER_ATTRIBUTES, row.trial_id, trial.user_attrs.items())
    return row.trial_id, row.number


def insert_report(session: Session, table: Table, trial_id: int, step: int, value: float) -> bool:
    """Write one report of a running trial; the same one again changes nothing.

    Args:
        session: An open transaction.
        table: Where the study's reports lie.
        trial_id: Optuna's id of the trial.
        step: When.
        value: The metric then.

    Returns:
        Whether the trial is running.
    """
    stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
    columns = {
        "trial_id": TRIALS.c.trial_id,
        "step": literal(step),
        "intermediate_value": literal(stored, table.c.intermediate_value.type),
        "intermediate_value_type": literal(kind, table.c.intermediate_value_type.type),
    }
    is_running = TRIALS.c.trial_id == trial_id, TRIALS.c.state == TrialState.RUNNING
    statement = insert_or_else(session, table).from_select(
        list(columns), select(*columns.values()).where(*is_running).with_for_update()
    )
    updated = statement.on_conflict_do_update(
        index_elements=["trial_id", "step"],
        set_={
            name: statement.excluded[name]
            for name in ("intermediate_value", "intermediate_value_type")
        },
    )
    written = session.execute(updated.returning(table.c.trial_id)).one_or_none()
    return written is not None


def end_trial(session: Session, trial_id: int, ending: Ending, values: Sequence[float]) -> bool:
    """End a running trial: state, time, values, attributes, constraints.

    Args:
        session: An open transaction.
        trial_id: Optuna's id of the trial.
        ending: How it ends.
        values: Of its objectives, as far as they are known.

    Returns:
        Whether the trial was running.
    """
    ended = session.execute(
        update(TRIALS)
        .where(TRIALS.c.trial_id == trial_id, TRIALS.c.state == TrialState.RUNNING)
        .values(state=ending.state, datetime_complete=_now())
        .returning(TRIALS.c.trial_id)
    ).one_or_none()
    if ended is None:
        return False
    _insert_attributes(session, USER_ATTRIBUTES, trial_id, ending.attributes.items())
    violations = [(f"{CONSTRAINT}{key}", value) for key, value in ending.constraints.items()]
    _insert_attributes(session, SYSTEM_ATTRIBUTES, trial_id, violations)
    rows = []
    for number, value in enumerate(values):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        rows.append(
            {"trial_id": trial_id, "objective": number, "value": stored, "value_type": kind}
        )
    if rows:
        session.execute(insert(VALUES), rows)
    return True


def state_of(session: Session, trial_id: int) -> TrialState | None:
    """Read a trial's state; None where there is no such trial."""
    return session.scalar(select(TRIALS.c.state).where(TRIALS.c.trial_id == trial_id))


def put_attribute(session: Session, trial_id: int, key: str, fact: Any) -> None:
    """Write an attribute of any trial, also of one that has ended, over what is there."""
    row = {"trial_id": trial_id, "key": key, "value_json": json.dumps(fact)}
    statement = insert_or_else(session, USER_ATTRIBUTES).values(row)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["trial_id", "key"], set_={"value_json": row["value_json"]}
        )
    )


def _insert_attributes(
    session: Session, table: Table, trial_id: int, facts: Iterable[tuple[str, Any]]
) -> None:
    """Write attributes of a trial at once; what somebody else wrote under a name stays."""
    rows = [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(fact)} for key, fact in facts
    ]
    if rows:
        session.execute(insert_or_else(session, table).values(rows).on_conflict_do_nothing())


def insert_or_else(session: Session, table: Table) -> Any:
    """Begin an "insert unless it is there", for which SQL has no word that both databases know."""
    dialect = importlib.import_module(f"sqlalchemy.dialects.{session.get_bind().dialect.name}")
    return dialect.insert(table)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)  # as Optuna stores it
