"""Who proposes the next point and who ends a hopeless trial: samplers, pruners, the rung rule."""

import copy
import math
import random
import warnings
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuner.config import PrunerName, SamplerName, StudyConfig
from tuner.domain import Scalar, matches, point_key
from tuner.errors import InputError
from tuner.metrics import STEPS_PER_EPOCH, Direction
from tuner.params import GRUParams
from tuner.space import Space

#: Gives the trials of a study, as objects that are not changed.
ReadTrials: TypeAlias = Callable[[], list[FrozenTrial]]


def make_sampler(name: SamplerName, *, space: Space, seed: str) -> BaseSampler:
    """Build the sampler that proposes one trial's point.

    ``tpe`` models good and bad regions with kernel densities (Bergstra et al. 2011; multivariate:
    Falkner et al. 2018), joint over parameters, over each branch of a conditional space, and counts
    running trials as bad so that parallel workers spread out. ``random`` and ``grid`` learn
    nothing; a grid's points are planned into the slots.

    Args:
        name: The study's sampler.
        space: The study's space.
        seed: Any text; each trial has its own, so that a draw does not depend on who runs it.

    Returns:
        A sampler for that trial alone.
    """
    generator_seed = random.Random(seed).getrandbits(31)  # noqa: S311 - no secret
    if name != "tpe":
        return RandomSampler(seed=generator_seed)
    with warnings.catch_warnings():
        # `group` is marked experimental; we pin and test what it does.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(
            seed=generator_seed,
            n_startup_trials=10,
            multivariate=True,
            group=any(p.when for p in space.parameters),
            constant_liar=True,
        )


class _Sketch:
    """A storage of one trial to be, beside the trials that a sampler learns from.

    A sampler can so propose a point without touching the database, and the trial is then created
    with all its params in one transaction.
    """

    TRIAL_ID = -1

    def __init__(
        self, history: ReadTrials, direction: Direction, planned: Mapping[str, Scalar]
    ) -> None:
        self._history = history
        self._directions = [StudyDirection[direction.upper()]]
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
            self._trials = self._history()
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
    """Propose the point of one trial, without a write to the database.

    Args:
        history: Gives the trials so far; asked once, by samplers that learn.
        config: The study.
        slot: The trial's slot; with the study's seed it decides all random draws.
        planned: Values decided in advance.
        taken: Points of a finite space that are not to be proposed, as `point_key` writes them.

    Returns:
        A running trial to be stored, and its whole set of hyperparameters.

    Raises:
        InputError: Every point that fits the planned values is taken.
    """
    for attempt in range(10):
        trial, params = _sample(history, config, f"{slot}/{attempt}", planned)
        if point_key(trial.params) not in taken:
            return trial, params
    left = [
        point
        for point in config.space.points()
        if point_key(point) not in taken and matches(point, planned)
    ]
    if not left:
        fitting = f"every point with {_words(planned)}" if planned else "every point of the space"
        raise InputError(
            f"Slot {slot}: {fitting} is a trial already. Expected one that is left: enqueue other "
            f"values, or start another study with a wider space."
        )
    chosen = random.Random(f"{config.seed}/{slot}").choice(left)  # noqa: S311 - no secret
    return _sample(history, config, str(slot), chosen)


def _words(values: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _sample(
    history: ReadTrials,
    config: StudyConfig,
    draw: str,
    planned: Mapping[str, Scalar],
) -> tuple[FrozenTrial, GRUParams]:
    sketch = _Sketch(history, config.direction, planned)
    # A study anew for each trial: only so does the sampler see the trials finished meanwhile.
    study = optuna.study.Study(
        study_name=config.name,
        storage=cast("BaseStorage", sketch),
        sampler=make_sampler(config.sampler.name, space=config.space, seed=f"{config.seed}/{draw}"),
        pruner=optuna.pruners.NopPruner(),
    )
    params = config.space.suggest(optuna.trial.Trial(study, _Sketch.TRIAL_ID))
    kept = {"fixed_params"}  # what else samplers leave there repeats the params
    sketch.trial.system_attrs = {
        key: value for key, value in sketch.trial.system_attrs.items() if key in kept
    }
    return sketch.trial, params


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the rung rule says of one report."""

    #: Whether the trial should end here.
    prune: bool
    #: Why, for a person; empty where the step is no rung.
    reason: str


@dataclass(frozen=True, kw_only=True)
class RungRule:
    """Successive halving by the reports themselves, asynchronous and without stored state.

    At each rung a trial goes on if it is among the best ``1 / factor`` of all that have reported
    there so far. A rung judges once it has ``factor`` reports.

    References:
        Li et al. 2020, arXiv:1810.05934 (ASHA).
    """

    #: Step of the first rung: one whole epoch, since earlier reports of small data are noise.
    first: int = STEPS_PER_EPOCH
    #: One in so many goes on; each rung is so many times later than the one before.
    factor: int = 3

    def is_rung(self, step: int) -> bool:
        """Say whether a report at this step is judged."""
        rung = self.first
        while rung < step:
            rung *= self.factor
        return rung == step

    def verdict(
        self, value: float, step: int, rivals: Sequence[float], direction: Direction
    ) -> Verdict:
        """Judge one report.

        Args:
            value: What the trial reported.
            step: When, in parts of an epoch.
            rivals: What all other trials reported at that step.
            direction: Which way is better.

        Returns:
            Whether to prune, and why.
        """
        if math.isnan(value):
            return Verdict(prune=True, reason=f"step {step}: the metric is not a number")
        n_values = len(rivals) + 1
        if not self.is_rung(step) or n_values < self.factor:
            return Verdict(prune=False, reason="")
        better = [r for r in rivals if (r > value if direction == "maximize" else r < value)]
        n_kept = math.ceil(n_values / self.factor)
        rank = len(better) + 1
        ordered = sorted([*rivals, value], reverse=direction == "maximize")
        return Verdict(
            prune=rank > n_kept,
            reason=f"step {step}: {value:.4f} is rank {rank} of {n_values}, "
            f"the best {n_kept} go on (from {ordered[n_kept - 1]:.4f})",
        )


def make_rule(name: PrunerName) -> RungRule | None:
    """Build the rule that ends trials; None where every trial runs to its end."""
    return RungRule() if name == "asha" else None


class RungPruner(BasePruner):
    """The rung rule as an Optuna pruner, for ``study.optimize`` in a notebook.

    Args:
        rule: The rule; the default is the workers' own.
    """

    def __init__(self, rule: RungRule | None = None) -> None:
        self.rule = rule or RungRule()

    def prune(self, study: optuna.study.Study, trial: FrozenTrial) -> bool:
        """Judge the trial's last report."""
        step = trial.last_step
        if step is None:
            return False
        rivals = [
            other.intermediate_values[step]
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number
            and not math.isnan(other.intermediate_values.get(step, math.nan))
        ]
        direction: Direction = (
            "maximize" if study.direction == optuna.study.StudyDirection.MAXIMIZE else "minimize"
        )
        value = trial.intermediate_values[step]
        return self.rule.verdict(value, step, rivals, direction).prune
