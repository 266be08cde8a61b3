"""Reading the slots while others work: who does what, what is abandoned, how soon it goes on."""

import contextlib
import logging
import sqlite3
import time
from dataclasses import dataclass

import sqlalchemy
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

log = logging.getLogger(__name__)

#: Seconds that a worker which runs never keeps SQLite's one write lock.
_LOCK_SECONDS = 0.5

#: Slots that somebody holds, with the number of reports of their trials.
_HELD = text(
    "SELECT s.slot, s.trial_id, s.token, s.worker, "
    "(SELECT count(*) FROM trial_intermediate_values v WHERE v.trial_id = s.trial_id) AS n_reports "
    "FROM tuner_slots s WHERE s.study_id = :study AND s.state = 'held'"
)
_DONE = text(
    "SELECT worker, count(*) AS n_done FROM tuner_slots "
    "WHERE study_id = :study AND state = 'done' GROUP BY worker"
)


@dataclass(frozen=True, kw_only=True)
class HeldSlot:
    """A slot that a worker holds."""

    #: Its place in the budget.
    slot: int
    #: Its trial, where one is open.
    trial_id: int | None
    #: Proof of this hold.
    token: int
    #: Reports of the trial.
    n_reports: int


@dataclass(frozen=True, kw_only=True)
class _Abandoned:
    """A hold whose worker was killed."""

    token: int
    killed_at: float


class Watch:
    """Samples the slots of one study after the other.

    Args:
        url: Where they are.
    """

    def __init__(self, url: str) -> None:
        self._engine = sqlalchemy.create_engine(url, pool_pre_ping=True, pool_size=1)
        self._study_id = 0
        self._held: dict[str, HeldSlot] = {}
        self._done: dict[str, int] = {}
        self._training: set[str] = set()  # workers whose trainer has shown that it trains
        self._abandoned: dict[tuple[int, int], _Abandoned] = {}
        #: Slots of the study that are done.
        self.n_done = 0
        #: When that last changed; seconds of the monotonic clock.
        self.moved_at = time.monotonic()
        #: Slots that were done and then were not.
        self.n_undone = 0
        #: Seconds from a worker's death until somebody had its trial, or from the database's
        #: return where that was later: with SQLite it is away, too, while a worker is frozen that
        #: holds the one write lock.
        self.recoveries: list[float] = []
        #: When a frozen worker was last seen to hold it.
        self._locked_at = 0.0

    @property
    def engine(self) -> sqlalchemy.Engine:
        """Connections to the database, for reading."""
        return self._engine

    @property
    def n_abandoned(self) -> int:
        """Count the trials of dead workers that nobody has taken yet."""
        return len(self._abandoned)

    def turn_to(self, study_id: int) -> None:
        """Watch another study from now on."""
        self._study_id = study_id
        self._held, self._done = {}, {}
        self._training.clear()
        self.n_done = 0
        self.moved_at = time.monotonic()

    def look(self, up_since: float) -> bool:
        """Read the slots.

        Args:
            up_since: When the database came back last.

        Returns:
            Whether the database answered.
        """
        try:
            with self._engine.connect() as connection:
                held_rows = connection.execute(_HELD, {"study": self._study_id}).all()
                done_rows = connection.execute(_DONE, {"study": self._study_id}).all()
        except DBAPIError as error:
            log.info("the slots cannot be read now: %s", str(error.orig).strip())
            self._engine.dispose()  # what comes next has a connection of its own
            return False
        held = {
            row.worker: HeldSlot(
                slot=row.slot, trial_id=row.trial_id, token=row.token, n_reports=row.n_reports
            )
            for row in held_rows
        }
        done = {row.worker: row.n_done for row in done_rows}
        for worker, now in held.items():
            before = self._held.get(worker)
            if before and before.token == now.token and now.n_reports > before.n_reports:
                self._training.add(worker)
        self._training |= {name for name, n in done.items() if n > self._done.get(name, 0)}
        self._held, self._done = held, done
        self._count_done(sum(done.values()))
        self._recover({(self._study_id, row.slot): row.token for row in held_rows}, up_since)
        return True

    def _count_done(self, n_done: int) -> None:
        if n_done < self.n_done:
            self.n_undone += self.n_done - n_done
        if n_done != self.n_done:
            self.moved_at = time.monotonic()
        self.n_done = n_done

    def _is_locked(self) -> bool:
        if self._engine.dialect.name != "sqlite":
            return False
        path = self._engine.url.database or ""
        with contextlib.closing(sqlite3.connect(path, timeout=_LOCK_SECONDS)) as probe:
            try:
                probe.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            probe.rollback()
        return False

    def _recover(self, tokens: dict[tuple[int, int], int], up_since: float) -> None:
        if self._abandoned and self._is_locked():
            self._locked_at = time.monotonic()
        now = time.monotonic()
        for place, hold in list(self._abandoned.items()):
            if tokens.get(place) != hold.token:
                del self._abandoned[place]
                self.recoveries.append(now - max(hold.killed_at, up_since, self._locked_at))

    def held_by(self, worker: str) -> HeldSlot | None:
        """Say what a worker held at the last look."""
        return self._held.get(worker)

    def place_of(self, worker: str) -> str:
        """Say what a worker was doing at the last look."""
        held = self._held.get(worker)
        if held is None:
            return "between trials" if worker in self._training else "worker starting"
        if worker not in self._training:
            return "trainer starting"
        return "trial opening" if held.trial_id is None else "trial running"

    def trainer_died(self, worker: str) -> None:
        """Take note that a worker's next trainer is a fresh one."""
        self._training.discard(worker)

    def worker_died(self, worker: str, killed_at: float) -> None:
        """Take note of what a dead worker leaves behind; call it after a look."""
        held = self._held.get(worker)
        if held is not None and held.trial_id is not None:
            hold = _Abandoned(token=held.token, killed_at=killed_at)
            self._abandoned[self._study_id, held.slot] = hold

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()
