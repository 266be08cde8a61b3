"""The default rule that ends hopeless trials: successive halving by the reports themselves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tuner.metrics import STEPS_PER_EPOCH, Direction, best_so_far
from tuner.strategy.rule import UNJUDGED, Verdict

#: Rungs of a long trial. Each divides the trials by the same factor.
MAX_RUNGS = 3


@dataclass(frozen=True, kw_only=True)
class RungRule:
    """Successive halving that is asynchronous, keeps no state, and looks at a rung again.

    Up to three rungs divide the way of a trial geometrically: with E epochs they lie after 1,
    E^(1/3) and E^(2/3) of them, rounded up, and one in E^(1/3) goes on at each, so that one in E
    trains to its end. Their number is rounded up, as the ranks of few trials are mostly chance. At
    each later report a trial's place at the last rung is looked up again, among all that have been
    there by now: who came first has no advantage.

    With few epochs, where the first one is a large part of all there is to save, a rung so ends
    few trials; with many it ends most.

    References:
        Li et al. 2020, arXiv:1810.05934 (ASHA), in which a trial that has passed a rung first is
        never looked at again, and the factor is a setting.
    """

    #: Epochs of a trial that runs to its end.
    epochs: int

    @cached_property
    def factor(self) -> float:
        """One in so many goes on at each rung."""
        return float(self.epochs ** (1 / max(1, self._n_rungs)))

    @property
    def _n_rungs(self) -> int:
        return min(MAX_RUNGS, self.epochs - 1)

    @cached_property
    def rungs(self) -> tuple[int, ...]:
        """Steps of the rungs."""
        # Rounded first, as a root of a whole number may come out a little too large.
        after = [math.ceil(round(self.factor**k, 9)) for k in range(self._n_rungs)]
        return tuple(epoch * STEPS_PER_EPOCH for epoch in after)

    def rung(self, step: int) -> int | None:
        """Give the last rung that a trial has come to; see `Rule.rung`.

        The last report of a trial is not judged, nor are those of the first epoch, which see a
        part of the validation set.
        """
        if step >= self.epochs * STEPS_PER_EPOCH:
            return None
        return max((rung for rung in self.rungs if rung <= step), default=None)

    def verdict(
        self, reports: Mapping[int, float], rivals: Sequence[float], direction: Direction
    ) -> Verdict:
        """Judge the last of a trial's reports; see `Rule.verdict`."""
        step = max(reports)
        if math.isnan(reports[step]):
            return Verdict(prune=True, reason=f"step {step}: the metric is not a number")
        rung = self.rung(step)
        value = None if rung is None else best_so_far(reports, rung, direction)
        if value is None:
            return UNJUDGED
        n_values = len(rivals) + 1
        n_kept = math.ceil(round(n_values / self.factor, 9))
        better = [r for r in rivals if (r > value if direction == "maximize" else r < value)]
        rank = len(better) + 1
        ordered = sorted([*rivals, value], reverse=direction == "maximize")
        looked_up = "" if step == rung else f", looked up at step {step}"
        return Verdict(
            prune=rank > n_kept,
            reason=f"step {rung}: {value:.4f} is rank {rank} of {n_values}, "
            f"the best {n_kept} go on (from {ordered[n_kept - 1]:.4f}){looked_up}",
        )
