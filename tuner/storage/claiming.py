"""Taking a slot: an abandoned one before a fresh one, and never from somebody who lives."""

from typing import Any

from sqlalchemy import ColumnElement, FromClause, Row, and_, case, exists, or_, select, update
from sqlalchemy.orm import Session

from tuner.host import Holder
from tuner.storage.adoption import HeldSlot, Watch
from tuner.storage.schema import SLOTS, STATES, epoch_seconds
from tuner.storage.values import StoredStudy


class Claiming:
    """Takes slots of one study for one worker.

    Args:
        study: Whose they are.
        holder: The worker.
        lease: Seconds that a slot stays its holder's without a sign of life.
        watch: What was seen of others' leases.
    """

    def __init__(self, study: StoredStudy, holder: Holder, *, lease: float, watch: Watch) -> None:
        self.study = study
        self.study_id = study.study_id
        self.holder = holder
        self.lease = lease
        self._watch = watch

    def take(self, session: Session, token: int) -> Any:
        """Give the row of a slot that is ours now; None where there is none to take."""
        return self._take_held(session, token) or self._take_free(session, token)

    def _take_held(self, session: Session, token: int) -> Any:
        statement = select(*held_columns(SLOTS)).where(
            SLOTS.c.study_id == self.study_id, is_suspect(SLOTS, self.holder)
        )
        rows = session.execute(statement).all()
        held = [held_slot(row) for row in rows]
        for found in held:
            if found.token == token:  # the commit was done although its answer got lost
                return self._take(session, token, found.slot, SLOTS.c.token == token)
        for found in self._watch.adoptable(held):
            row = self._take(session, token, found.slot, SLOTS.c.token == found.token)
            if row is not None:
                return row
        return None

    def _take_free(self, session: Session, token: int) -> Any:
        going_on = exists().where(STATES.c.study_id == self.study_id, STATES.c.ended.is_(None))
        free = (
            select(SLOTS.c.slot)
            .where(
                SLOTS.c.study_id == self.study_id,
                SLOTS.c.state == "free",
                or_(SLOTS.c.trial_id.is_not(None), going_on),
            )
            .order_by(
                SLOTS.c.trial_id.is_(None),  # what somebody began
                case((SLOTS.c.origin == "enqueued", 0), else_=1),  # what somebody asked for
                SLOTS.c.slot,
            )
            .limit(1)
            .with_for_update(skip_locked=True)  # SQLite has one writer and ignores it
            .scalar_subquery()
        )
        return self._take(session, token, free, SLOTS.c.state == "free")

    def _take(self, session: Session, token: int, slot: Any, condition: ColumnElement[bool]) -> Any:
        """Write ourselves into a slot, where it is as we saw it; never wait for its row."""
        unlocked = (
            select(SLOTS.c.slot)
            .where(SLOTS.c.study_id == self.study_id, SLOTS.c.slot == slot, condition)
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
        chosen = slot if not isinstance(slot, int) else unlocked
        mine = exists().where(STATES.c.study_id == self.study_id, STATES.c.key == self.study.key)
        return session.execute(
            update(SLOTS)
            .where(SLOTS.c.study_id == self.study_id, SLOTS.c.slot == chosen, condition, mine)
            .values(
                state="held",
                token=token,
                worker=self.holder.name,
                machine=self.holder.machine,
                pid=self.holder.pid,
                pid_started=self.holder.started,
                expires_at=epoch_seconds() + self.lease,
            )
            .returning(
                SLOTS.c.slot,
                SLOTS.c.trial_id,
                SLOTS.c.planned,
                SLOTS.c.params,
                SLOTS.c.attempts,
                SLOTS.c.micro_batches,
            )
        ).one_or_none()


def is_suspect(slots: FromClause, holder: Holder) -> ColumnElement[bool]:
    """Say of a slot that it is held, and either its lease is over or its holder on our machine."""
    expired = slots.c.expires_at < epoch_seconds()
    return and_(slots.c.state == "held", or_(expired, slots.c.machine == holder.machine))


def held_columns(slots: FromClause) -> list[ColumnElement[Any]]:
    """List what `held_slot` reads."""
    c = slots.c
    expired = case((c.expires_at < epoch_seconds(), 1), else_=0).label("expired")
    return [c.slot, c.token, c.worker, c.machine, c.pid, c.pid_started, c.expires_at, expired]


def held_slot(row: Row[Any]) -> HeldSlot:
    """Read the `held_columns` of a slot."""
    holder = Holder(name=row.worker, machine=row.machine, pid=row.pid, started=row.pid_started)
    return HeldSlot(
        slot=row.slot,
        token=row.token,
        holder=holder,
        expires_at=row.expires_at,
        expired=bool(row.expired),
    )
