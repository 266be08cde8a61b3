"""Who ends a hopeless trial: the rung rule, pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.config import PrunerName
from tuner.metrics import STEPS_PER_EPOCH, Direction


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the rung rule says of one report."""

    #: Whether the trial should end here.
    prune: bool
    #: Why, for a person; empty where the step is no rung.
    reason: str


@dataclass(frozen=True, kw_only=True)
class RungRule:
    """Successive halving by the reports themselves, asynchronous and without stored state.

    At each rung a trial goes on if it is among the best ``1 / factor`` of all that have reported
    there so far. A rung judges once it has ``factor`` reports.

    References:
        Li et al. 2020, arXiv:1810.05934 (ASHA).
    """

    #: Step of the first rung: one whole epoch, since earlier reports of small data are noise.
    first: int = STEPS_PER_EPOCH
    #: One in so many goes on; each rung is so many times later than the one before.
    factor: int = 3

    def is_rung(self, step: int) -> bool:
        """Say whether a report at this step is judged."""
        rung = self.first
        while rung < step:
            rung *= self.factor
        return rung == step

    def verdict(
        self, value: float, step: int, rivals: Sequence[float], direction: Direction
    ) -> Verdict:
        """Judge one report.

        Args:
            value: What the trial reported.
            step: When, in parts of an epoch.
            rivals: What all other trials reported at that step.
            direction: Which way is better.

        Returns:
            Whether to prune, and why.
        """
        if math.isnan(value):
            return Verdict(prune=True, reason=f"step {step}: the metric is not a number")
        n_values = len(rivals) + 1
        if not self.is_rung(step) or n_values < self.factor:
            return Verdict(prune=False, reason="")
        better = [r for r in rivals if (r > value if direction == "maximize" else r < value)]
        n_kept = math.ceil(n_values / self.factor)
        rank = len(better) + 1
        ordered = sorted([*rivals, value], reverse=direction == "maximize")
        return Verdict(
            prune=rank > n_kept,
            reason=f"step {step}: {value:.4f} is rank {rank} of {n_values}, "
            f"the best {n_kept} go on (from {ordered[n_kept - 1]:.4f})",
        )


def make_rule(name: PrunerName) -> RungRule | None:
    """Build the rule that ends trials; None where every trial runs to its end."""
    return RungRule() if name == "asha" else None
