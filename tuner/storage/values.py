"""What passes between a worker and its slots, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tuner.domain import Scalar


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A worker's hold of one slot."""

    #: Study it belongs to.
    study_id: int
    #: Its place in the budget, from 0.
    slot: int
    #: Proof of the hold: random, never used again.
    token: int
    #: Optuna's trial, where one is open already.
    trial_id: int | None
    #: Its number in the study.
    number: int | None
    #: Values decided in advance.
    planned: Mapping[str, Scalar]
    #: Claims of this slot that were not handed back, this one included.
    attempts: int

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
    #: The objective; None where there is none.
    value: float | None
    #: Facts about the trial, JSON types.
    attributes: Mapping[str, Any]
    #: Optuna's constraints: above 0 is violated.
    constraints: Mapping[str, float]


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
    """Somebody else finished the trial, from the dashboard for example; its slot is done now."""

    def __init__(self) -> None:
        super().__init__("Somebody ended the trial from outside; its slot is done.")
