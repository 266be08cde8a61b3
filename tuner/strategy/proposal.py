"""One trial's point: proposed by the study's sampler, without a write to the database."""

import copy
import random
from collections.abc import Callable, Collection, Container, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self, TypeAlias, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuner.config import SAMPLER_NOTES, SamplerName, StudyConfig
from tuner.domain import Point, Scalar, matches, point_key
from tuner.errors import InputError
from tuner.metrics import Direction
from tuner.params import GRUParams
from tuner.space import Space
from tuner.strategy.ranking import telling
from tuner.strategy.samplers import make_sampler

#: Gives the trials of a study, as objects that are not changed.
ReadTrials: TypeAlias = Callable[[], list[FrozenTrial]]


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a sampler has to know of a study."""

    #: The study's name.
    name: str
    #: Which way is better.
    direction: Direction
    #: Where points come from.
    space: Space
    #: Who proposes them.
    sampler: SamplerName
    #: Trials of the study in all.
    n_trials: int
    #: Decides, with a trial's slot, all random draws.
    seed: int

    @classmethod
    def of(cls, config: StudyConfig) -> Self:
        """Take it from a study's configuration."""
        return cls(
            name=config.name,
            direction=config.direction,
            space=config.space,
            sampler=config.sampler.name,
            n_trials=config.n_slots,
            seed=config.seed,
        )


class _Sketch:
    """A storage of one trial to be, beside the trials that a sampler learns from.

    A sampler can so propose a point without touching the database, and the trial is then created
    with all its params in one transaction.
    """

    TRIAL_ID = -1

    def __init__(self, history: ReadTrials, search: Search, planned: Mapping[str, Scalar]) -> None:
        self._history = history
        self._directions = [StudyDirection[search.direction.upper()]]
        self._is_tpe = search.sampler == "tpe"
        self._trials: list[FrozenTrial] | None = None
        attributes = {"fixed_params": dict(planned)} if planned else {}
        self.trial = create_trial(state=TrialState.RUNNING, system_attrs=attributes)
        self.trial.number = self.trial._trial_id = self.TRIAL_ID
        self.trial.datetime_start = datetime.now()

    def get_study_id_from_name(self, _study_name: str) -> int:
        return 0  # what follows is asked of this study alone

    def get_study_directions(self, _study_id: int) -> list[StudyDirection]:
        return self._directions

    def get_all_trials(
        self, _study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Read the trials once: a sampler asks several times for one proposal."""
        if self._trials is None:
            trials = self._history()
            self._trials = telling(trials, self._directions) if self._is_tpe else trials
        chosen = [t for t in self._trials if states is None or t.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    def get_trial(self, _trial_id: int) -> FrozenTrial:
        return copy.deepcopy(self.trial)

    def get_trial_system_attrs(self, _trial_id: int) -> dict[str, Any]:
        return self.trial.system_attrs

    def set_trial_system_attr(self, _trial_id: int, key: str, value: Any) -> None:
        self.trial.system_attrs[key] = value

    def set_trial_param(
        self, _trial_id: int, name: str, internal: float, distribution: BaseDistribution
    ) -> None:
        self.trial.params[name] = distribution.to_external_repr(internal)
        self.trial.distributions[name] = distribution


def propose(
    history: ReadTrials,
    config: StudyConfig,
    *,
    slot: int,
    planned: Mapping[str, Scalar],
    taken: Collection[str],
) -> tuple[FrozenTrial, GRUParams]:
    """Propose the hyperparameters of one trial; see `propose_point`.

    Returns:
        A running trial to be stored, and its whole set of hyperparameters.
    """
    search = Search.of(config)
    trial, point = propose_point(history, search, slot=slot, planned=planned, taken=taken)
    return trial, config.space.complete(point)


def propose_point(
    history: ReadTrials,
    search: Search,
    *,
    slot: int,
    planned: Mapping[str, Scalar],
    taken: Collection[str],
) -> tuple[FrozenTrial, Point]:
    """Propose the point of one trial, without a write to the database.

    Args:
        history: Gives the trials so far; asked once, by samplers that learn.
        search: Of the study.
        slot: The trial's slot; with the study's seed it decides all random draws.
        planned: Values decided in advance.
        taken: Points of a finite space that are not to be proposed, as `point_key` writes them.

    Returns:
        A running trial to be stored, and its point with the fixed values.

    Raises:
        InputError: Every point that fits the planned values is taken.
    """
    for attempt in range(10):
        trial, point = _sample(history, search, f"{slot}/{attempt}", planned)
        if point_key(trial.params) not in taken:
            return trial, point
    left = [
        point
        for point in search.space.points()
        if point_key(point) not in taken and matches(point, planned)
    ]
    if not left:
        fitting = f"every point with {_words(planned)}" if planned else "every point of the space"
        raise InputError(
            f"Slot {slot}: {fitting} is a trial already. Expected one that is left: enqueue other "
            f"values, or start another study with a wider space."
        )
    chosen = random.Random(f"{search.seed}/{slot}").choice(left)  # noqa: S311 - no secret
    return _sample(history, search, str(slot), chosen)


def _words(values: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _sample(
    history: ReadTrials,
    search: Search,
    draw: str,
    planned: Mapping[str, Scalar],
) -> tuple[FrozenTrial, Point]:
    sketch = _Sketch(history, search, planned)
    # A study anew for each trial: only so does the sampler see the trials finished meanwhile.
    study = optuna.study.Study(
        study_name=search.name,
        storage=cast("BaseStorage", sketch),
        sampler=make_sampler(
            search.sampler,
            space=search.space,
            n_trials=search.n_trials,
            seed=f"{search.seed}/{draw}",
        ),
        pruner=optuna.pruners.NopPruner(),
    )
    point = search.space.draw(optuna.trial.Trial(study, _Sketch.TRIAL_ID))
    kept = ("fixed_params", *SAMPLER_NOTES)  # what else samplers leave there repeats the params
    sketch.trial.system_attrs = {
        key: value for key, value in sketch.trial.system_attrs.items() if key.startswith(kept)
    }
    return sketch.trial, point
