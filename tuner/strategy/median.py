"""A gentle rule that ends hopeless trials: worse than the median, and not getting better."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuner.metrics import STEPS_PER_EPOCH, Direction, best_so_far
from tuner.strategy.rule import UNJUDGED, Verdict


@dataclass(frozen=True, kw_only=True)
class MedianRule:
    """Ends a trial that is below the median and has not improved for a while.

    After each epoch, a trial's best value so far is compared with the median of the other trials'
    best values by then.

    References:
        Golovin et al. 2017, doi:10.1145/3097983.3098043, section 3.2.2 (the median stopping rule).
    """

    #: Epochs of a trial that runs to its end.
    epochs: int
    #: Epochs without a better value after which a trial may end; 0 compares from the first on.
    patience: int = 1
    #: Other trials that must have come as far.
    n_rivals: int = 4

    def rung(self, step: int) -> int | None:
        """Compare at the end of each epoch but the last; see `Rule.rung`."""
        ends_epoch = step >= STEPS_PER_EPOCH and step % STEPS_PER_EPOCH == 0
        return step if ends_epoch and step < self.epochs * STEPS_PER_EPOCH else None

    def verdict(
        self, reports: Mapping[int, float], rivals: Sequence[float], direction: Direction
    ) -> Verdict:
        """Judge the last of a trial's reports; see `Rule.verdict`."""
        step = max(reports)
        if math.isnan(reports[step]):
            return Verdict(prune=True, reason=f"step {step}: the metric is not a number")
        value = None if self.rung(step) is None else best_so_far(reports, step, direction)
        if value is None or len(rivals) < self.n_rivals:
            return UNJUDGED
        reached = min(s for s, v in reports.items() if s >= STEPS_PER_EPOCH and v == value)
        n_since = sum(reached < s for s in reports)
        median = statistics.median(rivals)
        is_worse = value < median if direction == "maximize" else value > median
        return Verdict(
            prune=is_worse and n_since >= self.patience,
            reason=f"step {step}: {value:.4f} is {'worse' if is_worse else 'not worse'} than the "
            f"median {median:.4f} of {len(rivals)} others, reached at step {reached}",
        )
