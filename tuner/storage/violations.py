"""Which trials violate a constraint, as a condition of SQL."""

from typing import Any

from sqlalchemy import ColumnElement, Float, cast, exists, or_

from tuner.storage.schema import CONSTRAINT, SYSTEM_ATTRIBUTES


def is_violated(trial_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Say whether a trial violates a constraint: one of them is above 0.

    Args:
        trial_id: The column of the statement around that names the trial.
    """
    constraint = SYSTEM_ATTRIBUTES.c
    return exists().where(
        constraint.trial_id == trial_id,
        constraint.key.startswith(CONSTRAINT),
        # SQLite reads a number out of "Infinity" as 0.
        or_(constraint.value_json == "Infinity", cast(constraint.value_json, Float) > 0),
    )
