"""SQLAlchemy's engines to one database: how they connect, and what each connection is told."""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Engine, event

from tuner.errors import EmptyStorageError, StorageUnavailableError

#: Seconds that a write waits for another one; a third of a lease.
LOCK_TIMEOUT = 20.0
#: Part of that after which Postgres rolls back the transaction of a process that does not go on.
FROZEN_SHARE = 0.75


@contextlib.contextmanager
def temporary_engine(url: sqlalchemy.URL, lock_timeout: float) -> Iterator[Engine]:
    """Give an engine whose connections are told nothing yet, and close them in the end."""
    engine = sqlalchemy.create_engine(url, **engine_kwargs(url, lock_timeout))
    try:
        yield engine
    finally:
        engine.dispose()


def check_file(url: sqlalchemy.URL, *, create: bool) -> None:
    """See that the file of a SQLite database is there, or can come to be.

    Raises:
        EmptyStorageError: It is not there, and shall not be made.
        StorageUnavailableError: Its folder cannot be made.
    """
    if url.get_backend_name() != "sqlite":
        return
    path = Path(url.database or "")
    if create:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageUnavailableError(f"{path.parent}: cannot be created: {error}.") from error
    elif not path.is_file():
        raise EmptyStorageError(
            f"There is no database at {path}. Create a study with `tuner run FILE` or "
            f"`tuner create FILE`, or name another storage with --storage or TUNER_STORAGE."
        )


def engine_kwargs(url: sqlalchemy.URL, lock_timeout: float) -> dict[str, Any]:
    """Choose what engines are made with.

    Args:
        url: The database's.
        lock_timeout: Seconds that a write waits for another one.
    """
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": lock_timeout}}
    milliseconds = round(1000 * lock_timeout)
    return {
        "pool_pre_ping": True,  # a restarted server goes unnoticed
        "pool_size": 1,
        "max_overflow": 2,
        "connect_args": {
            "connect_timeout": 10,
            # A network that swallows everything is noticed in as many seconds as a lock.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 2,
            "tcp_user_timeout": milliseconds,
        },
    }


def configure(engine: Engine, lock_timeout: float) -> None:
    """Tell each connection from now on what it needs to know, once the database is ours.

    Not before: a foreign file stays as it is, and Optuna imports much inside its first
    transaction, which takes long where many workers start on few cores.
    """
    event.listen(engine, "connect", partial(_tell, _settings(engine.dialect.name, lock_timeout)))


def _settings(backend: str, lock_timeout: float) -> tuple[str, ...]:
    if backend == "sqlite":
        # WAL: readers such as the dashboard never block a writer. NORMAL is durable enough with
        # it: a power cut can lose the last commits, never corrupt the file.
        return ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL")
    milliseconds = round(1000 * lock_timeout)
    frozen = round(FROZEN_SHARE * milliseconds)
    return (
        f"SET lock_timeout = {milliseconds}",
        # A worker that is frozen inside a transaction loses it, and the locks with it.
        f"SET idle_in_transaction_session_timeout = {frozen}",
    )


def _tell(settings: tuple[str, ...], connection: Any, _record: object) -> None:
    for statement in settings:
        connection.execute(statement)
    connection.commit()
