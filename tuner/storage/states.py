"""What holds for all trials of a study: its data, its versions, and whether it goes on."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import Column, ColumnElement, and_, case, func, select, update
from sqlalchemy.orm import Session

from tuner.errors import DataError, StudyNotFoundError
from tuner.sizes import Shape
from tuner.storage.database import Database
from tuner.storage.schema import CONFIGS, SLOTS, STATES, epoch_seconds
from tuner.storage.values import Standing, StoredStudy


def read_standing(session: Session, study: StoredStudy, *, lease: float) -> Standing:
    """Read whether a study goes on; where it has a limit in hours, count the time since last.

    The limits are the newest ones, not those of when the worker began: they may change meanwhile.

    Args:
        session: An open transaction.
        study: Which one.
        lease: Seconds; a longer gap between two calls is a time in which nobody worked.

    Raises:
        StudyNotFoundError: The study was deleted.
    """
    mine = _row_of(study)
    columns = STATES.c.ended, STATES.c.message, STATES.c.spent_seconds
    newest = (
        select(CONFIGS.c.config)
        .where(CONFIGS.c.study_id == study.study_id)
        .order_by(CONFIGS.c.version.desc())
        .limit(1)
        .scalar_subquery()
    )
    row = session.execute(select(*columns, newest.label("config")).where(*mine)).one_or_none()
    newest_config: str = row.config if row is not None else ""
    budget = json.loads(newest_config)["budget"] if newest_config else {}
    hours: float | None = budget.get("hours")
    if hours is not None:
        passed = epoch_seconds() - STATES.c.counted_at
        worked = case((and_(passed > 0, passed <= lease), passed), else_=0.0)
        spent = STATES.c.spent_seconds + worked
        over = and_(STATES.c.ended.is_(None), spent >= 3600 * hours)
        why = (
            f"The study's {hours:g} hours are over; a larger budget.hours in the study file lets "
            f"it go on."
        )
        row = session.execute(
            update(STATES)
            .where(*mine)
            .values(
                spent_seconds=spent,
                counted_at=epoch_seconds(),
                ended=case((over, "hours"), else_=STATES.c.ended),
                message=case((over, why), else_=STATES.c.message),
            )
            .returning(*columns)
        ).one_or_none()
    if row is None:
        raise _is_gone(study)
    left = None if hours is None else max(0.0, 3600 * hours - row.spent_seconds)
    return Standing(
        ended=row.ended,
        message=row.message or "",
        seconds_left=left,
        min_gain=budget.get("min_gain"),  # studies of an older tuner lack it
        config=newest_config,
    )


def _row_of(study: StoredStudy) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Name a study's row; the key, because SQLite gives the ids of deleted studies anew."""
    return STATES.c.study_id == study.study_id, STATES.c.key == study.key


def _is_gone(study: StoredStudy) -> StudyNotFoundError:
    return StudyNotFoundError(
        f"Study {study.config.name!r} is not in the database any more: somebody deleted it."
    )


def _agreed(
    session: Session, study: StoredStudy, column: Column[Any], ours: str | None
) -> str | None:
    """Read what the study's first worker wrote; where nobody has, that is us."""
    mine = _row_of(study)
    if ours is not None:
        session.execute(update(STATES).where(*mine, column.is_(None)).values({column: ours}))
    row = session.execute(select(column).where(*mine)).one_or_none()
    if row is None:
        raise _is_gone(study)
    known: str | None = row[0]
    return known


def end_study(database: Database, study: StoredStudy, *, reason: str, message: str) -> None:
    """End a study before its budget is used up; the first reason stays.

    Args:
        database: Where it is.
        study: Which one.
        reason: ``stopped``, ``hours``, ``gain`` or ``bug``.
        message: Why, for people.
    """
    with database.transaction() as session:
        session.execute(
            update(STATES)
            .where(*_row_of(study), STATES.c.ended.is_(None))
            .values(ended=reason, message=message)
        )


