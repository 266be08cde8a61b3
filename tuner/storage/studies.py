"""Studies in a database: create one frozen, find it, change what may change, delete it."""

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import optuna
from optuna.storages._rdb import models
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tuner.config import StudyConfig, differences
from tuner.domain import Point, Scalar, point_key
from tuner.errors import DataError, FrozenStudyError, InputError, StudyNotFoundError, suggestion
from tuner.storage.database import Database, translated
from tuner.storage.schema import CONFIGS, SLOTS, epoch_seconds


@dataclass(frozen=True, kw_only=True)
class StoredStudy:
    """A study that is in the database."""

    #: Optuna's id of it.
    study_id: int
    #: What every worker obeys.
    config: StudyConfig


@dataclass(frozen=True, kw_only=True)
class Created:
    """What `create_study` did."""

    #: The study as it is stored now.
    study: StoredStudy
    #: Whether it was there before.
    existed: bool
    #: What changed of an existing study, as ``key: old -> new``.
    changes: tuple[str, ...]


def create_study(database: Database, config: StudyConfig) -> Created:
    """Store a study with one slot a trial; on an existing one, apply what may change.

    Args:
        database: Where to.
        config: The whole study.

    Raises:
        FrozenStudyError: A study of that name is stored and differs in what may not change.
        InputError: An Optuna study of that name is there that tuner did not make.
    """
    with translated(database.name), Session(database.engine) as session:
        try:
            study_id = _insert_study(session, config)
            session.commit()
        except IntegrityError:  # somebody was first: the name is unique
            session.rollback()
        else:
            stored = StoredStudy(study_id=study_id, config=config)
            return Created(study=stored, existed=False, changes=())
    return _reconcile(database, config)


def _insert_study(session: Session, config: StudyConfig) -> int:
    direction = optuna.study.StudyDirection[config.direction.upper()]
    study = models.StudyModel(
        study_name=config.name,
        directions=[models.StudyDirectionModel(direction=direction, objective=0)],
    )
    session.add(study)
    session.flush()
    study_id = int(study.study_id)
    _store_config(session, study_id, config, version=1)
    _add_slots(session, study_id, config, first=0)
    return study_id


def _store_config(session: Session, study_id: int, config: StudyConfig, *, version: int) -> None:
    known = select(func.max(CONFIGS.c.fingerprint)).where(CONFIGS.c.study_id == study_id)
    session.execute(
        insert(CONFIGS).values(
            study_id=study_id,
            version=version,
            config=config.to_json(),
            fingerprint=known.scalar_subquery(),
            created_at=epoch_seconds(),
        )
    )


def _add_slots(session: Session, study_id: int, config: StudyConfig, *, first: int) -> None:
    plans: Iterable[Point | None] = itertools.repeat(None)
    if config.sampler.name == "grid":
        taken = set(session.scalars(select(SLOTS.c.point).where(SLOTS.c.study_id == study_id)))
        plans = (p for p in config.space.points() if point_key(p) not in taken)
    elif config.sampler.name == "tpe" and first == 0:
        plans = itertools.chain([config.space.default_point()], plans)
    origin = "grid" if config.sampler.name == "grid" else "default"
    finite = config.space.size() is not None
    rows = [
        {
            "study_id": study_id,
            "slot": slot,
            "state": "free",
            "attempts": 0,
            "expires_at": 0.0,
            "planned": json.dumps(plan) if plan is not None else None,
            "point": point_key(plan) if plan is not None and finite else None,
            "origin": origin if plan is not None else None,
        }
        for slot, plan in zip(range(first, config.n_slots), plans, strict=False)
    ]
    if rows:
        session.execute(insert(SLOTS), rows)


def _reconcile(database: Database, wanted: StudyConfig) -> Created:
    stored = find_study(database, wanted.name)
    allowed, forbidden = differences(stored.config, wanted)
    if forbidden:
        listed = "\n  ".join(forbidden)
        raise FrozenStudyError(
            f"Study {wanted.name!r} is stored and the study file differs from it:\n  {listed}\n"
            f"Trials of both would not compare. Undo the change, or start another study with "
            f"`--set name={wanted.name}-2`, or drop the stored one with "
            f"`tuner delete {wanted.name}`."
        )
    if not allowed:
        return Created(study=stored, existed=True, changes=())
    with database.transaction() as session:
        # The lock lets one of several processes with the same new file make the change.
        models.StudyModel.find_or_raise_by_id(stored.study_id, session, for_update=True)
        newest = _newest(session, stored.study_id)
        if newest.config != wanted.to_json():
            _store_config(session, stored.study_id, wanted, version=newest.version + 1)
            n_slots = session.scalar(
                select(func.count()).where(SLOTS.c.study_id == stored.study_id)
            )
            _add_slots(session, stored.study_id, wanted, first=n_slots or 0)
    changed = StoredStudy(study_id=stored.study_id, config=wanted)
    return Created(study=changed, existed=True, changes=tuple(allowed))


