"""Waiting, when a command starts, for a database or a study that is not there yet."""

import signal
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from tuner.cli.group import say
from tuner.errors import (
    EmptyStorageError,
    StorageUnavailableError,
    StudyNotFoundError,
    TunerError,
)
from tuner.worker.pauses import Pauses

Answer = TypeVar("Answer")

#: Seconds of the first pause between tries, and of the longest.
FIRST_SECONDS, LONGEST_SECONDS = 0.5, 10.0


class Patience:
    """Asks again until there is an answer, for some time.

    Args:
        minutes: How long; 0 for one try.
        for_study: Whether to wait for tables and studies too that are not there yet.
    """

    def __init__(self, minutes: float = 0.0, *, for_study: bool = False) -> None:
        self._minutes = minutes
        self._ends = time.monotonic() + 60 * minutes
        missing = (EmptyStorageError, StudyNotFoundError) if for_study else ()
        self._waited_for = (StorageUnavailableError, *missing)

    def ask(self, ask: Callable[[], Answer]) -> Answer:
        """Ask the database, and wait while what is asked for may still come.

        Args:
            ask: Opens, looks or creates; is called anew after each failure.

        Raises:
            StorageUnavailableError: The database is still away.
            InputError: It is there, and the answer is no.
        """
        pauses = Pauses(first=FIRST_SECONDS, longest=LONGEST_SECONDS)
        told: type[TunerError] | None = None
        while True:
            try:
                return ask()
            except self._waited_for as error:
                left = self._ends - time.monotonic()
                if left <= 0:
                    raise
                if type(error) is not told:  # once for each thing that is waited for
                    say(f"{error} Waiting for it, up to {self._minutes:g} min.")
                    told = type(error)
                time.sleep(min(left, pauses.next()))


def end_at_sigterm() -> None:
    """Let SIGTERM end a process that holds nothing yet, also one that a container began with."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
