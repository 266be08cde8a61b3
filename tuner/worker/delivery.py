"""What a training reports on its way to the database, in order, whatever happens to that."""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from optuna.trial import TrialState

from tuner.config import StudyConfig
from tuner.errors import StorageUnavailableError
from tuner.storage import Claim, Ending, Slots
from tuner.strategy import Verdict, make_rule
from tuner.worker.outage import Outage

log = logging.getLogger(__name__)


class Delivery:
    """Delivers the reports of one claim, judges each once, and keeps the lease.

    While the database is away, reports are kept; the training does not notice.

    Args:
        slots: Where to.
        claim: The slot, with its open trial.
        config: The study.
        outage: Whether the database is away.
        facts: Gives what is to be stored with the trial when it ends.
    """

    def __init__(
        self,
        slots: Slots,
        claim: Claim,
        config: StudyConfig,
        outage: Outage,
        facts: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._slots = slots
        self._claim = claim
        self._config = config
        self._outage = outage
        self._facts = facts
        self._rule = make_rule(config.pruner.name, epochs=config.budget.epochs)
        self._waiting: deque[tuple[int, float]] = deque()
        self._reports = dict(claim.reports)
        #: Whether the study goes on, as far as we know.
        self.standing = claim.standing
        self._renew_at = self._next_renewal()
        #: What was reported last.
        self.last: tuple[int, float] | None = max(claim.reports.items(), default=None)
        #: Whether the database has anything that it had not when the claim began.
        self.progressed = False

    def add(self, step: int, value: float) -> None:
        """Take a report; one that an earlier claim delivered, and that was judged then, is not."""
        if step not in self._reports:
            self._reports[step] = value
            self._waiting.append((step, value))
            self.last = (step, value)

    @property
    def seconds_to_wait(self) -> float:
        """Until there is something to do, if no report comes."""
        if self._outage.is_on:
            return self._outage.seconds_to_wait
        return max(0.0, self._renew_at - time.monotonic())

    def work(self) -> bool:
        """Deliver what waits, and renew the lease when it is time.

        Returns:
            Whether the trial ended with a report: pruned.

        Raises:
            LostSlotError: Another worker has the slot.
            TrialEndedOutsideError: Somebody else finished the trial.
            StudyNotFoundError: The study was deleted.
            StorageUnavailableError: The database has been away for too long.
        """
        if self._outage.seconds_to_wait > 0:
            return False
        try:
            if time.monotonic() >= self._renew_at:
                self._renew()
            return self.finish()
        except StorageUnavailableError as error:
            self._outage.failed(error)
        return False

    def finish(self) -> bool:
        """Deliver all that waits, now.

        Returns:
            Whether the trial ended with a report: pruned.

        Raises:
            StorageUnavailableError: The database is away; call it again later.
        """
        while self._waiting:
            if self._deliver(*self._waiting[0]):
                return True
            self._waiting.popleft()
        return False

    def _renew(self) -> None:
        self.standing = self._slots.renew(self._claim)
        self._outage.succeeded()
        self._renew_at = self._next_renewal()

    def _next_renewal(self) -> float:
        pause, left = self._slots.lease / 3, self.standing.seconds_left
        if left is not None and self.standing.ended is None:  # its end is to be noticed at once
            pause = min(pause, left + 0.01)
        return time.monotonic() + pause

    def _deliver(self, step: int, value: float) -> bool:
        verdict = self._judge(step)
        ending = None
        if verdict is not None and verdict.prune:
            ending = Ending(
                state=TrialState.PRUNED,
                value=value,
                attributes={**self._facts(), "reason": f"pruned: {verdict.reason}"},
                constraints={},
            )
        self._slots.report(self._claim, step, value, ending)
        self._outage.succeeded()
        self.progressed = True
        if ending is not None:
            log.info("trial %s: %s", self._claim.number, ending.attributes["reason"])
        return ending is not None

    def _judge(self, step: int) -> Verdict | None:
        """Judge one report, as if what was reported after it were not known yet."""
        rung = None if self._rule is None else self._rule.rung(step)
        if self._rule is None or rung is None:
            return None
        rivals = self._slots.rivals(self._claim, rung)
        reports = {at: value for at, value in self._reports.items() if at <= step}
        return self._rule.verdict(reports, rivals, self._config.direction)