@dataclass(frozen=True, kw_only=True)
class _Version:
    version: int
    config: str


def _newest(session: Session, study_id: int) -> _Version:
    row = session.execute(
        select(CONFIGS.c.version, CONFIGS.c.config)
        .where(CONFIGS.c.study_id == study_id)
        .order_by(CONFIGS.c.version.desc())
        .limit(1)
    ).one()
    return _Version(version=row.version, config=row.config)


def find_study(database: Database, name: str) -> StoredStudy:
    """Read a study by name.

    Raises:
        StudyNotFoundError: There is none, or it is not tuner's.
    """
    with database.transaction() as session:
        study = models.StudyModel.find_by_name(name, session)
        row = session.execute(
            select(CONFIGS.c.study_id, CONFIGS.c.config)
            .where(CONFIGS.c.study_id == (study.study_id if study else None))
            .order_by(CONFIGS.c.version.desc())
            .limit(1)
        ).one_or_none()
        names = list(session.scalars(select(models.StudyModel.study_name)))
    if study is not None and row is None:
        raise StudyNotFoundError(
            f"Study {name!r} is in the database but tuner did not create it. "
            f"Choose another `name` in the study file."
        )
    if row is None:
        there = f" Stored are: {', '.join(sorted(names)[:20])}." if names else " None is stored."
        raise StudyNotFoundError(
            f"There is no study {name!r} in {database.name}.{suggestion(name, names)}{there} "
            f"Create it with `tuner run FILE` or `tuner create FILE`."
        )
    return StoredStudy(study_id=row.study_id, config=StudyConfig.from_json(row.config))


def study_names(database: Database) -> list[str]:
    """List the studies that tuner made, oldest first."""
    ours = select(CONFIGS.c.study_id)
    with database.transaction() as session:
        return list(
            session.scalars(
                select(models.StudyModel.study_name)
                .where(models.StudyModel.study_id.in_(ours))
                .order_by(models.StudyModel.study_id)
            )
        )


def delete_study(database: Database, study: StoredStudy) -> None:
    """Remove a study with its trials and slots.

    Raises:
        StudyNotFoundError: Somebody else has deleted it.
    """
    with translated(database.name):
        try:
            database.storage.delete_study(study.study_id)
        except KeyError as error:
            raise StudyNotFoundError(f"Study {study.config.name!r} is gone already.") from error


def agree_on_data(database: Database, study_id: int, fingerprint: str) -> None:
    """Record what data the study is about, or check that it is the same.

    Raises:
        DataError: The study's other trials saw other data.
    """
    with database.transaction() as session:
        nobody_yet = CONFIGS.c.study_id == study_id, CONFIGS.c.fingerprint.is_(None)
        session.execute(update(CONFIGS).where(*nobody_yet).values(fingerprint=fingerprint))
        known = session.scalar(
            select(func.max(CONFIGS.c.fingerprint)).where(CONFIGS.c.study_id == study_id)
        )
    if known != fingerprint:
        raise DataError(
            f"The data here is not what this study began with: fingerprint {fingerprint} here, "
            f"{known} in the study. Restore the file, or start another study with "
            f"`--set name=...`."
        )


def enqueue(database: Database, study: StoredStudy, point: Mapping[str, Scalar]) -> int:
    """Plan a point into the next free slot.

    Args:
        database: Where the study is.
        study: The study.
        point: Values of some or all tuned parameters; the sampler adds the rest.

    Returns:
        The slot.

    Raises:
        InputError: No slot is free, or the point was taken or planned before.
    """
    full = _full_point(study.config, point)
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
            f"Raise budget.trials in the study file and `tuner create` it again."
        )
    return slot


def _full_point(config: StudyConfig, point: Mapping[str, Scalar]) -> bool:
    """Say whether the values make a whole point of a finite space."""
    return config.space.size() is not None and dict(point) in config.space.points()
