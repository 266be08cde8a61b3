"""All that a report is made of, read once."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tuner.config import StudyConfig
from tuner.domain import Fixed, Scalar
from tuner.errors import NoUsableTrialError
from tuner.importance import Importances, weigh
from tuner.params import DEFAULTS
from tuner.results import (
    Progress,
    TrialRow,
    best_trials,
    learning_curves,
    progress,
    show_trial,
    trial_attributes,
    trials,
)
from tuner.results.confirmed import Confirmed, confirmed_of
from tuner.results.record import Record, read_record
from tuner.space import Parameter
from tuner.storage import Database, StoredStudy

#: Facts about trials that the report shows of all of them.
_FACTS = ("worker", "host", "pid", "device", "versions", "reason", "seconds")
#: Trials in the table of the best.
N_BEST = 10


@dataclass(frozen=True, kw_only=True)
class Material:
    """A study as it was when the report was made."""

    #: What was asked for.
    config: StudyConfig
    #: How far it is.
    progress: Progress
    #: Every trial, by number.
    rows: tuple[TrialRow, ...]
    #: The best complete trials, best first; with several objectives those that none outdoes.
    best: tuple[TrialRow, ...]
    #: With several objectives: all trials that none outdoes, by the first; empty with one.
    front: tuple[TrialRow, ...]
    #: Facts about the best trial; empty where there is none.
    best_facts: Mapping[str, Any]
    #: Trial number to (step, value) of each report.
    curves: Mapping[int, tuple[tuple[int, float], ...]]
    #: Trial number to facts, such as where it ran.
    facts: Mapping[int, Mapping[str, Any]]
    #: What matters; None where too few trials are done.
    importances: Importances | None
    #: Why there are no importances.
    why_no_importances: str
    #: What confirming it has come to; None where that was not done.
    confirmed: Confirmed | None
    #: How the study came about.
    record: Record
    #: When all this was read, UTC.
    now: datetime

    @functools.cached_property
    def tuned(self) -> tuple[Parameter, ...]:
        """The parameters that vary, in the order of the study file."""
        return tuple(p for p in self.config.space.parameters if not isinstance(p.domain, Fixed))

    @functools.cached_property
    def ranked(self) -> list[TrialRow]:
        """Complete trials that count, best first."""
        sign = -1.0 if self.config.direction == "maximize" else 1.0
        counted = [row for row in self.rows if counts(row)]
        return sorted(counted, key=lambda row: (sign * (row.value or 0.0), row.number))

    def drawn(self, row: TrialRow, parameter: Parameter) -> Scalar | None:
        """Give a trial's value of a parameter; None where it did not count."""
        if not parameter.when or parameter.name not in row.params:
            return row.params.get(parameter.name)
        fixed = {
            p.name: p.domain.value
            for p in self.config.space.parameters
            if isinstance(p.domain, Fixed)
        }
        active = parameter.active(DEFAULTS | fixed | dict(row.params))
        return row.params[parameter.name] if active else None

    def seconds(self, row: TrialRow) -> float:
        """Give the time from a trial's begin to its end, or until now."""
        if row.started is None:
            return 0.0
        return max(0.0, ((row.ended or self.now) - row.started).total_seconds())


def read_material(database: Database, study: StoredStudy) -> Material:
    """Read all that a report is made of."""
    rows = trials(database, study)
    facts = trial_attributes(database, study, _FACTS)
    reasons = {number: str(fact["reason"]) for number, fact in facts.items() if "reason" in fact}
    importances, why = None, ""
    try:
        importances = weigh(study.config, rows, reasons)
    except NoUsableTrialError as error:
        why = str(error)
    try:
        best = best_trials(database, study, top=N_BEST if study.config.metrics is None else None)
    except NoUsableTrialError:
        best = ()
    return Material(
        config=study.config,
        progress=progress(database, study),
        rows=rows,
        best=best[:N_BEST],
        front=best if study.config.metrics is not None else (),
        best_facts=show_trial(database, study, best[0].number).attributes if best else {},
        curves=learning_curves(database, study),
        facts=facts,
        importances=importances,
        why_no_importances=why,
        confirmed=confirmed_of(database, study),
        record=read_record(database, study),
        now=datetime.now(UTC),
    )


def counts(row: TrialRow) -> bool:
    """Say whether a trial has a value that can be the best."""
    return row.state == "complete" and row.feasible and is_finite(row.value)


def is_finite(value: float | None) -> bool:
    """Say whether there is a number to show."""
    return value is not None and math.isfinite(value)
