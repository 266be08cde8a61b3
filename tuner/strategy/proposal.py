"""One trial's point: proposed by the study's sampler, without a write to the database."""

import copy
import functools
import logging
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
from tuner.errors import InputError, NoPointLeftError
from tuner.metrics import Direction
from tuner.params import GRUParams
from tuner.sizes import SIZES, Limits, Shape
from tuner.space import Space
from tuner.strategy.chance import Dice
from tuner.strategy.ranges import within
from tuner.strategy.ranking import on_their_way, telling, with_all_values
from tuner.strategy.samplers import make_sampler

log = logging.getLogger(__name__)

#: Points that the study's sampler draws before others are looked for.
N_DRAWS = 10
#: Points that are drawn by chance, where all of the sampler's were beyond the limits.
N_CHANCES = 3_000

#: Gives the trials of a study, as objects that are not changed.
ReadTrials: TypeAlias = Callable[[], list[FrozenTrial]]


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a sampler has to know of a study."""

    #: The study's name.
    name: str
    #: Which way is better.
    direction: Direction
    #: Likewise for further objectives.
    further_directions: tuple[Direction, ...] = ()
    #: Where points come from.
    space: Space
    #: Who proposes them.
    sampler: SamplerName
    #: Trials of the study in all.
    n_trials: int
    #: Decides, with a trial's slot, all random draws.
    seed: int
    #: What the models may be at most; None for no limits.
    limits: Limits | None = None

    @classmethod
    def of(cls, config: StudyConfig, shape: Shape | None = None) -> Self:
        """Take it from a study's configuration.

        Args:
            config: The study.
            shape: Of the data; None for a study without limits.
        """
        return cls(
            name=config.name,
            direction=config.direction,
            further_directions=config.directions[1:],
            limits=config.limits(shape) if shape is not None and config.constraints else None,
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
        self._space = search.space
        directions = search.direction, *search.further_directions
        self._directions = [StudyDirection[direction.upper()] for direction in directions]
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
            trials = with_all_values(within(self._history(), self._space), self._directions)
            self._trials = (
                telling(on_their_way(trials), self._directions) if self._is_tpe else trials
            )
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
    shape: Shape | None = None,
) -> tuple[FrozenTrial, GRUParams]:
    """Propose the hyperparameters of one trial; see `propose_point`.

    Args:
        history: Gives the trials so far.
        config: The study.
        slot: The trial's slot.
        planned: Values decided in advance.
        taken: Points of a finite space that are not to be proposed.
        shape: Of the data; None for a study without limits.

    Returns:
        A running trial to be stored, with what is known of its model's size, and its whole set of
        hyperparameters.
    """
    search = Search.of(config, shape)
    trial, point = propose_point(history, search, slot=slot, planned=planned, taken=taken)
    params = config.space.complete(point)
    if shape is not None:
        for name in config.sizes:
            trial.set_user_attr(name, SIZES[name](params, shape))
        for name, excess in config.limits(shape).excess(params).items():
            trial.set_constraint(name, excess)
    return trial, params


def propose_point(
    history: ReadTrials,
    search: Search,
    *,
    slot: int,
    planned: Mapping[str, Scalar],
    taken: Collection[str],
) -> tuple[FrozenTrial, Point]:
    """Propose the point of one trial, without a write to the database.

    A point beyond the limits is no trial, whoever drew or planned it: another one is looked for.

    Args:
        history: Gives the trials so far; asked once, by samplers that learn.
        search: Of the study.
        slot: The trial's slot; with the study's seed it decides all random draws.
        planned: Values decided in advance; left out where no point fits them.
        taken: Points of a finite space that are not to be proposed, as `point_key` writes them.

    Returns:
        A running trial to be stored, and its point with the fixed values.

    Raises:
        NoPointLeftError: Every point of the space is taken.
        InputError: No point keeps to the limits, as far as one can see.
    """
    history = functools.cache(history)  # one proposal, however often it is drawn
    for attempt in range(N_DRAWS):
        trial, point = _sample(history, search, f"{slot}/{attempt}", planned)
        if point_key(trial.params) not in taken and _is_allowed(search, point):
            return trial, point
    if search.limits is not None and search.space.size() is None:
        return _by_chance(history, search, search.limits, slot=slot, planned=planned)
    left = [
        point
        for point in search.space.points()
        if point_key(point) not in taken
        and matches(point, planned)
        and _is_allowed(search, search.space.filled(point))
    ]
    if not left and planned:
        beyond = "" if search.limits is None else ", or beyond the study's limits"
        log.warning("%s", _plan_left_out(slot, planned, f"is a trial already{beyond}"))
        return propose_point(history, search, slot=slot, planned={}, taken=taken)
    if not left:
        raise NoPointLeftError(
            f"slot {slot}: every point of the space is a trial already. Widen a range of the "
            f"space for more."
        )
    chosen = random.Random(f"{search.seed}/{slot}").choice(left)  # noqa: S311 - no secret
    return _sample(history, search, str(slot), chosen)


def _is_allowed(search: Search, point: Point) -> bool:
    return search.limits is None or search.limits.allow(search.space.complete(point))


def _by_chance(
    history: ReadTrials,
    search: Search,
    limits: Limits,
    *,
    slot: int,
    planned: Mapping[str, Scalar],
) -> tuple[FrozenTrial, Point]:
    """Look for a point within the limits where the sampler finds none, of a space without end."""
    nearest: tuple[float, str] | None = None
    for attempt in range(N_CHANCES):
        point = search.space.draw(Dice(f"{search.seed}/{slot}/chance/{attempt}", planned))
        params = search.space.complete(point)
        if limits.allow(params):
            return _sample(history, search, str(slot), search.space.tuned(point))
        far = max(limits.excess(params).values()), limits.describe(params)
        nearest = min(nearest or far, far)
    if planned:
        log.warning("%s", _plan_left_out(slot, planned, "is beyond the study's limits"))
        return propose_point(history, search, slot=slot, planned={}, taken=())
    raise InputError(
        f"Slot {slot}: none of {N_DRAWS + N_CHANCES:,} points keeps to the study's limits; the "
        f"nearest one has {nearest[1] if nearest else 'none'}. Start another study with higher "
        f"limits, or with a space of smaller models."
    )


def _plan_left_out(slot: int, planned: Mapping[str, Scalar], why: str) -> str:
    values = ", ".join(f"{name}={value!r}" for name, value in planned.items())
    return f"slot {slot}: every point with {values} {why}; another one is proposed"


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
