"""Who proposes the next point and who ends a hopeless trial."""

from tuner.strategy.proposal import ReadTrials, Search, propose, propose_point
from tuner.strategy.pruner import RungPruner
from tuner.strategy.rungs import RungRule, Verdict, make_rule
from tuner.strategy.samplers import check_sampler, make_sampler

__all__ = [
    "ReadTrials",
    "RungPruner",
    "RungRule",
    "Search",
    "Verdict",
    "check_sampler",
    "make_rule",
    "make_sampler",
    "propose",
    "propose_point",
]
