"""How all tables and views come to be, once, however many processes ask."""

import contextlib
import fcntl
import logging
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from optuna.storages import RDBStorage
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import ProgrammingError

from tuner.errors import InputError
from tuner.storage.dialects import DIALECTS
from tuner.storage.engines import engine_kwargs, temporary_engine
from tuner.storage.roles import NOT_ALLOWED, OWNER, apply_roles, as_owner, can_be_owner
from tuner.storage.schema import (
    CONFIGS,
    EVALUATIONS,
    METADATA,
    OPTUNA_VERSION,
    REFUSALS,
    SCHEMA_VERSION,
    SHAPES,
    SLOTS,
    STATES,
    VERSION,
)
from tuner.storage.versions import our_version
from tuner.storage.views import create_views, queries

log = logging.getLogger(__name__)


def create_tables(engine: Engine, lock_timeout: float) -> None:
    """Create Optuna's tables, ours, the views and the groups of users where they are missing.

    Safe from many processes at once. Where all is there, nothing is tried that only an owner of
    the tables may do.

    Args:
        engine: To the database, which is empty or of this version.
        lock_timeout: Seconds that a write waits for another one.

    Raises:
        InputError: The user of the database may not create tables.
    """
    if is_whole(engine):
        return
    with one_at_a_time(engine):
        if is_whole(engine):
            return
        if engine.dialect.name == "sqlite":
            _create(engine, lock_timeout)
        else:
            _create_on_server(engine, lock_timeout)


def is_whole(engine: Engine) -> bool:
    """Say whether all tables and views are there, in this version."""
    found = inspect(engine)
    there = {*found.get_table_names(), *found.get_view_names()}
    return set(all_names()) <= there and our_version(engine) == SCHEMA_VERSION


def all_names() -> tuple[str, ...]:
    """List what all tables and views are called, Optuna's and ours."""
    return *METADATA.tables, OPTUNA_VERSION.name, *queries(DIALECTS["sqlite"])


def _create(engine: Engine, lock_timeout: float) -> None:
    METADATA.create_all(engine)
    plain = engine.url.render_as_string(hide_password=False)
    # It writes its version rows.
    storage = RDBStorage(plain, engine_kwargs=engine_kwargs(engine.url, lock_timeout))
    storage.remove_session()
    storage.engine.dispose()
    with engine.begin() as connection:
        if connection.execute(VERSION.select()).first() is None:
            connection.execute(VERSION.insert().values(version=SCHEMA_VERSION))
        create_views(connection)
        if engine.dialect.name == "sqlite":
            create_triggers(connection)


def _create_on_server(engine: Engine, lock_timeout: float) -> None:
    """Create everything as the owner group where possible, else as whoever has connected."""
    is_first = our_version(engine) is None
    with engine.begin() as connection:
        login, database, schema = connection.execute(
            text("SELECT current_user, current_database(), current_schema()")
        ).one()
        if schema is None:
            raise InputError(
                f"{login!r} may use no schema of the database {database!r}. An administrator runs "
                f"GRANT USAGE ON SCHEMA public TO {login}; or use another login."
            )
        # Once: what an administrator takes away later, stays away.
        missing = apply_roles(connection) if is_first else ()
        may_own = can_be_owner(connection)
    url = as_owner(engine.url) if may_own else engine.url
    try:
        with temporary_engine(url, lock_timeout) as creating:
            _create(creating, lock_timeout)
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != NOT_ALLOWED:
            raise
        raise InputError(_refusal(login, database, schema, missing)) from error
    if missing:
        log.warning(
            "The tables belong to %s, who may not make the groups of users for workers and "
            "readers. They are only needed where others than %s use the studies. For them, an "
            "administrator runs once, in the database %s:\n\n%s\n\nThen %s runs `tuner upgrade`, "
            "which gives the tables to the group %s.",
            *(login, login, database, as_script(missing), login, OWNER),
        )


def _refusal(login: str, database: str, schema: str, missing: Collection[str]) -> str:
    told = (
        f"{login!r} may not create tables in the schema {schema!r} of the database {database!r}. "
        f"Tables are made once, by a login in the group {OWNER}: run `tuner create` as such a one."
    )
    if missing:
        told += f" Where there is no such group, an administrator runs:\n\n{as_script(missing)}"
    return told


def as_script(statements: Collection[str]) -> str:
    """Write statements of SQL as psql reads them."""
    return "\n".join(f"{statement};" for statement in statements)


def create_triggers(connection: Connection) -> None:
    """Let our rows follow Optuna's: SQLite enforces no foreign keys unless each client asks."""
    for table in (CONFIGS, STATES, SLOTS, REFUSALS, SHAPES):
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
    connection.execute(
        text(
            f"CREATE TRIGGER IF NOT EXISTS {EVALUATIONS.name}_follow "  # noqa: S608 - our own name
            f"AFTER DELETE ON trials BEGIN "
            f"DELETE FROM {EVALUATIONS.name} WHERE trial_id = OLD.trial_id; END"
        )
    )


@contextlib.contextmanager
def one_at_a_time(engine: Engine) -> Iterator[None]:
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
