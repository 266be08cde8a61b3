"""A database that is away: how long already, when to ask again, when to give up."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from tuner.errors import StorageUnavailableError
from tuner.worker.pauses import Pauses

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

#: Seconds of the first pause; each further one is twice as long ...
FIRST_PAUSE = 0.5
#: ... up to this share of a lease, so that owners come back before anybody may take over.
LONGEST_PAUSE = 1 / 6


class Outage:
    """Counts how long the database has been away.

    Args:
        patience: Seconds after which to give up.
        lease: Seconds that a slot stays its holder's without a sign of life.
        when_lost: Called at every failure.
        pause: Waits so many seconds; may raise to end the waiting.
    """

    def __init__(
        self,
        *,
        patience: float,
        lease: float,
        when_lost: Callable[[], None],
        pause: Callable[[float], None],
    ) -> None:
        self._patience = patience
        self._pauses = Pauses(first=FIRST_PAUSE, longest=LONGEST_PAUSE * lease)
        self._when_lost = when_lost
        self._wait = pause
        self._since: float | None = None
        self._next = 0.0

    @property
    def is_on(self) -> bool:
        """Whether the database was away when it was last asked."""
        return self._since is not None

    @property
    def seconds_to_wait(self) -> float:
        """Until the database should be asked again; 0 while it is there."""
        return max(0.0, self._next - time.monotonic()) if self.is_on else 0.0

    def failed(self, error: StorageUnavailableError) -> None:
        """Note that the database did not answer.

        Raises:
            StorageUnavailableError: It has not for too long.
        """
        now = time.monotonic()
        self._when_lost()
        if self._since is None:
            self._since = now
            self._pauses.restart()
            log.warning("%s Waiting up to %.0f min for it.", error, self._patience / 60)
        if now - self._since >= self._patience:
            raise StorageUnavailableError(
                f"{error} It has been away for {now - self._since:.0f} s, which is as long as "
                f"this worker waits. Start it again when the database is back."
            ) from error
        self._next = now + self._pauses.next()

    def succeeded(self) -> None:
        """Note that the database answered."""
        if self._since is not None:
            log.warning("The database is back after %.0f s.", time.monotonic() - self._since)
            self._since = None

    def bridge(self, ask: Callable[[], Answer]) -> Answer:
        """Ask the database until it answers.

        Args:
            ask: What can be asked again when nobody knows whether it was done.

        Raises:
            StorageUnavailableError: The database was away for too long.
        """
        while True:
            try:
                answer = ask()
            except StorageUnavailableError as error:
                self.failed(error)
                self._wait(self.seconds_to_wait)
            else:
                self.succeeded()
                return answer
