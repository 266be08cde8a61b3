"""Which parameters decide: each one's share in what sets the best tenth of the trials apart."""

from tuner.importance.reading import MIN_TRIALS, evenly, read_importances, weigh
from tuner.importance.values import Importance, Importances, Verdict

__all__ = [
    "MIN_TRIALS",
    "evenly",
    "read_importances",
    "weigh",
    "Importance",
    "Importances",
    "Verdict",
]
