"""Rules by name, for workers; and as ordinary Optuna pruners, for a notebook."""

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.trial import FrozenTrial

from tuner.config import PrunerName, StudyConfig
from tuner.metrics import Direction, best_so_far
from tuner.strategy.median import MedianRule
from tuner.strategy.rule import Rule
from tuner.strategy.rungs import RungRule


def make_rule(name: PrunerName, *, epochs: int) -> Rule | None:
    """Build the rule that ends trials.

    Args:
        name: The study's pruner.
        epochs: Of a trial that runs to its end.

    Returns:
        The rule; None where every trial runs to its end.
    """
    match name:
        case "asha":
            return RungRule(epochs=epochs)
        case "median":
            return MedianRule(epochs=epochs)
        case "none":
            return None


def make_pruner(config: StudyConfig) -> BasePruner:
    """Build the workers' rule as an Optuna pruner, for ``study.optimize`` in a notebook."""
    rule = make_rule(config.pruner.name, epochs=config.budget.epochs)
    return NopPruner() if rule is None else RulePruner(rule)


class RulePruner(BasePruner):
    """A rule as an Optuna pruner.

    Args:
        rule: The rule.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def prune(self, study: optuna.study.Study, trial: FrozenTrial) -> bool:
        """Judge the trial's last report."""
        if trial.last_step is None:
            return False
        direction: Direction = (
            "maximize" if study.direction == optuna.study.StudyDirection.MAXIMIZE else "minimize"
        )
        rung = self.rule.rung(trial.last_step)
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        known = (
            [best_so_far(t.intermediate_values, rung, direction) for t in others]
            if rung is not None
            else []
        )
        rivals = [value for value in known if value is not None]
        return self.rule.verdict(trial.intermediate_values, rivals, direction).prune
