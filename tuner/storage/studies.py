"""Studies in a database: create one frozen, find it, change what may change, delete it."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import optuna
from optuna.storages._rdb import models
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tuner.config import NAME_PATTERN, StudyConfig, differences
from tuner.errors import FrozenStudyError, InputError, StudyNotFoundError, suggestion
from tuner.feasible import count_points, words_of_none
from tuner.sizes import Shape
from tuner.storage.configuration import (
    Version,
    forget_plans_outside,
    lock_study,
    newest_version,
    read_shape,
    store_version,
)
from tuner.storage.database import Database
from tuner.storage.prospects import still_ended_by_gain
from tuner.storage.schema import CONFIGS, SHAPES, SLOTS, STATES
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
    database: Database,
    config: StudyConfig,
    *,
    shape: Shape | None = None,
    begin_with: Sequence[Plan] = (),
) -> Created:
    """Store a study with one slot a trial; on an existing one, apply what may change.

    Args:
        database: Where to.
        config: The whole study.
        shape: Of the data; needed by a new study that judges or limits its models' sizes.
        begin_with: Points that a new study tries after its default point, before its sampler's; in
            a finite space whole and different ones. An existing study has had its beginning.

    Raises:
        FrozenStudyError: A study of that name is stored and differs in what may not change.
        InputError: An Optuna study of that name is there that tuner did not make, or no point of
            the space keeps to the limits.
    """
    with translated(database.name), Session(database.engine) as session:
        try:
            stored = _insert_study(session, config, shape, begin_with)
            session.commit()
        except IntegrityError:  # somebody was first: the name is unique
            session.rollback()
        else:
            return Created(study=stored, existed=False, changes=())
    return _reconcile(database, config)


def _insert_study(
    session: Session, config: StudyConfig, shape: Shape | None, begin_with: Sequence[Plan]
) -> StoredStudy:
    if config.sizes and shape is None:
        raise ValueError(f"a study with {', '.join(config.sizes)} needs the shape of its data")
    if count_points(config, shape) == 0:
        raise InputError(f"constraints: {words_of_none(config)}")
    study = models.StudyModel(
        study_name=config.name,
        directions=[
            models.StudyDirectionModel(
                direction=optuna.study.StudyDirection[direction.upper()], objective=number
            )
            for number, direction in enumerate(config.directions)
        ],
    )
    session.add(study)
    session.flush()
    study_id = int(study.study_id)
    key = secrets.token_hex(8)
    session.execute(insert(STATES).values(study_id=study_id, key=key))
    if config.sizes and shape is not None:
        session.execute(insert(SHAPES).values(study_id=study_id, **asdict(shape)))
    store_version(session, study_id, Version(number=1, config=config), begin_with=begin_with)
    shape = read_shape(session, study_id)
    return StoredStudy(study_id=study_id, key=key, config=config, shape=shape)


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
            n_left = forget_plans_outside(session, stored.study_id, wanted.space)
            if n_left:
                notes.append(f"{n_left} planned points lie outside the space now: left out")
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
        shape = read_shape(session, row.study_id) if row is not None else None
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
    return StoredStudy(study_id=row.study_id, key=row.key, config=config, shape=shape)


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


def rename_study(
    database: Database, study: StoredStudy, name: str, *, confirms: str | None = None
) -> StoredStudy:
    """Give a study another name, in place: workers know it by its key and go on.

    Args:
        database: Where the study is.
        study: The study.
        name: The new name.
        confirms: New name of the study that this one confirms; None where it keeps its own.

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
            if config.confirms is not None and confirms is not None:
                other = config.confirms.model_copy(update={"study": confirms})
                config = config.model_copy(update={"confirms": other})
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
