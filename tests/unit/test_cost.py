"""A sampler that learns what trials cost, and weighs what they can gain against that."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuner.strategy.cost import CostAwareTPESampler, CostModel

DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "units": IntDistribution(32, 256, step=32),
    "layers": CategoricalDistribution((1, 2)),
    "learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
    "dropout": FloatDistribution(0.0, 0.5),
}


def seconds_a_step(params: dict[str, Any]) -> float:
    return 0.01 * float(params["units"]) * (1.0 if params["layers"] == 1 else 2.5)


def trials_of(
    n: int, value: Callable[[dict[str, Any]], float], *, timed: bool = True, seed: int = 0
) -> list[FrozenTrial]:
    """Trials at random points, every third one pruned after 4 of 20 steps."""
    generator = np.random.default_rng(seed)
    trials = []
    for number in range(n):
        params = {
            "units": 32 * int(generator.integers(1, 9)),
            "layers": int(generator.integers(1, 3)),
            "learning_rate": float(10 ** generator.uniform(-4, -2)),
            "dropout": float(generator.uniform(0, 0.5)),
        }
        last = 4 if number % 3 == 2 else 20
        noise = math.exp(generator.normal(0, 0.1))
        trials.append(
            create_trial(
                state=TrialState.PRUNED if last == 4 else TrialState.COMPLETE,
                value=value(params),
                params=params,
                distributions=DISTRIBUTIONS,
                intermediate_values={last: value(params)},
                user_attrs={"seconds": last * seconds_a_step(params) * noise} if timed else {},
            )
        )
    return trials


def as_points(trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    return {
        name: np.array([float(domain.to_internal_repr(t.params[name])) for t in trials])
        for name, domain in DISTRIBUTIONS.items()
    }


def flat(_params: dict[str, Any]) -> float:
    return 0.8


def the_wider_the_better(params: dict[str, Any]) -> float:
    return float(params["units"])


def proposed(
    trials: Sequence[FrozenTrial],
    sampler: Callable[..., TPESampler],
    *,
    n: int = 40,
) -> list[dict[str, Any]]:
    """Ask that many samplers of different seeds for the next point, after the same trials."""
    points = []
    for seed in range(n):
        study = optuna.create_study(
            direction="maximize",
            sampler=sampler(seed=seed, multivariate=True, n_startup_trials=1),
        )
        study.add_trials(trials)
        points.append(study.ask(DISTRIBUTIONS).params)
    return points


def mean_cost(points: Sequence[dict[str, Any]]) -> float:
    return float(np.mean([seconds_a_step(point) for point in points]))


@pytest.mark.parametrize("n", [12, 60, 600])
def test_the_model_tells_what_points_it_has_not_seen_cost(n: int) -> None:
    unseen = trials_of(100, flat, seed=1)

    told = CostModel.fit(trials_of(n, flat)).log_cost(as_points(unseen))

    true = np.log([seconds_a_step(t.params) for t in unseen])
    errors = (told - told.mean()) - (true - true.mean())
    assert true.std() > 0.7
    assert errors.std() < 0.3 if n == 12 else 0.15


def test_trials_without_times_or_reports_tell_nothing() -> None:
    untimed = trials_of(20, flat, timed=False)
    unreported = trials_of(20, flat)
    for trial in unreported:
        trial.intermediate_values = {}
    for trials in ([], untimed, unreported):
        assert not CostModel.fit(trials).log_cost(as_points(untimed)).any()


def test_a_parameter_that_does_not_always_count_costs_nothing_where_it_does_not() -> None:
    trials = trials_of(60, flat)
    for trial in trials:
        if trial.params["layers"] == 1:
            del trial.params["dropout"]
            trial.distributions = {k: v for k, v in DISTRIBUTIONS.items() if k != "dropout"}

    model = CostModel.fit(trials)

    narrow = model.log_cost({"units": np.array([32.0, 256.0])})
    assert narrow[1] - narrow[0] == pytest.approx(math.log(8), abs=0.3)
    costs = model.log_cost({"dropout": np.array([0.0, 0.5])})
    assert costs[1] - costs[0] == pytest.approx(0, abs=0.2)


def test_a_range_of_one_value_costs_the_same() -> None:
    trials = [
        create_trial(
            value=0.5,
            params={"units": 64},
            distributions={"units": IntDistribution(64, 64)},
            intermediate_values={20: 0.5},
            user_attrs={"seconds": seconds},
        )
        for seconds in (1.0, 9.0)
    ]
    assert CostModel.fit(trials).log_cost({"units": np.array([64.0])}) == 0


def test_without_times_it_proposes_what_optuna_does() -> None:
    trials = trials_of(30, the_wider_the_better, timed=False)
    assert proposed(trials, CostAwareTPESampler) == proposed(trials, TPESampler)


def test_among_points_that_are_as_good_it_proposes_cheap_ones() -> None:
    trials = trials_of(30, flat)
    plain, aware = (mean_cost(proposed(trials, s)) for s in (TPESampler, CostAwareTPESampler))
    assert aware < 0.5 * plain


def test_it_pays_for_what_is_better() -> None:
    trials = trials_of(60, the_wider_the_better)
    points = proposed(trials, CostAwareTPESampler)
    assert np.mean([point["units"] for point in points]) > 200
