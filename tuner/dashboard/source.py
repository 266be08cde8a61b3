"""The database that the dashboard shows: maybe not there yet, maybe away, maybe another one."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna_dashboard
import sqlalchemy
from optuna_dashboard import _importance
from sqlalchemy import text

from tuner.dashboard.answers import PATIENCE, Answers, BusyError
from tuner.dashboard.shelf import Shelf
from tuner.dashboard.truth import TrueStorage
from tuner.errors import InputError, StorageUnavailableError
from tuner.storage.address import parse_url
from tuner.storage.database import Database
from tuner.storage.trouble import translated
from tuner.storage.versions import our_version

#: Seconds in which a database that was away is not asked again.
PAUSE = 1.0


class NothingYetError(Exception):
    """There is no database, or none with tuner's tables; there may be one soon."""


class Backend:
    """All that belongs to one open database.

    Args:
        database: The database.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.shelf = Shelf(database, self.forget)
        self.answers = Answers()
        self._plotting = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Forget all answers, also those that optuna-dashboard keeps for itself."""
        self.answers.forget()
        # By a study's id and how many trials are complete, for ever: a new study that gets the id
        # of a deleted one would be shown with the importances of that. Without its lock, whose
        # holder may wait for the study that we hold.
        _importance.param_importance_cache.clear()
        #: optuna-dashboard, as the WSGI application it is.
        self.mounted = optuna_dashboard.wsgi(TrueStorage(self.shelf))

    @contextmanager
    def one_plot(self) -> Iterator[None]:
        """Let one plot be worked out at a time: some take minutes for thousands of trials.

        Raises:
            BusyError: Another one is.
        """
        if not self._plotting.acquire(timeout=PATIENCE):
            raise BusyError
        try:
            yield
        finally:
            self._plotting.release()

    def check(self) -> None:
        """Ask the database for a sign of life.

        Raises:
            StorageUnavailableError: It gives none.
        """
        with self.database.transaction() as session:
            session.execute(text("SELECT 1"))


class Source:
    """Where the studies come from.

    Args:
        url: The database's.
        clock: Seconds, never going back.

    Raises:
        InputError: It is none.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._parsed = parse_url(url)
        self._clock = clock
        self._lock = threading.Lock()
        self._backend: Backend | None = None
        self._file: object = None
        self._trouble: tuple[float, Exception] | None = None

    def open(self) -> Backend:
        """Give the database.

        Raises:
            NothingYetError: There are no studies yet.
            InputError: It is not what this tuner expects.
            StorageUnavailableError: It is away.
        """
        with self._lock:
            if self._trouble is not None and self._clock() < self._trouble[0]:
                raise self._trouble[1].with_traceback(None)
            self._trouble = None
            if self._backend is not None and self._file_now() != self._file:
                self._close()  # another file has that name now, or none
            if self._backend is None:
                self._file = self._file_now()
                try:
                    self._backend = Backend(self._open())
                except (NothingYetError, InputError, StorageUnavailableError) as error:
                    self._note_trouble(error)
                    raise
            return self._backend

    def lost(self, error: Exception) -> None:
        """Take note that the database failed: nobody asks it for a moment."""
        with self._lock:
            self._note_trouble(error)
            if isinstance(error, InputError):  # its tables are gone, or others
                self._close()

    def _note_trouble(self, error: Exception) -> None:
        self._trouble = self._clock() + PAUSE, error

    def close(self) -> None:
        """Give the connections back."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._backend is not None:
            self._backend.database.close()
            self._backend = None

    def _file_now(self) -> object:
        """Tell which file it is; None for a server."""
        if self._parsed.get_backend_name() != "sqlite":
            return None
        try:
            found = Path(self._parsed.database or "").stat()
        except OSError:
            return "missing"
        return found.st_dev, found.st_ino

    def _open(self) -> Database:
        if self._file == "missing":
            raise NothingYetError
        try:
            return Database.open(self._url)
        except InputError:
            if self._has_tables():
                raise
            raise NothingYetError from None

    def _has_tables(self) -> bool:
        """Say whether tuner's tables are there, in whatever version."""
        engine = sqlalchemy.create_engine(self._parsed)
        try:
            with translated(self._url):
                return our_version(engine) is not None
        finally:
            engine.dispose()
