"""Who proposes the next point and who ends a hopeless trial."""

from tuner.strategy.proposal import ReadTrials, Search, propose, propose_point
from tuner.strategy.pruner import RulePruner, make_pruner, make_rule
from tuner.strategy.rule import Rule, Verdict
from tuner.strategy.samplers import check_sampler, make_sampler

__all__ = [
    "ReadTrials",
    "Rule",
    "RulePruner",
    "Search",
    "Verdict",
    "check_sampler",
    "make_pruner",
    "make_rule",
    "make_sampler",
    "propose",
    "propose_point",
]
