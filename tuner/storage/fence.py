"""The fence: for a held slot nobody writes but who holds its token."""

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tuner.errors import LostSlotError
from tuner.storage.schema import SLOTS, epoch_seconds
from tuner.storage.values import Claim

#: What a slot is once it was handed back ...
FREE: dict[str, Any] = {
    "state": "free",
    "worker": None,
    "machine": None,
    "pid": None,
    "expires_at": 0.0,
}
#: ... and once its trial has ended; the token stays, so that an unclear commit can be read.
DONE: dict[str, Any] = {
    "state": "done",
    "expires_at": 0.0,
    "closed_at": epoch_seconds(),
    "attempts": 0,
}


class Fence:
    """Touches slots of one study by their tokens, inside somebody else's transaction.

    Args:
        study_id: Whose they are.
        lease: Seconds that a slot stays its holder's without a sign of life.
    """

    def __init__(self, study_id: int, *, lease: float) -> None:
        self.study_id = study_id
        self.lease = lease

    def prove(self, session: Session, claim: Claim, **changes: Any) -> int | None:
        """Touch the slot by its token: the fence, and a renewal of the lease with it.

        Args:
            session: An open transaction, which fails where the slot is not ours.
            claim: The slot, with its token.
            changes: What else becomes of it.

        Returns:
            The slot's trial.

        Raises:
            LostSlotError: Another worker has the slot.
        """
        held = (
            SLOTS.c.study_id == self.study_id,
            SLOTS.c.slot == claim.slot,
            SLOTS.c.token == claim.token,
            SLOTS.c.state == "held",
        )
        values = {"expires_at": epoch_seconds() + self.lease} | changes
        touched = session.execute(
            update(SLOTS).where(*held).values(values).returning(SLOTS.c.trial_id)
        ).one_or_none()
        if touched is None:
            raise LostSlotError(
                f"Slot {claim.slot} is not ours any more; nothing was written to it."
            )
        trial_id: int | None = touched.trial_id
        return trial_id

    def change(self, session: Session, slot: int, **changes: Any) -> None:
        """Change a slot in a transaction that has proved the hold of it."""
        mine = SLOTS.c.study_id == self.study_id, SLOTS.c.slot == slot
        session.execute(update(SLOTS).where(*mine).values(changes))

    def state_left(self, session: Session, claim: Claim) -> str | None:
        """Read the state of a slot that nobody has claimed after this claim; None where one has."""
        state: str | None = session.scalar(
            select(SLOTS.c.state).where(
                SLOTS.c.study_id == self.study_id,
                SLOTS.c.slot == claim.slot,
                SLOTS.c.token == claim.token,
            )
        )
        return state
