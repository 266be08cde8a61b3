"""Slots: each budgeted trial is done once, by one holder at a time, and nobody else can write."""

import json
import math
import secrets
from dataclasses import replace
from datetime import datetime
from typing import Any

from optuna.storages._rdb import models
from sqlalchemy import and_, case, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tuner.domain import Scalar, point_key
from tuner.errors import LostSlotError
from tuner.storage.database import Database, translated
from tuner.storage.schema import SLOTS, epoch_seconds
from tuner.storage.values import (
    Claim,
    Ending,
    PointTakenError,
    Proposal,
    SlotCounts,
    TrialEndedOutsideError,
)

#: Seconds that a slot stays its holder's without a sign of life.
LEASE = 60.0


class Slots:
    """The slots of one study, as one worker sees them.

    Every write to Optuna's tables for a held slot happens in one transaction with an update of the
    slot that names the token, and is rolled back when that hits no row.

    Args:
        database: Where they are.
        study_id: Whose they are.
        worker: Who claims, for people to read.
    """

    def __init__(self, database: Database, study_id: int, *, worker: str) -> None:
        self.database = database
        self.study_id = study_id
        self.worker = worker

    # --- claim, renew, release ---------------------------------------------------------------

    def claim(self) -> Claim | None:
        """Take a slot: an abandoned one before a fresh one; None where there is none to take."""
        token = secrets.randbits(63)
        candidate = (
            select(SLOTS.c.slot)
            .where(
                SLOTS.c.study_id == self.study_id,
                or_(
                    SLOTS.c.state == "free",
                    and_(SLOTS.c.state == "held", SLOTS.c.expires_at < epoch_seconds()),
                ),
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
        statement = (
            update(SLOTS)
            .where(SLOTS.c.study_id == self.study_id, SLOTS.c.slot == candidate)
            .values(
                state="held",
                token=token,
                worker=self.worker,
                attempts=SLOTS.c.attempts + 1,
                expires_at=epoch_seconds() + LEASE,
            )
            .returning(SLOTS.c.slot, SLOTS.c.trial_id, SLOTS.c.planned, SLOTS.c.attempts)
        )
        with self.database.transaction() as session:
            row = session.execute(statement).one_or_none()
            if row is None:
                return None
            trial = session.get(models.TrialModel, row.trial_id) if row.trial_id else None
            number = int(trial.number) if trial else None
        return Claim(
            study_id=self.study_id,
            slot=row.slot,
            token=token,
            trial_id=row.trial_id,
            number=number,
            planned=json.loads(row.planned) if row.planned else {},
            attempts=row.attempts,
        )

    def renew(self, claim: Claim) -> None:
        """Prolong the lease.

        Raises:
            LostSlotError: Another worker has the slot.
        """
        with self.database.transaction() as session:
            self._prove(session, claim)

    def release(self, claim: Claim, *, tried: bool = False) -> None:
        """Hand the slot back as it is; the next claim goes on with its trial.

        Args:
            claim: The slot.
            tried: Whether this claim counts as an attempt that came to nothing.

        Raises:
            LostSlotError: Another worker has the slot, or it is done.
        """
        changes = {"state": "free", "token": None, "worker": None, "expires_at": 0.0}
        attempts = SLOTS.c.attempts if tried else SLOTS.c.attempts - 1
        with self.database.transaction() as session:
            self._prove(session, claim, attempts=attempts, **changes)

    def counts(self) -> SlotCounts:
        """Count the slots by state."""
        with self.database.transaction() as session:
            return count_slots(session, self.study_id)

    # --- open ----------------------------------------------------------------------------------

    def taken_points(self, *, except_slot: int) -> set[str]:
        """List the points of a finite space that other slots have, as `point_key` writes them."""
        statement = select(SLOTS.c.point).where(
            SLOTS.c.study_id == self.study_id,
            SLOTS.c.point.is_not(None),
            SLOTS.c.slot != except_slot,
        )
        with self.database.transaction() as session:
            return set(session.scalars(statement))

    def open(self, claim: Claim, proposal: Proposal) -> Claim:
        """Create the slot's trial, running and with all its params, in one transaction.

        Args:
            claim: A held slot without a trial.
            proposal: Its point.

        Returns:
            The claim with Optuna's trial id.

        Raises:
            LostSlotError: Another worker has the slot.
            PointTakenError: Another slot has that point of a finite space.
        """
        with translated(self.database.name), Session(self.database.engine) as session:
            try:
                point = point_key(proposal.trial.params) if proposal.unique else None
                params = json.dumps(dict(proposal.params))
                self._prove(session, claim, point=point, params=params)
            except IntegrityError as error:
                raise PointTakenError from error
            # Trial numbers are counted: one at a time.
            models.StudyModel.find_or_raise_by_id(self.study_id, session, for_update=True)
            trial = self.database.rdb._get_prepared_new_trial(
                self.study_id, proposal.trial, session
            )
            trial_id, number = int(trial.trial_id), int(trial.number)
            self._prove(session, claim, trial_id=trial_id)
            session.commit()
        return replace(claim, trial_id=trial_id, number=number)

    def params(self, claim: Claim) -> dict[str, Scalar]:
        """Read the whole set of hyperparameters of the slot's open trial."""
        statement = select(SLOTS.c.params).where(
            SLOTS.c.study_id == claim.study_id, SLOTS.c.slot == claim.slot
        )
        with self.database.transaction() as session:
            params: dict[str, Scalar] = json.loads(session.scalars(statement).one())
        return params

    # --- report, close -------------------------------------------------------------------------

    def reported_steps(self, trial_id: int) -> set[int]:
        """List the steps that the database has of a trial."""
        table = models.TrialIntermediateValueModel
        with self.database.transaction() as session:
            return set(session.scalars(select(table.step).where(table.trial_id == trial_id)))

    def rivals(self, claim: Claim, step: int) -> list[float]:
        """Read what the study's other trials reported at a step, NaN left out."""
        values, trials = models.TrialIntermediateValueModel, models.TrialModel
        statement = (
            select(values.intermediate_value, values.intermediate_value_type)
            .join(trials, trials.trial_id == values.trial_id)
            .where(
                trials.study_id == self.study_id,
                values.step == step,
                values.trial_id != claim.trial_id,
            )
        )
        with self.database.transaction() as session:
            rows = session.execute(statement).all()
        stored = [values.stored_repr_to_intermediate_value(value, kind) for value, kind in rows]
        return [value for value in stored if not math.isnan(value)]

    def report(self, claim: Claim, step: int, value: float, ending: Ending | None = None) -> None:
        """Write one report and, where it is the trial's last, the end with it.

        Args:
            claim: The slot, with its trial.
            step: When, in the unit of the objective.
            value: The metric then.
            ending: How the trial ends with this report; None where it goes on.

        Raises:
            LostSlotError: Another worker has the slot.
            TrialEndedOutsideError: Somebody else finished the trial.
        """
        self._write(claim, report=(step, value), ending=ending)

    def close(self, claim: Claim, ending: Ending) -> None:
        """Write value, state and attributes and mark the slot done, all at once.

        Raises:
            LostSlotError: Another worker has the slot.
            TrialEndedOutsideError: Somebody else finished the trial.
        """
        self._write(claim, report=None, ending=ending)

    def _write(
        self, claim: Claim, *, report: tuple[int, float] | None, ending: Ending | None
    ) -> None:
        rdb, trial_id = self.database.rdb, claim.open_trial_id
        with self.database.transaction() as session:
            finished = {"state": "done", "token": None, "expires_at": 0.0} if ending else {}
            self._prove(session, claim, **finished)
            trial = session.get(models.TrialModel, trial_id, with_for_update=True)
            ended_outside = trial is None or trial.state.is_finished()
            if trial is None or ended_outside:
                done = SLOTS.c.study_id == claim.study_id, SLOTS.c.slot == claim.slot
                session.execute(update(SLOTS).where(*done).values(state="done", token=None))
            else:
                if report is not None:
                    rdb._set_trial_intermediate_value_without_commit(session, trial_id, *report)
                if ending is not None:
                    self._end(session, trial, ending)
        if ended_outside:
            raise TrialEndedOutsideError

    def _end(self, session: Session, trial: models.TrialModel, ending: Ending) -> None:
        rdb, trial_id = self.database.rdb, int(trial.trial_id)
        for key, fact in ending.attributes.items():
            rdb._set_trial_attr_without_commit(
                session, models.TrialUserAttributeModel, trial_id, key, fact
            )
        for key, violation in ending.constraints.items():
            name = f"constraints:{key}"
            rdb._set_trial_attr_without_commit(
                session, models.TrialSystemAttributeModel, trial_id, name, violation
            )
        if ending.value is not None:
            rdb._set_trial_value_without_commit(session, trial, 0, ending.value)
        trial.state = ending.state
        trial.datetime_complete = datetime.now()

    def _prove(self, session: Session, claim: Claim, **changes: Any) -> None:
        """Touch the slot by its token: the fence, and a renewal of the lease with it."""
        mine = (
            SLOTS.c.study_id == claim.study_id,
            SLOTS.c.slot == claim.slot,
            SLOTS.c.token == claim.token,
        )
        values = {"expires_at": epoch_seconds() + LEASE} | changes
        touched = session.execute(update(SLOTS).where(*mine).values(values).returning(SLOTS.c.slot))
        if touched.one_or_none() is None:
            raise LostSlotError(
                f"Slot {claim.slot} is another worker's now; nothing was written to it."
            )


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
