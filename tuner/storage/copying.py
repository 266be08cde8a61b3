"""A study taken along into another database, with all that anybody ever wrote about it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, exists, insert, select, text
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from tuner.config import StudyConfig
from tuner.errors import InputError, StudyNotFoundError
from tuner.storage.configuration import Version, newest_version, store_version
from tuner.storage.database import Database
from tuner.storage.fence import FREE
from tuner.storage.schema import (
    METADATA,
    REFUSALS,
    SLOTS,
    STATES,
    STUDIES,
    TRIALS,
    epoch_seconds,
)
from tuner.storage.studies import check_name
from tuner.storage.trouble import translated
from tuner.storage.values import StoredStudy

#: Rows that are read and written at a time.
_CHUNK = 2_000
#: Keys of the dashboard's, among a study's attributes, that name a trial by its id.
_OF_TRIAL = re.compile(r"dashboard:(\d+):")


@dataclass(frozen=True, kw_only=True)
class Copied:
    """What `copy_study` did."""

    #: The study in its new place.
    study: StoredStudy
    #: Its trials.
    n_trials: int
    #: Why it had ended where it was; None where it had not.
    ended: str | None


def open_slots(database: Database, study: StoredStudy) -> list[int]:
    """List the slots with a trial that somebody began and nobody is at, to be gone on with.

    Raises:
        InputError: Somebody is at one.
    """
    with database.transaction() as session:
        return _open_slots(session, study)


def copy_study(
    source: Database, study: StoredStudy, target: Database, *, name: str, key: str
) -> Copied:
    """Copy a study with its trials, configurations, slots and attributes, all or nothing.

    The source is read as it is at one moment, and stays as it is. A study that was stopped goes on
    in its new place: it was stopped for that.

    Args:
        source: Where it is.
        study: The study.
        target: Where to; another database, or the same one.
        name: What it is called there.
        key: Its key there, random.

    Raises:
        InputError: Workers are at it, or the name is none or taken, or the target is of a kind
            that cannot hold something in it.
        StudyNotFoundError: It was deleted.
    """
    check_name(name)
    try:
        with _one_moment(source) as reading, target.transaction() as writing:
            _open_slots(reading, study)
            return _Copy(reading, writing, study).run(name, key)
    except IntegrityError as error:
        raise InputError(
            f"{target.name} has a study {name!r} already. Take another name: --name {name}-2."
        ) from error
    except DataError as error:
        raise InputError(
            f"{target.name} cannot hold something that {study.config.name!r} has: "
            f"{str(error.orig).splitlines()[0]}."
        ) from error


@contextmanager
def _one_moment(database: Database) -> Iterator[Session]:
    """Give a session that sees nothing of what others write after its begin."""
    with translated(database.name), Session(database.engine) as session:
        if database.engine.dialect.name == "sqlite":
            session.execute(text("BEGIN"))  # Python's SQLite begins none for reading
        else:
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        yield session


def _open_slots(session: Session, study: StoredStudy) -> list[int]:
    same = exists().where(STATES.c.study_id == study.study_id, STATES.c.key == study.key)
    rows = session.execute(
        select(
            SLOTS.c.slot,
            SLOTS.c.trial_id,
            SLOTS.c.worker,
            and_(SLOTS.c.state == "held", SLOTS.c.expires_at > epoch_seconds()).label("is_held"),
        )
        .where(SLOTS.c.study_id == study.study_id, SLOTS.c.state != "done", same)
        .order_by(SLOTS.c.slot)
    ).all()
    name = study.config.name
    held = [row for row in rows if row.is_held]
    if held:
        raise InputError(
            f"Study {name!r} has {len(held)} {'trial' if len(held) == 1 else 'trials'} running, at "
            f"{', '.join(row.worker for row in held[:5])}. Run `tuner stop {name}`, wait until "
            f"`tuner status {name} --watch` shows none, and copy it then."
        )
    return [row.slot for row in rows if row.trial_id is not None]


class _Copy:
    """Copies one study.

    Args:
        reading: Sees the source at one moment.
        writing: One transaction in the target.
        study: The study.
    """

    def __init__(self, reading: Session, writing: Session, study: StoredStudy) -> None:
        self._reading = reading
        self._writing = writing
        self._study = study
        self._study_id = 0
        self._trial_ids: dict[int, int] = {}

    def run(self, name: str, key: str) -> Copied:
        """Do it.

        Args:
            name: What the study is called in its new place.
            key: Its key there.
        """
        state = self._state()
        written = insert(STUDIES).values(study_name=name).returning(STUDIES.c.study_id)
        self._study_id = self._writing.execute(written).scalar_one()
        self._copy_trials()
        for table in METADATA.sorted_tables:
            if table in (STUDIES, TRIALS, STATES, SLOTS, REFUSALS):
                continue  # by themselves; a machine refuses a study in one place
            if "trial_id" in table.c:
                self._copy(table, _is_of_trials(table, self._study.study_id))
            elif "study_id" in table.c:
                self._copy(table, table.c.study_id == self._study.study_id)
        ended = state["ended"]
        if ended == "stopped":
            state |= {"ended": None, "message": None}
        # The clock of another database may be another one.
        state |= {"study_id": self._study_id, "key": key, "counted_at": 0.0}
        self._writing.execute(insert(STATES), [state])
        self._copy(SLOTS, SLOTS.c.study_id == self._study.study_id)
        config = self._name(name)
        return Copied(
            study=StoredStudy(
                study_id=self._study_id, key=key, config=config, shape=self._study.shape
            ),
            n_trials=len(self._trial_ids),
            ended=ended,
        )

    def _state(self) -> dict[str, Any]:
        mine = STATES.c.study_id == self._study.study_id, STATES.c.key == self._study.key
        row = self._reading.execute(select(STATES).where(*mine)).mappings().one_or_none()
        if row is None:
            raise StudyNotFoundError(
                f"Study {self._study.config.name!r} is not in the database any more: somebody "
                f"deleted it."
            )
        return dict(row)

    def _name(self, name: str) -> StudyConfig:
        """Give the configuration that is in force its new name; the history keeps the old one."""
        newest = newest_version(self._writing, self._study_id)
        if name == newest.config.name:
            return newest.config
        config = newest.config.model_copy(update={"name": name})
        store_version(
            self._writing, self._study_id, Version(number=newest.number + 1, config=config)
        )
        return config

    def _copy_trials(self) -> None:
        statement = insert(TRIALS).returning(TRIALS.c.trial_id, sort_by_parameter_order=True)
        mine = TRIALS.c.study_id == self._study.study_id
        for rows in self._chunks(TRIALS, mine):
            written = self._writing.scalars(statement, [self._moved(TRIALS, row) for row in rows])
            self._trial_ids |= zip((row["trial_id"] for row in rows), written, strict=True)

    def _copy(self, table: Table, mine: ColumnElement[bool]) -> None:
        for rows in self._chunks(table, mine):
            self._writing.execute(insert(table), [self._moved(table, row) for row in rows])

    def _chunks(self, table: Table, mine: ColumnElement[bool]) -> Iterator[list[dict[str, Any]]]:
        """Read rows in the order in which they were written, as Optuna does."""
        statement = select(table).where(mine).order_by(*table.primary_key)
        found = self._reading.execute(statement.execution_options(yield_per=_CHUNK)).mappings()
        for rows in found.partitions():
            yield [dict(row) for row in rows]

    def _moved(self, table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
        """Let a row belong to the new study and its trials."""
        counter = table.autoincrement_column  # it only numbers the rows: the target does
        moved = {name: value for name, value in row.items() if name != getattr(counter, "name", "")}
        if "study_id" in moved:
            moved["study_id"] = self._study_id
        if moved.get("trial_id") is not None:
            moved["trial_id"] = self._trial_ids[moved["trial_id"]]
        if "key" in moved and (found := _OF_TRIAL.match(moved["key"])):
            old = int(found[1])
            rest = moved["key"][found.end() :]
            moved["key"] = f"dashboard:{self._trial_ids.get(old, old)}:{rest}"
        if table is SLOTS and moved["state"] == "held":
            moved |= FREE  # its holder is gone: whoever is next goes on
        return moved


def _is_of_trials(table: Table, study_id: int) -> ColumnElement[bool]:
    trials = select(TRIALS.c.trial_id).where(TRIALS.c.study_id == study_id)
    return table.c.trial_id.in_(trials)
