"""The points that open a study fill its space evenly, around the default one."""

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from tuner.domain import Point, contains, point_key
from tuner.first_points import first_points, n_first_points
from tuner.space import Space
from tuner.space_table import parse_space

SPACE = parse_space(
    {
        "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
        "units": {"low": 8, "high": 256, "log": True},
        "embedding": {"low": 32, "high": 192, "step": 8},
        "dropout": {"low": 0.0, "high": 0.6},
        "embedding_dropout": {"low": 0.0, "high": 0.9, "step": 0.1},
        "pooling": ["last", "max", "mean", "mean_max", "attention"],
        "bidirectional": [True, False],
        "layers": [1, 2],
        "layer_dropout": {"low": 0.1, "high": 0.5, "when": {"layers": 2}},
        "batch_size": 64,
    }
)


def points_of(seed: int = 0, n: int = 10, space: Space = SPACE) -> list[Point]:
    return first_points(space, n=n, seed=seed)


@pytest.mark.parametrize(
    ("n_trials", "n_first"), [(1, 1), (2, 1), (6, 2), (14, 5), (25, 10), (60, 10), (5_000, 10)]
)
def test_small_studies_open_with_fewer_points_so_that_room_to_learn_is_left(
    n_trials: int, n_first: int
) -> None:
    assert n_first_points(n_trials) == n_first


def test_the_default_point_is_the_first() -> None:
    assert points_of()[0] == SPACE.default_point()
    assert points_of(n=1) == [SPACE.default_point()]


@pytest.mark.parametrize("seed", range(5))
def test_every_point_is_one_that_a_trial_could_draw(seed: int) -> None:
    domains = {p.name: p.domain for p in SPACE.parameters}
    for point in points_of(seed):
        SPACE.check_point(point)
        assert all(contains(domains[name], value) for name, value in point.items())
        assert all(type(value) in {bool, int, float, str} for value in point.values())
        always = domains.keys() - {"layer_dropout", "batch_size"}
        assert point.keys() == always | ({"layer_dropout"} if point["layers"] == 2 else set())


@pytest.mark.parametrize("seed", range(5))
def test_each_tenth_of_a_range_and_each_choice_has_its_share_of_ten_points(seed: int) -> None:
    points = points_of(seed)

    rates = sorted(math.log10(float(p["learning_rate"])) + 4 for p in points)  # 0 to 3
    assert [int(rate / 3 * 10) for rate in rates] == list(range(10))
    drops = sorted(float(p["dropout"]) for p in points)
    assert [int(drop / 0.6 * 10) for drop in drops] == list(range(10))
    poolings = Counter(p["pooling"] for p in points)
    assert sorted(poolings.values()) == [2] * 5
    assert Counter(p["bidirectional"] for p in points) == {True: 5, False: 5}
    assert Counter(p["layers"] for p in points) == {1: 5, 2: 5}


def test_they_keep_more_distance_than_random_draws() -> None:
    names = [f"{kind}dropout" for kind in ("", "word_", "embedding_", "layer_")]
    space = parse_space({name: {"low": 0.0, "high": 0.9} for name in names})

    def nearest(points: list[list[float]]) -> float:
        return min(math.dist(one, other) for one, other in combinations(points, 2)) / 0.9

    ours, draws = [], []
    for seed in range(20):
        planned = points_of(seed, space=space)
        ours.append(nearest([[float(p[name]) for name in names] for p in planned]))
        draws.append(nearest((0.9 * np.random.default_rng(seed).random((10, 4))).tolist()))

    assert min(ours) > np.median(draws)
    assert np.median(ours) > 1.5 * np.median(draws)


def test_the_seed_decides_the_points() -> None:
    assert points_of(seed=3) == points_of(seed=3)
    assert points_of(seed=3)[1:] != points_of(seed=4)[1:]


def test_a_small_space_has_no_point_twice() -> None:
    space = parse_space({"layers": [1, 2], "dropout": {"low": 0.0, "high": 0.6, "step": 0.3}})
    for seed in range(10):
        keys = [point_key(point) for point in points_of(seed, space=space)]
        assert len(set(keys)) == len(keys) <= 6
        assert set(keys) <= {point_key(point) for point in space.points()}


def test_a_space_with_nothing_to_tune_has_one_point() -> None:
    assert points_of(space=parse_space({"units": 32})) == [{}]


def test_a_range_of_one_value_is_no_trouble() -> None:
    space = parse_space({"dropout": {"low": 0.5, "high": 0.5}, "units": {"low": 8, "high": 64}})
    assert {point["dropout"] for point in points_of(space=space)} == {0.5}
