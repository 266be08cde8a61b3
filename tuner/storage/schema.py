"""Our tables beside Optuna's, and how all of them come to be, once, however many ask."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Engine,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    inspect,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from tuner.storage.dialects import DIALECTS
from tuner.storage.roles import create_reader
from tuner.storage.views import create_views

#: Version of our own tables and of the views; SQL reads it from `VERSION`.
SCHEMA_VERSION = 4

#: Optuna's tables and ours in one collection, so that foreign keys between them resolve.
METADATA: MetaData = models.BaseModel.metadata

#: Optuna's tables that we read and write by ourselves.
STUDIES: Table = models.StudyModel.__table__
TRIALS: Table = models.TrialModel.__table__
PARAMS: Table = models.TrialParamModel.__table__
VALUES: Table = models.TrialValueModel.__table__
REPORTS: Table = models.TrialIntermediateValueModel.__table__
USER_ATTRIBUTES: Table = models.TrialUserAttributeModel.__table__
SYSTEM_ATTRIBUTES: Table = models.TrialSystemAttributeModel.__table__
#: What the names of a trial's constraints begin with, among its system attributes.
CONSTRAINT = "constraints:"

_STUDY = "studies.study_id"

#: One row a change of a study's configuration; the newest is in force, the others are its history.
CONFIGS = Table(
    "tuner_configs",
    METADATA,
    Column("study_id", ForeignKey(_STUDY, ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("config", Text, nullable=False),  # StudyConfig.to_json()
    Column("created_at", Double, nullable=False),  # seconds since 1970, the database's clock
)

#: One row a study: what holds for all of its trials, and whether it goes on.
STATES = Table(
    "tuner_states",
    METADATA,
    Column("study_id", ForeignKey(_STUDY, ondelete="CASCADE"), primary_key=True),
    Column("key", Text, nullable=False, unique=True),  # random: SQLite gives ids of the dead anew
    Column("fingerprint", Text),  # of the prepared data, from the first trainer that saw it
    Column("versions", Text),  # JSON of the first worker's packages
    Column("ended", Text),  # before its budget: stopped, hours, bug; NULL while it goes on
    Column("message", Text),  # why it ended, for people
    Column("resumed_at", Double, nullable=False, default=0.0),  # failures before count no more
    Column("spent_seconds", Double, nullable=False, default=0.0),  # while somebody held a lease
    Column("counted_at", Double, nullable=False, default=0.0),  # when that was last added to
)

#: One row a budgeted trial.
SLOTS = Table(
    "tuner_slots",
    METADATA,
    Column("study_id", ForeignKey(_STUDY, ondelete="CASCADE"), primary_key=True),
    Column("slot", Integer, primary_key=True),
    Column("state", Text, nullable=False),  # free, held, done
    Column("trial_id", ForeignKey("trials.trial_id", ondelete="SET NULL"), unique=True),
    Column("planned", Text),  # JSON of values known in advance
    Column("origin", Text),  # who planned them: default, grid, enqueued
    Column("point", Text),  # JSON of all drawn values, in a finite space: no point twice
    Column("params", Text),  # JSON of all hyperparameters, fixed ones included
    Column("token", BigInteger),  # proves the lease; kept when done
    Column("worker", Text),  # holder, for people
    Column("machine", Text),  # where process ids mean the same
    Column("pid", BigInteger),
    Column("pid_started", Double),  # process ids are given anew: epoch seconds, machine's clock
    Column("attempts", Integer, nullable=False, default=0),  # trainers that died without progress
    Column("micro_batches", Integer, nullable=False, default=1),  # parts of a batch, for memory
    Column("expires_at", Double, nullable=False, default=0.0),  # end of the lease, epoch seconds
    Column("closed_at", Double),  # epoch seconds, the database's clock
    Index("tuner_slots_point", "study_id", "point", unique=True),
    Index("tuner_slots_state", "study_id", "state"),
)

#: One row a study and machine whose standing workers have looked at it and could not serve it.
REFUSALS = Table(
    "tuner_refusals",
    METADATA,
    Column("study_id", ForeignKey(_STUDY, ondelete="CASCADE"), primary_key=True),
    Column("host", Text, primary_key=True),
    Column("reason", Text),  # for people; NULL once the machine serves the study
    Column("refused_at", Double, nullable=False),  # epoch seconds, the database's clock
)

#: One row with the version of our tables and views.
VERSION = Table("tuner_schema", METADATA, Column("version", Integer, primary_key=True))


class epoch_seconds(FunctionElement[float]):  # noqa: N801 - named like the SQL function it is
    """The database's clock now, in seconds since 1970; moves within a transaction."""

    inherit_cache = True
    type = Double()


@compiles(epoch_seconds, "sqlite")
def _sqlite_clock(_element: Any, _compiler: Any, **_kw: Any) -> str:
    return DIALECTS["sqlite"].now


@compiles(epoch_seconds, "postgresql")
def _postgres_clock(_element: Any, _compiler: Any, **_kw: Any) -> str:
    return DIALECTS["postgresql"].now


def is_created(engine: Engine) -> bool:
    """Say whether our tables are there."""
    return inspect(engine).has_table(VERSION.name)


def create_tables(engine: Engine, url: str, engine_kwargs: dict[str, Any]) -> None:
    """Create Optuna's tables, ours and the views where they are missing.

    Safe from many processes at once. In tables of another version nothing is added; opening the
    database says so.
    """
    with _one_at_a_time(engine):
        METADATA.create_all(engine)
        storage = RDBStorage(url, engine_kwargs=dict(engine_kwargs))  # writes its version rows
        storage.remove_session()
        storage.engine.dispose()
        with engine.begin() as connection:
            version = connection.execute(VERSION.select()).scalar()
            if version is None:
                connection.execute(VERSION.insert().values(version=SCHEMA_VERSION))
            elif version != SCHEMA_VERSION:
                return
            create_views(connection)
            if engine.dialect.name == "sqlite":
                _create_triggers(connection)
            elif version is None:  # once: what an administrator takes away later, stays away
                create_reader(connection)


def _create_triggers(connection: Connection) -> None:
    """Let our rows follow Optuna's: SQLite enforces no foreign keys unless each client asks."""
    for table in (CONFIGS, STATES, SLOTS, REFUSALS):
        connection.execute(
            text(
                f"CREATE TRIGGER IF NOT EXISTS {table.name}_follow "  # noqa: S608 - our own names
                f"AFTER DELETE ON studies BEGIN "
                f"DELETE FROM {table.name} WHERE study_id = OLD.study_id; END"
            )
        )
    connection.execute(
        text(
            f"CREATE TRIGGER IF NOT EXISTS {SLOTS.name}_follow_trials "  # noqa: S608 - our own name
            f"AFTER DELETE ON trials BEGIN "
            f"UPDATE {SLOTS.name} SET trial_id = NULL WHERE trial_id = OLD.trial_id; END"
        )
    )


@contextlib.contextmanager
def _one_at_a_time(engine: Engine) -> Iterator[None]:
    """Hold a lock over schema changes, without leaving anything behind."""
    if engine.dialect.name == "postgresql":
        key = 7_305_808_869_231_650  # any number nobody else uses
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
            connection.commit()  # the lock is the session's: no idle transaction
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})
                connection.commit()
        return
    folder = os.open(Path(engine.url.database or ".").resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
