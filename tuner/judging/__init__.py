"""How good predictions are, how sure that is, and which of two models is better."""

from tuner.judging.finalists import (
    Choice,
    Noise,
    Score,
    accuracy_gain,
    accuracy_noise,
    choose,
    difference,
    estimate,
)
from tuner.judging.hits import Hits
from tuner.judging.intervals import Estimate, bootstrap, wilson
from tuner.judging.judgement import Bin, Judgement, estimate_accuracy, judge
from tuner.judging.paired import Comparison, compare, mcnemar

__all__ = [
    "Choice",
    "Noise",
    "Score",
    "accuracy_gain",
    "accuracy_noise",
    "choose",
    "difference",
    "estimate",
    "Hits",
    "Estimate",
    "bootstrap",
    "wilson",
    "Bin",
    "Judgement",
    "estimate_accuracy",
    "judge",
    "Comparison",
    "compare",
    "mcnemar",
]
