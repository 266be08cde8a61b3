"""A study's configuration in the database: its versions, and the slots that follow from it."""

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from optuna.storages._rdb import models
from sqlalchemy import ColumnElement, case, exists, func, insert, select, update
from sqlalchemy.orm import Session

from tuner.config import StudyConfig
from tuner.domain import contains, point_key
from tuner.errors import StudyNotFoundError
from tuner.feasible import beyond_limits
from tuner.first_points import first_points, n_first_points
from tuner.sizes import Shape
from tuner.space import Space
from tuner.storage.schema import CONFIGS, SHAPES, SLOTS, STATES, USED_UP, epoch_seconds
from tuner.storage.values import Plan, StoredStudy


@dataclass(frozen=True, kw_only=True)
class Version:
    """A configuration as it is stored."""

    #: From 1.
    number: int
    #: What every worker obeys.
    config: StudyConfig


def lock_study(session: Session, study: StoredStudy) -> None:
    """Keep all others from changing the study until the end of the transaction.

    A write, because SQLite knows no ``FOR UPDATE`` and would let two processes read at once.

    Raises:
        StudyNotFoundError: The study was deleted.
    """
    table = models.StudyModel
    found = session.execute(
        update(table)
        .where(table.study_id == study.study_id, exists().where(*_same(study)))
        .values(study_name=table.study_name)
        .returning(table.study_id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if found is None:
        raise _is_gone(study)


def check_there(session: Session, study: StoredStudy) -> None:
    """See that a study is there still.

    Raises:
        StudyNotFoundError: The study was deleted.
    """
    if session.scalar(select(STATES.c.study_id).where(*_same(study))) is None:
        raise _is_gone(study)


def _same(study: StoredStudy) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Name a study's row; the key, because SQLite gives the ids of deleted studies anew."""
    return STATES.c.study_id == study.study_id, STATES.c.key == study.key


def _is_gone(study: StoredStudy) -> StudyNotFoundError:
    return StudyNotFoundError(
        f"Study {study.config.name!r} is not in the database any more: somebody deleted it."
    )


def newest_version(session: Session, study_id: int) -> Version:
    """Read the configuration that is in force."""
    row = session.execute(
        select(CONFIGS.c.version, CONFIGS.c.config)
        .where(CONFIGS.c.study_id == study_id)
        .order_by(CONFIGS.c.version.desc())
        .limit(1)
    ).one()
    return Version(number=row.version, config=StudyConfig.from_json(row.config))


def read_shape(session: Session, study_id: int) -> Shape | None:
    """Read what a study's data decides of its models; None where it asks for no size."""
    row = session.execute(select(SHAPES).where(SHAPES.c.study_id == study_id)).one_or_none()
    return None if row is None else Shape(n_ids=row.n_ids, n_classes=row.n_classes)


def store_version(
    session: Session, study_id: int, version: Version, *, begin_with: Sequence[Plan] = ()
) -> None:
    """Put a configuration in force, and add the slots that it has more than the one before.

    Args:
        session: An open transaction.
        study_id: Whose it is.
        version: The configuration.
        begin_with: What the first of the new slots are for; in a new study whose sampler learns,
            after its default point.
    """
    session.execute(
        insert(CONFIGS).values(
            study_id=study_id,
            version=version.number,
            config=version.config.to_json(),
            created_at=epoch_seconds(),
        )
    )
    _add_slots(session, study_id, version.config, begin_with=begin_with)


def forget_plans_outside(session: Session, study_id: int, space: Space) -> int:
    """Leave to the sampler what was planned for slots, where that lies outside the space.

    Args:
        session: An open transaction.
        study_id: Whose slots.
        space: Of the study, as it is now.

    Returns:
        How many plans were forgotten.
    """
    domains = {p.name: p.domain for p in space.parameters}
    free = [
        SLOTS.c.study_id == study_id,
        SLOTS.c.state == "free",
        SLOTS.c.trial_id.is_(None),
        SLOTS.c.planned.is_not(None),
    ]
    rows = session.execute(select(SLOTS.c.slot, SLOTS.c.planned).where(*free)).all()
    outside = [
        slot
        for slot, planned in rows
        if not all(contains(domains[name], value) for name, value in json.loads(planned).items())
    ]
    if outside:
        session.execute(
            update(SLOTS)
            .where(*free, SLOTS.c.slot.in_(outside))
            .values(planned=None, point=None, origin=None)
        )
    return len(outside)


def n_slots(session: Session, study_id: int) -> int:
    """Count a study's slots that a trial is for, whatever their state."""
    used_up = case((SLOTS.c.origin == USED_UP, None), else_=1)
    return session.scalar(select(func.count(used_up)).where(SLOTS.c.study_id == study_id)) or 0


def room(session: Session, study_id: int, config: StudyConfig, shape: Shape | None) -> int | None:
    """Count the slots that a finite space has points for, beside those that are there.

    Args:
        session: An open transaction.
        study_id: Whose they are.
        config: The study as it is to be; trials may lie outside its space.
        shape: Of the data; None for a study without limits.

    Returns:
        None where no number ends the study.
    """
    if config.n_points is None:
        return None
    mine = SLOTS.c.study_id == study_id
    taken = set(session.scalars(select(SLOTS.c.point).where(mine, SLOTS.c.point.is_not(None))))
    untried = sum(
        point_key(point) not in taken and not beyond_limits(config, shape, point)
        for point in config.space.points()
    )
    open_ones = mine, SLOTS.c.point.is_(None), SLOTS.c.state != "done"
    return max(0, untried - (session.scalar(select(func.count()).where(*open_ones)) or 0))


def _add_slots(
    session: Session,
    study_id: int,
    config: StudyConfig,
    *,
    begin_with: Sequence[Plan],
) -> None:
    shape, there = read_shape(session, study_id), n_slots(session, study_id)
    mine = SLOTS.c.study_id == study_id
    used_up = select(SLOTS.c.slot).where(mine, SLOTS.c.origin == USED_UP).order_by(SLOTS.c.slot)
    known = session.scalars(used_up).all()
    wanted, most = config.budget.trials - there, room(session, study_id, config, shape)
    n_new = max(0, wanted if most is None else min(wanted, most))
    numbers = itertools.islice(itertools.chain(known, itertools.count(there + len(known))), n_new)
    plans: Iterable[Plan | None] = itertools.chain(begin_with, itertools.repeat(None))
    if config.sampler.name == "grid":
        taken = set(session.scalars(select(SLOTS.c.point).where(mine)))
        points = (p for p in config.space.points() if point_key(p) not in taken)
        plans = (Plan(point=point, origin="grid") for point in points)
    elif config.sampler.learns and there == 0:
        plans = itertools.chain(_opening(config, begin_with), itertools.repeat(None))
    plans = (p for p in plans if p is None or not beyond_limits(config, shape, p.point))
    finite = config.n_points is not None
    rows = [
        {
            "study_id": study_id,
            "slot": slot,
            "state": "free",
            "attempts": 0,
            "expires_at": 0.0,
            "closed_at": None,
            "planned": json.dumps(dict(plan.point)) if plan is not None else None,
            "point": point_key(plan.point) if plan is not None and finite else None,
            "origin": plan.origin if plan is not None else None,
        }
        for slot, plan in zip(numbers, plans, strict=False)
    ]
    for row in rows[: len(known)]:
        session.execute(update(SLOTS).where(mine, SLOTS.c.slot == row["slot"]).values(row))
    if new := rows[len(known) :]:
        session.execute(insert(SLOTS), new)


def _opening(config: StudyConfig, begin_with: Sequence[Plan]) -> list[Plan]:
    """Plan how a study opens: by the default point, what it begins with, and others around."""
    n_first = n_first_points(config.n_slots)
    default, *others = first_points(config.space, n=n_first, seed=config.seed)
    known = {point_key(plan.point) for plan in begin_with}
    new = [Plan(point=p, origin="start") for p in others if point_key(p) not in known]
    n_new = max(0, n_first - 1 - len(begin_with))
    return [Plan(point=default, origin="default"), *begin_with, *new[:n_new]]
