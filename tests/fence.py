"""A process that does one thing to a slot, and dies or freezes in the middle of it."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from typing import Any, TypeAlias

import psutil
from optuna.trial import TrialState
from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, configure_mappers

from tests.forked import PROCESSES
from tuner.errors import LostSlotError, StorageUnavailableError
from tuner.host import Holder, this_process
from tuner.storage import Claim, Database, Ending, Proposal, Slots, StoredStudy

#: After which Postgres rolls back what a frozen process has begun; tuner's own time is longer.
_SHORT = "SET LOCAL idle_in_transaction_session_timeout = '200ms'"

configure_mappers()

PRUNED = Ending(
    state=TrialState.PRUNED,
    value=0.2,
    attributes={"reason": "pruned"},
    constraints={"diverged": 1.0},
)
COMPLETE = Ending(
    state=TrialState.COMPLETE, value=0.5, attributes={"host": "theirs"}, constraints={}
)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One operation, and where in it something happens to its process."""

    #: A key of `OPERATIONS`.
    operation: str
    #: Whose slots.
    study: StoredStudy
    #: Proof of the hold, of one to come too.
    token: int
    #: The slot; None where none is held yet.
    claim: Claim | None
    #: The point of a trial that is to be opened.
    proposal: Proposal | None
    #: Seconds that the slot stays held.
    lease: float
    #: Which event of the operation, from 1.
    at: int
    #: SIGKILL or SIGSTOP.
    signal_number: int


@dataclass(frozen=True, kw_only=True)
class Reached:
    """The process is about to be hit."""

    #: The operation's statements, ``commit`` and ``committed``; the last one is where it stands:
    #: before a statement, before the commit, or right after the commit.
    history: tuple[str, ...]

    @property
    def is_committed(self) -> bool:
        """Whether the database has what the operation does."""
        return "committed" in self.history

    @property
    def has_written(self) -> bool:
        """Whether it stands in a transaction that has touched the slot."""
        written = any(what.startswith("UPDATE tuner_slots") for what in self.history[:-1])
        return written and not self.is_committed


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The operation came to its end."""

    #: Whether it ended because the slot was lost.
    is_lost: bool
    #: What it gave.
    result: Any


Answer: TypeAlias = Reached | Ended


def _claim_of(task: Task) -> Claim:
    assert task.claim is not None
    return task.claim


def _open(slots: Slots, task: Task) -> Claim:
    assert task.proposal is not None
    return slots.open(_claim_of(task), task.proposal)


OPERATIONS: dict[str, Callable[[Slots, Task], object]] = {
    "claim": lambda slots, task: slots.claim(task.token),
    "claim again": lambda slots, task: slots.claim(task.token),
    "open": _open,
    "report": lambda slots, task: slots.report(_claim_of(task), 2, 0.2),
    "prune": lambda slots, task: slots.report(_claim_of(task), 2, 0.2, PRUNED),
    "renew": lambda slots, task: slots.renew(_claim_of(task)),
    "close": lambda slots, task: slots.close(_claim_of(task), COMPLETE),
    "release": lambda slots, task: slots.release(_claim_of(task)),
}


class _Tripwire:
    """Counts what an operation does to the database, and hits its own process at one event."""

    def __init__(self, database: Database, pipe: Pipe) -> None:
        self._pipe = pipe
        self._task: Task | None = None
        self._history: list[str] = []
        event.listen(database.engine, "before_cursor_execute", self._statement)
        event.listen(database.engine, "commit", lambda on: self._count("commit", on))
        event.listen(Session, "after_commit", lambda _session: self._count("committed", None))

    def arm(self, task: Task) -> None:
        self._task, self._history = task, []

    def _statement(self, on: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        self._count(statement, on)

    def _count(self, what: str, on: Connection | None) -> None:
        task = self._task
        if task is None:
            return
        self._history.append(what)
        if len(self._history) == task.at:
            self._task = None
            if on is not None and on.dialect.name == "postgresql":
                on.connection.cursor().execute(_SHORT)
            self._pipe.send(Reached(history=tuple(self._history)))
            os.kill(os.getpid(), task.signal_number)


def _serve(url: str, pipe: Pipe) -> None:
    with Database.open(url) as database:
        tripwire = _Tripwire(database, pipe)
        pipe.send(this_process())
        with contextlib.suppress(EOFError):
            while True:
                task: Task = pipe.recv()
                slots = Slots(database, task.study, holder=this_process(), lease=task.lease)
                tripwire.arm(task)
                pipe.send(_ended(slots, task))


def _ended(slots: Slots, task: Task) -> Ended:
    while True:
        try:
            return Ended(is_lost=False, result=OPERATIONS[task.operation](slots, task))
        except LostSlotError:
            return Ended(is_lost=True, result=None)
        except StorageUnavailableError:
            continue  # the server has cut a frozen one off: a worker asks again, too


class Puppet:
    """The process, from outside."""

    def __init__(self, url: str) -> None:
        self._pipe, theirs = PROCESSES.Pipe()
        self._process = PROCESSES.Process(target=_serve, args=(url, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._holder: Holder | None = None

    @property
    def holder(self) -> Holder:
        """Who it is."""
        if self._holder is None:
            holder = self._receive()
            assert isinstance(holder, Holder)
            self._holder = holder
        return self._holder

    def perform(self, task: Task) -> Answer:
        """Let it work until it is hit, and lies there, or to the end."""
        assert self.holder
        self._pipe.send(task)
        answer = self._receive()
        if isinstance(answer, Ended):
            return answer
        assert isinstance(answer, Reached)
        if task.signal_number == signal.SIGKILL:
            self._process.join()
        else:
            process = psutil.Process(self.holder.pid)
            while process.status() != psutil.STATUS_STOPPED:
                time.sleep(0.001)
        return answer

    def go_on(self) -> Ended:
        """Let it go on after it was stopped, to the end of the operation."""
        os.kill(self.holder.pid, signal.SIGCONT)
        answer = self._receive()
        assert isinstance(answer, Ended)
        return answer

    def end(self) -> None:
        """Kill it, whatever it is at."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _receive(self) -> object:
        assert self._pipe.poll(60), "the process says nothing"
        return self._pipe.recv()


@contextlib.contextmanager
def puppets(url: str) -> Iterator[Callable[[], Puppet]]:
    """Give processes, each one started before it is asked for."""
    started = [Puppet(url)]

    def take() -> Puppet:
        started.append(Puppet(url))
        return started[-2]

    try:
        yield take
    finally:
        for puppet in started:
            puppet.end()
