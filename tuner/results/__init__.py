"""Read a study: its progress, its trials, the best of them, as frozen values."""

from tuner.results.overall import progress
from tuner.results.query import (
    best_trials,
    learning_curves,
    most_micro_batches,
    show_trial,
    trial_attributes,
    trials,
)
from tuner.results.values import Progress, State, TrialDetails, TrialRow

__all__ = [
    "best_trials",
    "learning_curves",
    "most_micro_batches",
    "progress",
    "show_trial",
    "trial_attributes",
    "trials",
    "Progress",
    "State",
    "TrialDetails",
    "TrialRow",
]