def let_go_on(session: Session, study: StoredStudy, reasons: Collection[str]) -> Standing:
    """Let a study go on that ended for one of some reasons; out of time only where time is left.

    Args:
        session: An open transaction.
        study: Which one, with the limit of time that is in force now.
        reasons: Of ``stopped``, ``hours``, ``gain`` and ``bug``, those that hold no longer.

    Returns:
        How it stood before; not ended where nothing was changed.

    Raises:
        StudyNotFoundError: The study was deleted.
    """
    columns = STATES.c.ended, STATES.c.message, STATES.c.spent_seconds
    before = session.execute(select(*columns).where(*_row_of(study))).one_or_none()
    if before is None:
        raise _is_gone(study)
    hours = study.config.budget.hours
    is_out_of_time = hours is not None and before.spent_seconds >= 3600 * hours
    if before.ended not in reasons or (before.ended == "hours" and is_out_of_time):
        return Standing(ended=None, message="", seconds_left=None)
    session.execute(
        update(STATES)
        .where(*_row_of(study))
        .values(ended=None, message=None, resumed_at=epoch_seconds())
    )
    return Standing(ended=before.ended, message=before.message or "", seconds_left=None)


def known_fingerprint(database: Database, study: StoredStudy) -> str | None:
    """Read what data the study is about; None before its first trial."""
    with database.transaction() as session:
        return _agreed(session, study, STATES.c.fingerprint, None)


def agree_on_data(
    database: Database, study: StoredStudy, fingerprint: str, shape: Shape | None = None
) -> None:
    """Record what data the study is about, or check that it is the same.

    Args:
        database: Where the study is.
        study: Which one.
        fingerprint: Of the data here.
        shape: Likewise; None where the objective tells none.

    Raises:
        DataError: The study's other trials saw other data, or its sizes are those of other models.
        StudyNotFoundError: The study was deleted.
    """
    if shape is not None and study.shape is not None and shape != study.shape:
        raise DataError(
            f"The data here is not what this study was created with: {shape.n_ids} token ids and "
            f"{shape.n_classes} classes here, {study.shape.n_ids} and {study.shape.n_classes} in "
            f"the study. Restore the file, or start another study with `--set name=...`."
        )
    with database.transaction() as session:
        known = _agreed(session, study, STATES.c.fingerprint, fingerprint)
    if known != fingerprint:
        raise DataError(
            f"The data here is not what this study began with: fingerprint {fingerprint} here, "
            f"{known} in the study. Restore the file, or start another study with "
            f"`--set name=...`."
        )


def other_versions(
    database: Database, study: StoredStudy, versions: Mapping[str, str], *, record: bool = True
) -> dict[str, tuple[str, str]]:
    """Record the versions that the study began with, or say in what ours differ.

    Args:
        database: Where it is.
        study: Which one.
        versions: Package to version, here.
        record: Whether they become the study's where it has not begun.

    Returns:
        Package to its version in the study's first worker and here, where the two differ.

    Raises:
        StudyNotFoundError: The study was deleted.
    """
    with database.transaction() as session:
        ours = json.dumps(dict(versions)) if record else None
        known = _agreed(session, study, STATES.c.versions, ours)
    theirs: dict[str, str] = json.loads(known) if known else dict(versions)
    return {
        name: (theirs.get(name, "none"), versions.get(name, "none"))
        for name in sorted(theirs.keys() | versions.keys())
        if theirs.get(name) != versions.get(name)
    }


def count_equal_failures(database: Database, study: StoredStudy, failed_at: str) -> int:
    """Count the distinct points that failed in the same way since the study last began to run.

    Args:
        database: Where it is.
        study: Which one.
        failed_at: Exception and line, as the trials' attribute ``failed_at`` has it.
    """
    trials, attributes = models.TrialModel, models.TrialUserAttributeModel
    resumed = select(STATES.c.resumed_at).where(STATES.c.study_id == study.study_id)
    statement = (
        select(func.count(SLOTS.c.params.distinct()))
        .join(trials, trials.trial_id == SLOTS.c.trial_id)
        .join(attributes, attributes.trial_id == SLOTS.c.trial_id)
        .where(
            SLOTS.c.study_id == study.study_id,
            SLOTS.c.closed_at > resumed.scalar_subquery(),
            trials.state == TrialState.FAIL,
            attributes.key == "failed_at",
            attributes.value_json == json.dumps(failed_at),
        )
    )
    with database.transaction() as session:
        return int(session.scalar(statement) or 0)
