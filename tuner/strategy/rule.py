"""What every rule that ends hopeless trials has in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tuner.metrics import Direction


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a rule says of one report."""

    #: Whether the trial should end here.
    prune: bool
    #: Why, for a person; empty where there was nothing to compare.
    reason: str


#: What a rule says of a report that it does not judge.
UNJUDGED = Verdict(prune=False, reason="")


class Rule(Protocol):
    """Judges each report of a trial once, in order, and keeps nothing between two of them.

    Trials are compared by the best value that they have had by the same step, since that is what
    they are worth; see `tuner.metrics.best_so_far`. So a rule goes as well for a trial that others
    have overtaken, that was adopted, or whose reports come late.
    """

    def rung(self, step: int) -> int | None:
        """Say by which step trials are compared when one reports.

        Args:
            step: Of the report, in parts of an epoch.

        Returns:
            That step or an earlier one; None where the report is not judged.
        """

    def verdict(
        self, reports: Mapping[int, float], rivals: Sequence[float], direction: Direction
    ) -> Verdict:
        """Judge the last of a trial's reports.

        Args:
            reports: All that the trial has reported so far, by step.
            rivals: The best value by the rung's step of each other trial that reported there.
            direction: Which way is better.

        Returns:
            Whether to prune, and why.
        """
