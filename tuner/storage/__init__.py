"""Where studies live: SQLite or Postgres, Optuna's tables and ours beside them."""

from tuner.storage.database import Database, shown
from tuner.storage.slots import LEASE, Slots
from tuner.storage.studies import (
    Created,
    StoredStudy,
    agree_on_data,
    create_study,
    delete_study,
    enqueue,
    find_study,
    study_names,
)
from tuner.storage.values import (
    Claim,
    Ending,
    PointTakenError,
    Proposal,
    SlotCounts,
    TrialEndedOutsideError,
)

__all__ = [
    "Database",
    "shown",
    "LEASE",
    "Claim",
    "Ending",
    "PointTakenError",
    "Proposal",
    "SlotCounts",
    "Slots",
    "TrialEndedOutsideError",
    "Created",
    "StoredStudy",
    "agree_on_data",
    "create_study",
    "delete_study",
    "enqueue",
    "find_study",
    "study_names",
]
