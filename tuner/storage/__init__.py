"""Where studies live: SQLite or Postgres, Optuna's tables and ours beside them."""

from tuner.storage.address import parse_url, shown
from tuner.storage.budget import extend_study, retry_failed, stop_study
from tuner.storage.copying import Copied, copy_study, open_slots
from tuner.storage.database import Database
from tuner.storage.enqueueing import enqueue
from tuner.storage.readings import (
    Reading,
    begin_reading,
    check_unread,
    end_reading,
    list_readings,
)
from tuner.storage.slots import LEASE, Slots
from tuner.storage.states import (
    agree_on_data,
    count_equal_failures,
    end_study,
    known_fingerprint,
    other_versions,
)
from tuner.storage.studies import (
    Created,
    create_study,
    delete_study,
    find_study,
    rename_study,
    study_names,
)
from tuner.storage.upgrade import Upgraded, upgrade
from tuner.storage.values import (
    Claim,
    Ending,
    Plan,
    PointTakenError,
    Proposal,
    SlotCounts,
    Standing,
    StoredStudy,
    TrialEndedOutsideError,
)

__all__ = [
    "Database",
    "parse_url",
    "shown",
    "LEASE",
    "Claim",
    "Ending",
    "Plan",
    "PointTakenError",
    "Proposal",
    "SlotCounts",
    "Slots",
    "Standing",
    "StoredStudy",
    "TrialEndedOutsideError",
    "agree_on_data",
    "count_equal_failures",
    "end_study",
    "extend_study",
    "known_fingerprint",
    "other_versions",
    "retry_failed",
    "stop_study",
    "Copied",
    "copy_study",
    "open_slots",
    "Created",
    "create_study",
    "delete_study",
    "enqueue",
    "find_study",
    "rename_study",
    "study_names",
    "Reading",
    "begin_reading",
    "check_unread",
    "end_reading",
    "list_readings",
    "Upgraded",
    "upgrade",
]
