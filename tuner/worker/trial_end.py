"""How a trial ends in the database, by itself or before its time; or its slot is free again."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.trial import TrialState

from tuner.errors import StudyStoppedError
from tuner.metrics import STEPS_PER_EPOCH
from tuner.storage import (
    Claim,
    Database,
    Ending,
    Slots,
    StoredStudy,
    count_equal_failures,
    end_study,
)
from tuner.worker.outage import Outage

log = logging.getLogger(__name__)

#: Distinct points that fail in the same way before the study is stopped.
MAX_EQUAL_FAILURES = 3


class TrialEnd:
    """Closes one trial, or frees its slot; waits for a database that is away.

    Args:
        database: Where the study is.
        study: The study.
        slots: Its slots.
        claim: The slot, with its open trial.
        outage: Whether the database is away.
        facts: Gives what is to be stored with any trial.
    """

    def __init__(
        self,
        database: Database,
        study: StoredStudy,
        slots: Slots,
        claim: Claim,
        outage: Outage,
        facts: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._database = database
        self._study = study
        self._config = study.config
        self._slots = slots
        self._claim = claim
        self._outage = outage
        self._facts = facts
        #: Whether the database has the trial as ended.
        self.is_closed = False

    def close(
        self,
        state: TrialState,
        value: float | None,
        attributes: Mapping[str, Any],
        constraints: Mapping[str, float] | None = None,
        further: Sequence[float] = (),
    ) -> None:
        """Store the end, and the slot as done.

        Args:
            state: How it ended.
            value: Its value, or the last one that it reported.
            attributes: What is known besides.
            constraints: What it violated, and by how much.
            further: Further objectives, where they are not sizes alone.

        Raises:
            LostSlotError: Another worker has the slot.
            TrialEndedOutsideError: Somebody else finished the trial.
        """
        ending = Ending(
            state=state,
            value=value,
            attributes={**self._facts(), **attributes},
            constraints=constraints or {},
            further=further,
        )
        self._outage.bridge(lambda: self._slots.close(self._claim, ending))
        self.is_closed = True

    def close_early(
        self,
        reason: str,
        last_value: float | None,
        constraints: Mapping[str, float] | None = None,
    ) -> None:
        """End the trial before its time, for a reason that people and perhaps the sampler learn."""
        log.info("trial %s: %s", self._claim.number, reason)
        self.close(TrialState.PRUNED, last_value, {"reason": reason}, constraints)

    def close_slow(self, seconds: float, last: tuple[int, float] | None) -> None:
        """End a trial that takes longer than it may, and tell the sampler by how much.

        Args:
            seconds: That it took.
            last: Step and value of its last report; None before the first.
        """
        limit = self._config.budget.trial_minutes or 0.0
        steps = self._config.budget.epochs * STEPS_PER_EPOCH
        last_step, last_value = last or (1, None)
        needed = seconds / 60 * steps / last_step  # minutes, as far as one can tell
        self.close_early(
            f"time: slower than budget.trial_minutes = {limit:g}",
            last_value,
            {"trial_minutes": max(needed / limit - 1, 1e-3)},
        )

    def close_failed(
        self, failed_at: str, reason: str, traceback: str, facts: Mapping[str, Any]
    ) -> None:
        """Store a failure, and stop the study where different points fail alike.

        Args:
            failed_at: The same for the same kind of failure.
            reason: In a few words.
            traceback: In many.
            facts: What is known besides.

        Raises:
            StudyStoppedError: Different points fail alike.
        """
        log.error("trial %s failed: %s\n%s", self._claim.number, reason, traceback)
        more = {"reason": reason, "traceback": traceback, "failed_at": failed_at}
        self.close(TrialState.FAIL, None, {**facts, **more})
        n_equal = self._outage.bridge(
            lambda: count_equal_failures(self._database, self._study, failed_at)
        )
        if n_equal >= MAX_EQUAL_FAILURES:
            name = self._config.name
            why = (
                f"{n_equal} different points failed in the same way, at {failed_at}, so the study "
                f"was stopped. Mend it, then `tuner retry {name}` gives the failed slots another "
                f"go. The last one:\n{traceback}"
            )
            self._outage.bridge(
                lambda: end_study(self._database, self._study, reason="bug", message=why)
            )
            raise StudyStoppedError(why)

    def release(self, claim: Claim) -> None:
        """Free the slot for another go.

        Args:
            claim: The same slot, with what is to be remembered.
        """
        self._outage.bridge(lambda: self._slots.release(claim))
