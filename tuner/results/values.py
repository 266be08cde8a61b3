"""What is read of a study, as frozen values."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from tuner.domain import Scalar
from tuner.storage import SlotCounts
from tuner.storage.refusals import Refusal

State = Literal["running", "complete", "pruned", "failed", "waiting"]


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """One trial, as people and programs read it."""

    #: Number in the study, from 0.
    number: int
    #: running, complete, pruned, failed, or waiting: handed back, and nobody is at it.
    state: State
    #: The objective, of several the first; of a pruned trial its last report; None where there is
    #: none.
    value: float | None
    #: All hyperparameters, fixed ones included; of a trial without slot those that were drawn.
    params: Mapping[str, Scalar]
    #: Last step that was reported, in quarters of an epoch.
    last_step: int | None
    #: What was reported there.
    last_value: float | None
    #: When it began, UTC.
    started: datetime | None
    #: When it ended, UTC.
    ended: datetime | None
    #: Place in the budget; None for a trial that was made by other means.
    slot: int | None
    #: Who runs it now.
    worker: str | None
    #: Seconds that the worker's lease has left, by the database's clock.
    lease_seconds: float | None
    #: Whether it violates no constraint.
    feasible: bool
    #: Whether it failed and its slot was given to another trial, which counts instead.
    superseded: bool
    #: Further objectives by name, as far as they are known; empty where there is one.
    further: Mapping[str, float | None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Give JSON types; what is not finite becomes null."""
        further = {name: _finite(value) for name, value in self.further.items()}
        return {
            "number": self.number,
            "state": self.state,
            "value": _finite(self.value),
            "params": dict(self.params),
            "last_step": self.last_step,
            "last_value": _finite(self.last_value),
            "started": self.started.isoformat() if self.started else None,
            "ended": self.ended.isoformat() if self.ended else None,
            "slot": self.slot,
            "worker": self.worker,
            "feasible": self.feasible,
            "superseded": self.superseded,
            **({"further": further} if further else {}),
        }


@dataclass(frozen=True, kw_only=True)
class TrialDetails:
    """All about one trial."""

    #: The trial.
    row: TrialRow
    #: Step to value of every report.
    reports: Mapping[int, float]
    #: Facts: why it ended, where it ran.
    attributes: Mapping[str, Any]
    #: What it must keep to; above 0 is violated.
    constraints: Mapping[str, float]
    #: Parts that each batch was cut into, so that it fits into memory.
    micro_batches: int
    #: Who planned its values in advance, such as ``default`` or ``like imdb/12``; None for nobody.
    origin: str | None

    def to_json(self) -> dict[str, Any]:
        """Give JSON types."""
        reports = [{"step": s, "value": _finite(v)} for s, v in self.reports.items()]
        return self.row.to_json() | {
            "reports": reports,
            "attributes": dict(self.attributes),
            "constraints": {name: _finite(value) for name, value in self.constraints.items()},
            "micro_batches": self.micro_batches,
            "origin": self.origin,
        }


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a study is."""

    #: Its name.
    name: str
    #: What is judged; of several objectives the first.
    metric: str
    #: Slots by state.
    slots: SlotCounts
    #: Trials in slots by state.
    trials: Mapping[State, int]
    #: The best finished trial so far; with several objectives that with the best metric.
    best: TrialRow | None
    #: With several objectives: finished trials that none outdoes; None with one.
    n_front: int | None
    #: The open trials: running, or waiting to be taken up.
    running: tuple[TrialRow, ...]
    #: Trials closed an hour at the pace of the latest ones, with as many running as now.
    per_hour: float | None
    #: Seconds until the budget is done, at that pace.
    eta_seconds: float | None
    #: ``stopped``, ``hours``, ``gain`` or ``bug`` where it ends before its budget is used up.
    ended: str | None
    #: Why, for people.
    message: str
    #: Time that the study may take, in hours; None without that limit.
    hours: float | None
    #: Time that it took, in hours; None where nobody counts.
    spent_hours: float | None
    #: Machines whose standing workers cannot serve it.
    refusals: tuple[Refusal, ...]

    @property
    def is_over(self) -> bool:
        """Whether a worker would find nothing to do."""
        if self.slots.done == self.slots.total:
            return True
        is_open = self.slots.held > 0 or any(row.slot is not None for row in self.running)
        return self.ended is not None and not is_open

    def to_json(self) -> dict[str, Any]:
        """Give JSON types."""
        return {
            "name": self.name,
            "metric": self.metric,
            "budget": self.slots.total,
            "done": self.slots.done,
            "held": self.slots.held,
            "free": self.slots.free,
            "trials": dict(self.trials),
            "best": self.best.to_json() if self.best else None,
            **({} if self.n_front is None else {"front": self.n_front}),
            "running": [row.to_json() for row in self.running],
            "per_hour": self.per_hour,
            "eta_seconds": self.eta_seconds,
            "ended": self.ended,
            "message": self.message,
            "hours": self.hours,
            "spent_hours": self.spent_hours,
            "refusals": [asdict(refusal) for refusal in self.refusals],
        }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
