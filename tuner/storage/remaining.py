"""Which slots of a study are left: counted, listed, or none."""

from sqlalchemy import exists, func, or_, select
from sqlalchemy.orm import Session

from tuner.storage.schema import SLOTS, STATES
from tuner.storage.values import SlotCounts


def count_slots(session: Session, study_id: int) -> SlotCounts:
    """Count a study's slots by state."""
    statement = (
        select(SLOTS.c.state, func.count().label("n"))
        .where(SLOTS.c.study_id == study_id)
        .group_by(SLOTS.c.state)
    )
    found = {row.state: int(row.n) for row in session.execute(statement)}
    return SlotCounts(
        free=found.get("free", 0), held=found.get("held", 0), done=found.get("done", 0)
    )


def unfinished_slots(session: Session, study_id: int) -> set[int]:
    """List the slots that are not done."""
    left = SLOTS.c.study_id == study_id, SLOTS.c.state != "done"
    return set(session.scalars(select(SLOTS.c.slot).where(*left)))


def is_nothing_left(session: Session, study_id: int) -> bool:
    """Say whether nothing is left to do: no slot to claim, none held, no trial open."""
    going_on = exists().where(STATES.c.study_id == study_id, STATES.c.ended.is_(None))
    left = select(func.count()).where(
        SLOTS.c.study_id == study_id,
        SLOTS.c.state != "done",
        or_(SLOTS.c.state == "held", SLOTS.c.trial_id.is_not(None), going_on),
    )
    return session.scalar(left) == 0
