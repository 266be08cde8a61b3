"""Slots: each budgeted trial is done once, by one holder at a time, and nobody else can write."""

import json
from dataclasses import replace

from optuna.storages._rdb import models
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tuner.domain import point_key
from tuner.errors import LostSlotError
from tuner.host import Holder
from tuner.storage.adoption import Watch
from tuner.storage.claiming import Claiming
from tuner.storage.database import Database
from tuner.storage.fence import DONE, FREE, Fence
from tuner.storage.objectives import objective_values
from tuner.storage.prospects import judge
from tuner.storage.remaining import count_slots, is_nothing_left, unfinished_slots
from tuner.storage.reports import read_reports, read_rivals, table_of_reports
from tuner.storage.schema import SLOTS, USED_UP
from tuner.storage.states import read_standing
from tuner.storage.trial_rows import end_trial, insert_report, insert_trial, state_of
from tuner.storage.trouble import translated
from tuner.storage.values import (
    Claim,
    Ending,
    PointTakenError,
    Proposal,
    SlotCounts,
    Standing,
    StoredStudy,
    TrialEndedOutsideError,
)

#: Seconds that a slot stays its holder's without a sign of life.
LEASE = 60.0


class Slots:
    """The slots of one study, as one worker sees them.

    Every write to Optuna's tables for a held slot happens in one transaction with an update of the
    slot that names the token, and is rolled back when that hits no row.

    Every method can be called again with the same arguments after an error, when nobody knows
    whether the database has done what it was asked: it is done once.

    Args:
        database: Where they are.
        study: Whose they are.
        holder: Who claims.
        lease: Seconds that a slot stays its holder's without a sign of life.
        watch: What was seen of others' leases already.
    """

    def __init__(
        self,
        database: Database,
        study: StoredStudy,
        *,
        holder: Holder,
        lease: float = LEASE,
        watch: Watch | None = None,
    ) -> None:
        self.database = database
        self.study = study
        self.study_id = study.study_id
        self.holder = holder
        self.lease = lease
        self._watch = watch or Watch(holder, lease=lease)
        self._fence = Fence(self.study_id, lease=lease)
        self._claiming = Claiming(study, holder, lease=lease, watch=self._watch)

    def database_was_away(self) -> None:
        """Give other workers time to renew what they hold, before any of it is taken over."""
        self._watch.forget()
        # What a server refused to an old connection, it may allow a new one.
        self.database.engine.dispose()

    # --- claim, renew, release ---------------------------------------------------------------

    def claim(self, token: int) -> Claim | None:
        """Take a slot: an abandoned one before a fresh one; None where there is none to take.

        Of a study that has ended before its budget, only slots with an open trial are given out.

        Args:
            token: Random, never used for another claim.

        Raises:
            StudyNotFoundError: The study was deleted.
        """
        while True:
            with self.database.transaction() as session:
                standing = read_standing(session, self.study, lease=self.lease)
                standing = judge(session, self.study, standing)
                row = self._claiming.take(session, token)
                if row is None:
                    return None
                trial = session.get(models.TrialModel, row.trial_id) if row.trial_id else None
                if trial is not None and trial.state.is_finished():
                    # Somebody ended it from outside while nobody held it.
                    self._fence.change(session, row.slot, **DONE)
                    continue
                if row.trial_id and trial is None:  # somebody deleted it
                    self._fence.change(session, row.slot, trial_id=None)
                if trial is None and standing.ended is not None:
                    # Its holder died before it had a trial: the study gets no new one.
                    self._fence.change(session, row.slot, **FREE)
                    continue
                reports = read_reports(session, self.study, row.trial_id) if trial else {}
                number = int(trial.number) if trial is not None else None
            return Claim(
                slot=row.slot,
                token=token,
                planned=json.loads(row.planned) if row.planned else {},
                standing=standing,
                trial_id=row.trial_id if number is not None else None,
                number=number,
                was_begun=number is not None,
                params=json.loads(row.params) if number is not None else {},
                reports=reports,
                attempts=row.attempts,
                micro_batches=row.micro_batches,
            )

    def renew(self, claim: Claim) -> Standing:
        """Prolong the lease, and look whether the study goes on.

        Raises:
            LostSlotError: Another worker has the slot.
            StudyNotFoundError: The study was deleted.
        """
        with self.database.transaction() as session:
            standing = read_standing(session, self.study, lease=self.lease)
            self._fence.prove(session, claim)
        return standing

    def standing(self) -> Standing:
        """Look whether the study goes on.

        Raises:
            StudyNotFoundError: The study was deleted.
        """
        with self.database.transaction() as session:
            return read_standing(session, self.study, lease=self.lease)

    def release(self, claim: Claim) -> None:
        """Hand the slot back as it is; the next claim goes on with its trial.

        Args:
            claim: The slot, with what is to be remembered of its attempts and micro-batches.

        Raises:
            LostSlotError: Another worker has the slot, or it is done.
        """
        changes = {**FREE, "attempts": claim.attempts, "micro_batches": claim.micro_batches}
        with self.database.transaction() as session:
            try:
                self._fence.prove(session, claim, **changes)
            except LostSlotError:
                if self._fence.state_left(session, claim) != "free":
                    raise
                # The commit was done although its answer got lost.

    def give_up(self, claim: Claim) -> None:
        """Be done with a slot without a trial: there is no point left that it could try.

        Where the space was changed since the claim, there may be one: the slot is handed back.

        Args:
            claim: A held slot without a trial.

        Raises:
            LostSlotError: Another worker has the slot.
        """
        with self.database.transaction() as session:
            standing = read_standing(session, self.study, lease=self.lease)
            is_same = standing.config == claim.standing.config
            changes = {**DONE, "planned": None, "origin": USED_UP} if is_same else FREE
            try:
                self._fence.prove(session, claim, **changes, point=None)
            except LostSlotError:
                if self._fence.state_left(session, claim) not in {"done", "free"}:
                    raise
                # The commit was done although its answer got lost.

    def counts(self) -> SlotCounts:
        """Count the slots by state."""
        with self.database.transaction() as session:
            return count_slots(session, self.study_id)

    def unfinished(self) -> set[int]:
        """List the slots that are not done."""
        with self.database.transaction() as session:
            return unfinished_slots(session, self.study_id)

    def is_over(self) -> bool:
        """Say whether nothing is left to do: no slot to claim, none held, no trial open."""
        with self.database.transaction() as session:
            return is_nothing_left(session, self.study_id)

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
        point = point_key(proposal.trial.params) if proposal.unique else None
        params = json.dumps(dict(proposal.params))
        with translated(self.database.name), Session(self.database.engine) as session:
            try:
                there = self._fence.prove(session, claim, point=point, params=params)
            except IntegrityError as error:
                raise PointTakenError from error
            if there is not None:  # the commit was done although its answer got lost
                session.rollback()
                trial = session.get_one(models.TrialModel, there)
                return replace(
                    claim, trial_id=there, number=int(trial.number), params=proposal.params
                )
            trial_id, number = insert_trial(session, self.study_id, proposal.trial)
            self._fence.change(session, claim.slot, trial_id=trial_id)
            session.commit()
        return replace(claim, trial_id=trial_id, number=number, params=proposal.params)

    # --- report, close -------------------------------------------------------------------------

    def rivals(self, claim: Claim, step: int) -> list[float]:
        """Read what trials were worth by a step that this one is compared with; see `reports`."""
        with self.database.transaction() as session:
            return read_rivals(session, self.study, claim, step)

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
        trial_id = claim.open_trial_id
        reports = table_of_reports(self.study.config)
        values = objective_values(self.study, claim.params, ending) if ending else ()
        what = ""
        with self.database.transaction() as session:
            try:
                there = self._fence.prove(session, claim, **(DONE if ending else {"attempts": 0}))
            except LostSlotError:
                if ending is not None and self._fence.state_left(session, claim) == "done":
                    return  # the commit was done although its answer got lost
                raise
            # The slot's own word: SQLite gives the id of a deleted trial to another one.
            was_running = (
                there == trial_id
                and (report is None or insert_report(session, reports, trial_id, *report))
                and (ending is None or end_trial(session, trial_id, ending, values))
            )
            if not was_running:
                what = self._follow_outside(session, claim, there)
        if what:
            raise TrialEndedOutsideError(what)

    def _follow_outside(self, session: Session, claim: Claim, there: int | None) -> str:
        """Let the slot follow a trial that somebody else ended or deleted; say which."""
        state = state_of(session, there) if there is not None else None
        if state is None:
            self._fence.change(
                session,
                claim.slot,
                state="free",
                token=None,
                trial_id=None,
                expires_at=0.0,
            )
            return f"trial {claim.number} was deleted from outside; its slot is free again"
        self._fence.change(session, claim.slot, **DONE)
        return f"trial {claim.number} was ended from outside, as {state.name}"
