"""Trainings that were recorded once, as the trials of a study that might have been."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tuner.domain import Scalar
from tuner.metrics import STEPS_PER_EPOCH, Direction
from tuner.space import Space


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One training: its hyperparameters, and what it reported."""

    #: Values of the tuned hyperparameters that counted.
    params: Mapping[str, Scalar]
    #: Step and value of each report, in order; one that is not finite is the last.
    reports: tuple[tuple[int, float], ...]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A list of trainings from which a replay chooses."""

    #: What people call it.
    name: str
    #: Where the hyperparameters come from.
    space: Space
    #: Which way is better.
    direction: Direction
    #: Epochs of a whole training.
    epochs: int
    #: The trainings.
    candidates: tuple[Candidate, ...]
    #: The value whose regret is 0.
    best: float
    #: The value whose regret is 1.
    poor: float
    #: In words, what these two are.
    scale: str

    @property
    def last_step(self) -> int:
        """Step at which a whole training ends; a training's cost is counted in it."""
        return self.epochs * STEPS_PER_EPOCH

    @property
    def n_cut_off(self) -> int:
        """Count the trainings that were ended when they were recorded."""
        return sum(
            step < self.last_step and math.isfinite(value)
            for step, value in (candidate.reports[-1] for candidate in self.candidates)
        )

    def regret(self, value: float | None) -> float:
        """Say how far a value is from the best: 0 for that, 1 for a poor one or none at all."""
        if value is None or not math.isfinite(value):
            return 1.0
        return min(1.0, max(0.0, (value - self.best) / (self.poor - self.best)))
