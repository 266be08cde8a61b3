"""What passes through the doors of the storage, as frozen values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tuner.config import StudyConfig
from tuner.domain import Scalar
from tuner.sizes import Shape


@dataclass(frozen=True, kw_only=True)
class StoredStudy:
    """A study that is in the database."""

    #: Optuna's id of it.
    study_id: int
    #: Random: SQLite gives the ids of deleted studies anew.
    key: str
    #: What every worker obeys.
    config: StudyConfig
    #: What the data decides of its models; None for a study that asks for no size.
    shape: Shape | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Values of a trial to be, decided in advance."""

    #: Of some or all tuned parameters; the sampler adds the rest.
    point: Mapping[str, Scalar]
    #: Who planned them, in a word or two.
    origin: str


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Whether a study goes on."""

    #: ``stopped``, ``hours``, ``gain`` or ``bug`` where it ends before its budget is used up.
    ended: str | None
    #: Why, for people.
    message: str
    #: Seconds that ``budget.hours`` leaves; None without that limit.
    seconds_left: float | None
    #: ``budget.min_gain`` that is in force; None without.
    min_gain: float | None = None
    #: The configuration that is in force, as it is stored; empty where that was not read.
    config: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A worker's hold of one slot."""

    #: Its place in the budget, from 0.
    slot: int
    #: Proof of the hold: random, never used again.
    token: int
    #: Values decided in advance.
    planned: Mapping[str, Scalar]
    #: Whether the study goes on, when the slot was claimed.
    standing: Standing
    #: Optuna's trial, where one is open already.
    trial_id: int | None = None
    #: Its number in the study.
    number: int | None = None
    #: Whether the trial was open when the slot was claimed: somebody has begun it.
    was_begun: bool = False
    #: All hyperparameters of an open trial, fixed ones included.
    params: Mapping[str, Scalar] = field(default_factory=dict)
    #: Step to value of what the database has of an open trial.
    reports: Mapping[int, float] = field(default_factory=dict)
    #: Trainers that died over it without any progress between.
    attempts: int = 0
    #: Parts that a batch is cut into, so that it fits into memory.
    micro_batches: int = 1

    @property
    def open_trial_id(self) -> int:
        """Optuna's trial, of a slot that is open."""
        if self.trial_id is None:
            raise ValueError(f"slot {self.slot} has no trial yet")
        return self.trial_id


@dataclass(frozen=True, kw_only=True)
class SlotCounts:
    """How far a study is."""

    #: Nobody works on them yet.
    free: int
    #: Somebody does.
    held: int
    #: Closed.
    done: int

    @property
    def total(self) -> int:
        """The budget."""
        return self.free + self.held + self.done


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a trial ends."""

    #: COMPLETE, PRUNED or FAIL.
    state: TrialState
    #: The objective, of several the first; None where there is none.
    value: float | None
    #: Facts about the trial, JSON types.
    attributes: Mapping[str, Any]
    #: Optuna's constraints: above 0 is violated.
    constraints: Mapping[str, float]
    #: Further objectives; empty where all of them are sizes, which the slot's params tell.
    further: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A point for a new trial."""

    #: Optuna's trial to be: running, with params and distributions.
    trial: FrozenTrial
    #: All hyperparameters, fixed ones included.
    params: Mapping[str, Scalar]
    #: Whether no two slots may have the point: the space is finite.
    unique: bool


class PointTakenError(Exception):
    """Another slot has that point of a finite space."""


class TrialEndedOutsideError(Exception):
    """Somebody else finished or deleted the trial, from the dashboard for example."""
