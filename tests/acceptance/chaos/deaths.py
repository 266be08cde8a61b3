"""Workers that kill themselves in the midst of a database operation, and their last words."""

import json
import os
import random
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from sqlalchemy import Engine, event

#: Operations of `tuner.storage.slots.Slots` in which a death must be harmless above all.
OPERATIONS = ("claim", "open", "report", "renew", "close", "release")


@dataclass(frozen=True, kw_only=True)
class Death:
    """One worker's end by its own hand."""

    #: Who.
    pid: int
    #: Method of `Slots`.
    operation: str
    #: Kind of statement that was not executed any more, or where else in the transaction.
    place: str
    #: When; epoch seconds.
    time: float


def doom(engine: Engine, *, probability: float, seed: str, log: Path) -> None:
    """Let this process kill itself somewhere inside an operation on slots.

    Args:
        engine: Whose statements, commits and returned connections are the occasions.
        probability: Of death at each of them.
        seed: Of the draws.
        log: One line is appended before death.
    """
    generator = random.Random(seed)  # noqa: S311 - no secret

    def perhaps(place: str) -> None:
        if generator.random() >= probability:
            return
        operation = _operation(sys._getframe())
        if operation is None:
            return
        death = Death(pid=os.getpid(), operation=operation, place=place, time=time.time())
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, json.dumps(asdict(death)).encode() + b"\n")  # whole or not at all
        os.kill(os.getpid(), signal.SIGKILL)

    def before_statement(
        _connection: Any, _cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool
    ) -> None:
        perhaps(statement.split(None, 1)[0].lower())

    event.listen(engine, "before_cursor_execute", before_statement)
    event.listen(engine, "commit", lambda _connection: perhaps("before commit"))
    # The transaction is committed, or over, but our caller does not know it yet.
    event.listen(engine, "checkin", lambda _connection, _record: perhaps("after transaction"))


def _operation(frame: FrameType | None) -> str | None:
    """Find the outermost public method of `Slots` that is being called."""
    found = None
    while frame is not None:
        owner, _, name = frame.f_code.co_qualname.rpartition(".")
        if owner == "Slots" and not name.startswith("_"):
            found = name
        frame = frame.f_back
    return found


def read_deaths(log: Path) -> list[Death]:
    """Read all last words so far."""
    if not log.exists():
        return []
    return [Death(**json.loads(line)) for line in log.read_text().splitlines()]
