"""One database with studies: open it, talk to it, close it."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Self

import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy.orm import Session

from tuner.errors import EmptyStorageError
from tuner.storage.address import parse_url, shown
from tuner.storage.creation import create_tables
from tuner.storage.engines import (
    LOCK_TIMEOUT,
    check_file,
    configure,
    engine_kwargs,
    temporary_engine,
)
from tuner.storage.trouble import translated
from tuner.storage.versions import check_versions, our_version


class Database:
    """An open database that has our tables.

    Args:
        url: With its driver and password.
        lock_timeout: Seconds that a write waits for another one.
    """

    def __init__(self, url: sqlalchemy.URL, lock_timeout: float) -> None:
        self._url = url
        self._lock_timeout = lock_timeout
        self.engine = sqlalchemy.create_engine(url, **engine_kwargs(url, lock_timeout))
        configure(self.engine, lock_timeout)

    @functools.cached_property
    def storage(self) -> RDBStorage:
        """Optuna's own view of it, with connections of its own; takes a second to make."""
        plain = self._url.render_as_string(hide_password=False)
        kwargs = engine_kwargs(self._url, self._lock_timeout)
        with translated(self.name):
            made = RDBStorage(plain, engine_kwargs=kwargs, skip_table_creation=True)
        made.remove_session()
        made.engine.dispose()  # connections from here on get our settings
        configure(made.engine, self._lock_timeout)
        return made

    @classmethod
    def open(cls, url: str, *, create: bool = False, lock_timeout: float = LOCK_TIMEOUT) -> Self:
        """Connect.

        Args:
            url: ``sqlite:///FILE`` or ``postgresql://USER@HOST/DATABASE``.
            create: Make the file and the tables where they are missing.
            lock_timeout: Seconds that a write waits for another one; at most a third of a lease.

        Raises:
            EmptyStorageError: There is nothing there, and ``create`` is off.
            InputError: The URL is none, or the database is not for this tuner.
            StorageUnavailableError: The database does not answer.
        """
        parsed = parse_url(url)
        check_file(parsed, create=create)
        with translated(url), temporary_engine(parsed, lock_timeout) as engine:
            check_versions(engine)
            if create:
                create_tables(engine, lock_timeout)
            elif our_version(engine) is None:
                raise EmptyStorageError(
                    f"{shown(url)} has no studies of tuner's. "
                    f"Create one with `tuner run FILE` or `tuner create FILE`, or name another "
                    f"storage with --storage or TUNER_STORAGE."
                )
        return cls(parsed, lock_timeout)

    @property
    def name(self) -> str:
        """The URL for people: without its password."""
        return shown(self._url.render_as_string(hide_password=True))

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
