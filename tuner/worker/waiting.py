"""Waiting for a slot while others hold all that are left."""

from collections.abc import Callable

from tuner.storage.adoption import Watch
from tuner.storage.openings import Opening
from tuner.worker.pauses import Pauses

#: Seconds until a worker looks again for a slot while others hold all that are left; each further
#: pause is longer by a factor ...
IDLE_SECONDS, IDLE_FACTOR = 2.0, 1.5
#: ... up to this share of a lease: with it, a dead worker's slot is found within two leases.
IDLE_SHARE = 1 / 6


def wait_for_slot(
    look: Callable[[], Opening | None],
    watch: Watch,
    *,
    lease: float,
    pause: Callable[[float], None],
) -> bool:
    """Wait until there may be a slot to claim.

    Args:
        look: Reads what the study offers; None where nothing is left of it.
        watch: What was seen of others' leases.
        lease: Seconds that a slot stays its holder's without a sign of life.
        pause: Waits some seconds; may raise.

    Returns:
        Whether there may be one; False where nothing is left.
    """
    pauses = Pauses(
        first=min(IDLE_SECONDS, lease / 10), longest=IDLE_SHARE * lease, factor=IDLE_FACTOR
    )
    opening = look()
    while opening is not None:
        if opening.has_silent_holder:
            pauses.restart()  # to take the slot over as soon as that is allowed
        pause(pauses.next())
        opening = look()
        if opening is not None and opening.has_something(watch):
            return True
    return False
