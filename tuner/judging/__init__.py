"""How good predictions are, how sure that is, and which of two models is better."""

from tuner.judging.intervals import Estimate, bootstrap, wilson
from tuner.judging.judgement import Bin, Judgement, judge
from tuner.judging.paired import Comparison, compare, mcnemar

__all__ = [
    "Estimate",
    "bootstrap",
    "wilson",
    "Bin",
    "Judgement",
    "judge",
    "Comparison",
    "compare",
    "mcnemar",
]
