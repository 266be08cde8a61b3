"""From a study to the importance of its parameters.

Pruned trials count, as worse than every complete one: they ended because of their params, and
without them a parameter whose bad values are all pruned would look as if it did not matter.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

from tuner.config import StudyConfig
from tuner.domain import Fixed
from tuner.errors import NoUsableTrialError
from tuner.importance.ranked import ranked_trials
from tuner.importance.shares import shares
from tuner.importance.values import STABLE_TRIALS, Importances
from tuner.results import TrialRow, trial_attributes, trials
from tuner.storage import Database, StoredStudy

Thing = TypeVar("Thing")

#: With fewer trials no number is given.
MIN_TRIALS = 20
#: Of more trials, so many are taken, evenly: all of 10,000 would take half a minute, to say the
#: same with narrower intervals.
MAX_TRIALS = 600


def read_importances(database: Database, study: StoredStudy) -> Importances:
    """Weigh the parameters of a stored study.

    Raises:
        NoUsableTrialError: Too few trials are done.
    """
    facts = trial_attributes(database, study, ["reason"])
    reasons = {number: str(fact["reason"]) for number, fact in facts.items()}
    return weigh(study.config, trials(database, study), reasons)


def weigh(config: StudyConfig, rows: Sequence[TrialRow], reasons: Mapping[int, str]) -> Importances:
    """Weigh the parameters of a study.

    Args:
        config: The study.
        rows: Its trials. Those that failed, still run, or have a value that is not finite say
            nothing.
        reasons: Trial number to why it ended; that the study's time was over says nothing either.

    Raises:
        NoUsableTrialError: Fewer than `MIN_TRIALS` trials say something.
    """
    complete = [row for row in rows if row.state == "complete" and _is_finite(row.value)]
    pruned = [row for row in rows if row.state == "pruned" and not _out_of_time(row, reasons)]
    usable = sorted([*complete, *pruned], key=lambda row: row.number)
    tuned = [p for p in config.space.parameters if not isinstance(p.domain, Fixed)]
    if tuned and len(usable) < MIN_TRIALS:
        raise NoUsableTrialError(
            f"Study {config.name!r} tells too little about its parameters: {len(usable)} usable "
            f"trials ({len(complete)} complete, {len(pruned)} pruned), expected at least "
            f"{MIN_TRIALS}, better {STABLE_TRIALS}. Wait for more, or add some: "
            f"`tuner extend {config.name} --trials {STABLE_TRIALS}`."
        )
    chosen = evenly(usable, MAX_TRIALS)
    names = [p.name for p in tuned]
    weighed = shares(ranked_trials(config, tuned, chosen), names, seed=config.seed) if names else ()
    return Importances(
        metric=config.metric,
        n_complete=len(complete),
        n_pruned=len(pruned),
        n_used=len(chosen),
        parameters=weighed,
    )


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _out_of_time(row: TrialRow, reasons: Mapping[int, str]) -> bool:
    """Say whether a trial ended with the study's hours, not because of its params."""
    return row.feasible and reasons.get(row.number, "").startswith("time:")


def evenly(things: Sequence[Thing], n_wanted: int) -> list[Thing]:
    """Take at most so many things, evenly spaced, the first and the last included."""
    if len(things) <= n_wanted:
        return list(things)
    last = len(things) - 1
    return [things[i * last // (n_wanted - 1)] for i in range(n_wanted)]
