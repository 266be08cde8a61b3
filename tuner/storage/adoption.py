"""Which held slots a worker may take over: those that it has itself seen left alone."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tuner.host import Holder, is_gone


@dataclass(frozen=True, kw_only=True)
class HeldSlot:
    """A slot that another worker holds, or held."""

    #: Its place in the budget.
    slot: int
    #: Proof of that hold.
    token: int
    #: Who holds it.
    holder: Holder
    #: End of the lease; epoch seconds, the database's clock.
    expires_at: float
    #: Whether that is over, by the database's clock.
    expired: bool


class Watch:
    """Remembers what a worker has seen of others' leases.

    A lease that ran out is still its holder's until somebody takes the slot. After an outage of
    the database every lease has run out, and the owners shall come first: so a slot is taken over
    only after it was seen unrenewed for a third of a lease, counted from the last time that the
    database was away. A holder on this machine whose process is gone is not waited for.

    Args:
        holder: The worker itself.
        lease: Seconds that a slot stays its holder's without a sign of life.
        clock: Seconds that never go back.
    """

    def __init__(
        self, holder: Holder, *, lease: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._holder = holder
        self._patience = lease / 3
        self._clock = clock
        self._seen: dict[int, tuple[int, float, float]] = {}  # slot: token, end of lease, since

    def forget(self) -> None:
        """Begin anew: the database was away, and nobody could renew."""
        self._seen.clear()

    def adoptable(self, held: Sequence[HeldSlot]) -> list[HeldSlot]:
        """Choose the slots that may be taken over now.

        Args:
            held: Every slot whose lease has run out or whose holder is on this machine.
        """
        now = self._clock()
        seen: dict[int, tuple[int, float, float]] = {}
        chosen: list[HeldSlot] = []
        for row in held:
            if row.expired:
                token, end, since = self._seen.get(row.slot, (None, None, now))
                if (token, end) != (row.token, row.expires_at):
                    since = now
                seen[row.slot] = (row.token, row.expires_at, since)
                if now - since >= self._patience:
                    chosen.append(row)
                    continue
            theirs = row.holder
            # A worker holds one slot at a time: what it holds while it claims is forgotten.
            if theirs == self._holder or is_gone(
                machine=theirs.machine, pid=theirs.pid, started=theirs.started
            ):
                chosen.append(row)
        self._seen = seen
        return chosen
