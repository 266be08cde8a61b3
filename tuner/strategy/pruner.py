"""The workers' rule as an ordinary Optuna pruner, for a notebook."""

import math

import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial

from tuner.metrics import Direction
from tuner.strategy.rungs import RungRule


class RungPruner(BasePruner):
    """The rung rule as an Optuna pruner, for ``study.optimize`` in a notebook.

    Args:
        rule: The rule; the default is the workers' own.
    """

    def __init__(self, rule: RungRule | None = None) -> None:
        self.rule = rule or RungRule()

    def prune(self, study: optuna.study.Study, trial: FrozenTrial) -> bool:
        """Judge the trial's last report."""
        step = trial.last_step
        if step is None:
            return False
        rivals = [
            other.intermediate_values[step]
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number
            and not math.isnan(other.intermediate_values.get(step, math.nan))
        ]
        direction: Direction = (
            "maximize" if study.direction == optuna.study.StudyDirection.MAXIMIZE else "minimize"
        )
        value = trial.intermediate_values[step]
        return self.rule.verdict(value, step, rivals, direction).prune
