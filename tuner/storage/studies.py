"""Studies in a database: create one frozen, find it, change what may change, delete it."""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import optuna
from optuna.storages._rdb import models
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tuner.config import NAME_PATTERN, StudyConfig, differences
from tuner.domain import Scalar, point_key
from tuner.errors import FrozenStudyError, InputError, StudyNotFoundError, suggestion
from tuner.storage.configuration import Version, lock_study, newest_version, store_version
from tuner.storage.database import Database
from tuner.storage.prospects import still_ended_by_gain
from tuner.storage.schema import CONFIGS, SLOTS, STATES
from tuner.storage.states import let_go_on
from tuner.storage.trouble import translated
from tuner.storage.values import Plan, StoredStudy

#: Why a study that goes on again did not, for people.
_HAD_ENDED = {
    "stopped": "it had been stopped",
    "hours": "its hours had been over",
    "bug": "a bug had stopped it",
    "gain": "it had ended by its min_gain",
}


@dataclass(frozen=True, kw_only=True)
class Created:
    """What `create_study` did."""

    #: The study as it is stored now.
    study: StoredStudy
    #: Whether it was there before.
    existed: bool
    #: What changed of an existing study, and what did not, for people.
    changes: tuple[str, ...]


def create_study(
    database: Database, config: StudyConfig, *, begin_with: Sequence[Plan] = ()
) -> Created:
    """Store a study with one slot a trial; on an existing one, apply what may change.

    Args:
        database: Where to.
        config: The whole study.
        begin_with: Points that a new study tries after its default point, before its sampler's; in
            a finite space whole and different ones. An existing study has had its beginning.

    Raises:
        FrozenStudyError: A study of that name is stored and differs in what may not change.
        InputError: An Optuna study of that name is there that tuner did not make.
    """
    with translated(database.name), Session(database.engine) as session:
        try:
            stored = _insert_study(session, config, begin_with)
            session.commit()
        except IntegrityError:  # somebody was first: the name is unique
            session.rollback()
        else:
            return Created(study=stored, existed=False, changes=())
    return _reconcile(database, config)


def _insert_study(session: Session, config: StudyConfig, begin_with: Sequence[Plan]) -> StoredStudy:
    direction = optuna.study.StudyDirection[config.direction.upper()]
    study = models.StudyModel(
        study_name=config.name,
        directions=[models.StudyDirectionModel(direction=direction, objective=0)],
    )
    session.add(study)
    session.flush()
    study_id = int(study.study_id)
    key = secrets.token_hex(8)
    session.execute(insert(STATES).values(study_id=study_id, key=key))
    store_version(session, study_id, Version(number=1, config=config), begin_with=begin_with)
    return StoredStudy(study_id=study_id, key=key, config=config)


def _reconcile(database: Database, wanted: StudyConfig) -> Created:
    stored = find_study(database, wanted.name)
    with database.transaction() as session:
        # One of several processes with the same new file makes the change.
        lock_study(session, stored)
        newest = newest_version(session, stored.study_id)
        notes: list[str] = []
        kept, asked = newest.config.budget.trials, wanted.budget.trials
        if asked < kept:  # `tuner extend` has run ahead of the study file, or it was shortened
            notes.append(
                f"budget.trials stays {kept}, though the study file says {asked}: "
                f"`tuner stop {wanted.name}` ends a study early"
            )
            budget = wanted.budget.model_copy(update={"trials": kept})
            wanted = wanted.model_copy(update={"budget": budget})
        allowed, forbidden = differences(newest.config, wanted)
        if forbidden:
            raise FrozenStudyError(_frozen_message(wanted.name, forbidden))
        changed = replace(stored, config=wanted if allowed else newest.config)
        if allowed:
            version = Version(number=newest.number + 1, config=wanted)
            store_version(session, stored.study_id, version)
        reasons = {"stopped", "bug", "hours"}
        if not still_ended_by_gain(session, changed):
            reasons.add("gain")
        before = let_go_on(session, changed, reasons)
    if before.ended is not None:
        notes.append(f"goes on again: {_HAD_ENDED[before.ended]}")
    changes = (*(f"changed {line}" for line in allowed), *notes)
    return Created(study=changed, existed=True, changes=changes)


def _frozen_message(name: str, forbidden: list[str]) -> str:
    listed = "\n  ".join(forbidden)
    return (
        f"Study {name!r} is stored and the study file differs from it:\n  {listed}\n"
        f"Trials of both would not compare. Undo the change, or start another study with "
        f"`--set name={name}-2`, or drop the stored one with `tuner delete {name}`."
    )


def find_study(database: Database, name: str) -> StoredStudy:
    """Read a study by name.

    Raises:
        StudyNotFoundError: There is none, or it is not tuner's.
    """
    with database.transaction() as session:
        study = models.StudyModel.find_by_name(name, session)
        row = session.execute(
            select(CONFIGS.c.study_id, CONFIGS.c.config, STATES.c.key)
            .join(STATES, STATES.c.study_id == CONFIGS.c.study_id)
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
    config = StudyConfig.from_json(row.config)
    return StoredStudy(study_id=row.study_id, key=row.key, config=config)


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


def rename_study(database: Database, study: StoredStudy, name: str) -> StoredStudy:
    """Give a study another name, in place: workers know it by its key and go on.

    Args:
        database: Where the study is.
        study: The study.
        name: The new name.

    Returns:
        The study as it is stored now.

    Raises:
        InputError: It is no name, or another study has it.
        StudyNotFoundError: Somebody has deleted the study.
    """
    check_name(name)
    try:
        with database.transaction() as session:
            lock_study(session, study)
            newest = newest_version(session, study.study_id)
            config = newest.config.model_copy(update={"name": name})
            store_version(session, study.study_id, Version(number=newest.number + 1, config=config))
            renamed = update(models.StudyModel).values(study_name=name)
            session.execute(renamed.where(models.StudyModel.study_id == study.study_id))
    except IntegrityError as error:
        raise InputError(
            f"name: {name!r} is the name of another study. Expected one that is free: "
            f"`tuner list` shows what is taken."
        ) from error
    return replace(study, config=config)


def check_name(name: str) -> None:
    """See that a study may be called so.

    Raises:
        InputError: It may not.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise InputError(
            f"name: received {name!r}. Expected letters, digits, '.', '_' and '-', "
            f"the first of them a letter or digit, at most 128."
        )


def delete_study(database: Database, study: StoredStudy) -> None:
    """Remove a study with its trials and slots.

    Raises:
        StudyNotFoundError: Somebody else has deleted it.
    """
    mine = STATES.c.study_id == study.study_id, STATES.c.key == study.key
    with database.transaction() as session:
        # Workers wait at these rows, in this order, and then find their slots gone. Where a report
        # comes in between, Optuna's own deletion does nothing, without a word, on Postgres, and
        # leaves the report to a later trial on SQLite.
        lock = update(STATES).where(*mine).values(key=study.key).returning(STATES.c.study_id)
        if session.execute(lock).one_or_none() is None:
            raise StudyNotFoundError(f"Study {study.config.name!r} is gone already.")
        session.execute(update(SLOTS).where(SLOTS.c.study_id == study.study_id).values(token=None))
        session.delete(session.get_one(models.StudyModel, study.study_id))


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
            f"Raise budget.trials: `tuner extend {study.config.name} --trials 1`."
        )
    return slot


def _full_point(config: StudyConfig, point: Mapping[str, Scalar]) -> bool:
    """Say whether the values make a whole point of a finite space."""
    return config.space.size() is not None and dict(point) in config.space.points()
