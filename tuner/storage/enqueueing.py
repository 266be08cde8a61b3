"""Points that people want tried, planned into free slots."""

import json
from collections.abc import Mapping

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tuner.config import StudyConfig
from tuner.domain import Scalar, matches, point_key
from tuner.errors import InputError
from tuner.feasible import beyond_limits
from tuner.storage.database import Database
from tuner.storage.schema import SLOTS
from tuner.storage.trouble import translated
from tuner.storage.values import StoredStudy


def enqueue(database: Database, study: StoredStudy, point: Mapping[str, Scalar]) -> int:
    """Plan a point into the next free slot.

    Args:
        database: Where the study is.
        study: The study.
        point: Values of some or all tuned parameters; the sampler adds the rest.

    Returns:
        The slot.

    Raises:
        InputError: No slot is free, or the point, or each with these values, was taken or planned
            before, or its model is larger than the study allows.
    """
    if excess := beyond_limits(study.config, study.shape, point):
        raise InputError(
            f"The point {dict(point)} is beyond the limits of {study.config.name!r}: {excess}. "
            f"Expected a smaller model."
        )
    full = _full_point(study.config, point)
    if not full and study.config.n_points is not None:
        _refuse_used_up(database, study, point)
    free = (
        select(SLOTS.c.slot)
        .where(
            SLOTS.c.study_id == study.study_id,
            SLOTS.c.state == "free",
            SLOTS.c.trial_id.is_(None),
            SLOTS.c.planned.is_(None),
        )
        .order_by(SLOTS.c.slot)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    statement = (
        update(SLOTS)
        .where(SLOTS.c.study_id == study.study_id, SLOTS.c.slot == free)
        .values(
            planned=json.dumps(dict(point)),
            point=point_key(point) if full else None,
            origin="enqueued",
        )
        .returning(SLOTS.c.slot)
    )
    with translated(database.name), Session(database.engine) as session:
        try:
            slot: int | None = session.execute(statement).scalar_one_or_none()
            session.commit()
        except IntegrityError as error:
            raise InputError(
                f"The point {dict(point)} is a trial of {study.config.name!r} already, or planned."
            ) from error
    if slot is None:
        raise InputError(
            f"Study {study.config.name!r} has no free slot for it. "
            f"Raise budget.trials: `tuner extend {study.config.name} --trials 1`."
        )
    return slot


def _refuse_used_up(database: Database, study: StoredStudy, point: Mapping[str, Scalar]) -> None:
    """Refuse values of a finite space of which every point was taken or planned before."""
    with database.transaction() as session:
        taken = set(
            session.scalars(select(SLOTS.c.point).where(SLOTS.c.study_id == study.study_id))
        )
    fitting = (each for each in study.config.space.points() if matches(each, point))
    if all(point_key(each) in taken for each in fitting):
        raise InputError(
            f"Every point with {dict(point)} is a trial of {study.config.name!r} already, or "
            f"planned."
        )


def _full_point(config: StudyConfig, point: Mapping[str, Scalar]) -> bool:
    """Say whether the values make a whole point of a finite space."""
    return config.n_points is not None and dict(point) in config.space.points()
