"""One database with studies: its URL, its engine, and what goes wrong when it is away."""

import contextlib
import functools
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import Engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from tuner.errors import InputError, StorageUnavailableError
from tuner.storage.schema import SCHEMA_VERSION, VERSION, create_tables, is_created

#: Seconds that a write waits for another one; a third of a lease.
LOCK_TIMEOUT = 20.0
#: What Postgres answers to a role that lacks a right (SQLSTATE).
_NOT_ALLOWED = "42501"
#: Part of that after which Postgres rolls back the transaction of a process that does not go on.
FROZEN_SHARE = 0.75


class Database:
    """An open database that has our tables.

    Args:
        url: With its driver and password.
        lock_timeout: Seconds that a write waits for another one.
    """

    def __init__(self, url: sqlalchemy.URL, lock_timeout: float) -> None:
        self._url = url
        self._lock_timeout = lock_timeout
        self.engine = sqlalchemy.create_engine(url, **_engine_kwargs(url, lock_timeout))
        self._configure(self.engine)

    @functools.cached_property
    def storage(self) -> RDBStorage:
        """Optuna's own view of it, with connections of its own; takes a second to make.

        Raises:
            InputError: Optuna's tables are of another version.
        """
        plain = self._url.render_as_string(hide_password=False)
        kwargs = _engine_kwargs(self._url, self._lock_timeout)
        with translated(self.name):
            made = RDBStorage(plain, engine_kwargs=kwargs, skip_table_creation=True)
        made.remove_session()
        made.engine.dispose()  # connections from here on get our settings
        self._configure(made.engine)
        return made

    def _configure(self, engine: Engine) -> None:
        """Tell each connection what it needs to know."""
        settings = _settings(self._url.get_backend_name(), self._lock_timeout)
        event.listen(engine, "connect", partial(_tell, settings))

    @classmethod
    def open(cls, url: str, *, create: bool = False, lock_timeout: float = LOCK_TIMEOUT) -> Self:
        """Connect.

        Args:
            url: ``sqlite:///FILE`` or ``postgresql://USER@HOST/DATABASE``.
            create: Make the file and the tables where they are missing.
            lock_timeout: Seconds that a write waits for another one; at most a third of a lease.

        Raises:
            InputError: The URL is none, or there is nothing there and ``create`` is off.
            StorageUnavailableError: The database does not answer.
        """
        parsed = parse_url(url)
        if parsed.get_backend_name() == "sqlite":
            _check_file(Path(parsed.database or ""), create=create)
        kwargs = _engine_kwargs(parsed, lock_timeout)
        with translated(url), _engine(parsed, kwargs) as engine:
            if create:
                create_tables(engine, parsed.render_as_string(hide_password=False), kwargs)
            elif not is_created(engine):
                raise InputError(
                    f"{shown(url)} has no studies of tuner's. "
                    f"Create one with `tuner run FILE` or `tuner create FILE`, or name another "
                    f"storage with --storage or TUNER_STORAGE."
                )
            _check_version(engine)
        return cls(parsed, lock_timeout)

    @property
    def name(self) -> str:
        """The URL for people: without its password."""
        return str(self.engine.url)  # SQLAlchemy masks it

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        """Give a session whose changes are committed together, or not at all."""
        with translated(self.name), Session(self.engine) as session, session.begin():
            yield session

    def close(self) -> None:
        """Give the connections back."""
        if "storage" in self.__dict__:
            self.storage.remove_session()
            self.storage.engine.dispose()
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def parse_url(url: str) -> sqlalchemy.URL:
    """Read a storage URL, spelling out the Postgres driver.

    Raises:
        InputError: It is no URL, or of a database that tuner does not know.
    """
    try:
        parsed = make_url(url)
        if parsed.drivername in {"postgres", "postgresql"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError) as error:
        raise InputError(_url_message(url)) from error
    if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
        raise InputError(_url_message(url))
    if parsed.get_backend_name() == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise InputError(
            f"storage: received {url!r}, a database in memory that no other process can see. "
            f"Expected a file: sqlite:///studies/tuner.db."
        )
    return parsed


def _url_message(url: str) -> str:
    if "://" not in url and url.endswith((".db", ".sqlite", ".sqlite3")):
        return f"storage: expected a URL. Received {url!r}; did you mean sqlite:///{url}?"
    return (
        f"storage: expected sqlite:///FILE or postgresql://USER@HOST/DATABASE. "
        f"Received {shown(url)}."
    )


def shown(url: str) -> str:
    """Write a storage URL for people: without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return repr(url.split("@")[-1])


@contextlib.contextmanager
def _engine(url: sqlalchemy.URL, kwargs: dict[str, Any]) -> Iterator[Engine]:
    engine = sqlalchemy.create_engine(url, **kwargs)
    try:
        yield engine
    finally:
        engine.dispose()


@contextlib.contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn the libraries' errors about the database into ours.

    Raises:
        InputError: The database is there, and is not what this tuner expects.
        StorageUnavailableError: It is away, full, locked or read-only: later may be better.
    """
    try:
        yield
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) == _NOT_ALLOWED:
            raise InputError(
                f"{shown(url)}: {_innermost(error)}. This role of the database may not do that: "
                f"use another one, such as the one that created the studies."
            ) from error
        raise InputError(
            f"{shown(url)}: the database is not as tuner made it: {_innermost(error)}. "
            f"Check that no table was dropped, or use another storage."
        ) from error
    except (IntegrityError, DataError):
        raise  # a bug: waiting would not mend it
    except (DBAPIError, PoolTimeoutError, StorageInternalError) as error:
        why = _innermost(error)
        if why == "file is not a database":
            # SQLite itself is asked: opening and closing its file beside it would drop its locks.
            raise InputError(f"{shown(url)} is no SQLite database. Name another file.") from error
        raise StorageUnavailableError(
            f"{shown(url)}: the database does not do what it was asked: {why}. "
            f"Check that it runs, that it can be reached from here, and that its disk has room."
        ) from error


def _innermost(error: BaseException) -> str:
    cause: BaseException = error
    while (inner := cause.__cause__) is not None:
        cause = inner
    lines = str(getattr(cause, "orig", None) or cause).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(cause).__name__


def _check_file(path: Path, *, create: bool) -> None:
    if create:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageUnavailableError(f"{path.parent}: cannot be created: {error}.") from error
    elif not path.is_file():
        raise InputError(
            f"There is no database at {path}. Create a study with `tuner run FILE` or "
            f"`tuner create FILE`, or name another storage with --storage or TUNER_STORAGE."
        )


def _engine_kwargs(url: sqlalchemy.URL, lock_timeout: float) -> dict[str, Any]:
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


def _settings(backend: str, lock_timeout: float) -> tuple[str, ...]:
    """List what each connection is told, once the database is known to be ours.

    Not before: a foreign file stays as it is, and Optuna imports much inside its first
    transaction, which takes long where many workers start on few cores.
    """
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


def _check_version(engine: Engine) -> None:
    with engine.connect() as connection:
        version = connection.execute(VERSION.select()).scalar()
    if version != SCHEMA_VERSION:
        raise InputError(
            f"The database holds version {version} of tuner's tables, this tuner needs version "
            f"{SCHEMA_VERSION}. Use the tuner that made it, or another storage."
        )
