"""The Pareto front: what nothing else outdoes."""

import numpy as np
import pytest

from tuner.metrics import Direction
from tuner.results.front import pareto_front

UP: Direction = "maximize"
DOWN: Direction = "minimize"


@pytest.mark.parametrize(
    ("values", "directions", "front"),
    [
        ([], (UP, DOWN), []),
        ([(0.5, 9.0)], (UP, DOWN), [0]),
        ([(0.5, 9.0), (0.9, 9.0), (0.7, 3.0), (0.6, 4.0)], (UP, DOWN), [1, 2]),
        ([(0.5, 9.0), (0.9, 9.0)], (DOWN, DOWN), [0]),
        ([(0.5, 9.0), (0.5, 9.0), (0.5, 8.0)], (UP, UP), [0, 1]),  # equal ones stay
        ([(0.1,), (0.3,), (0.3,), (0.2,)], (UP,), [1, 2]),
        ([(1.0, 1.0, 3.0), (1.0, 1.0, 2.0), (0.0, 9.0, 1.0)], (UP, UP, DOWN), [1, 2]),
    ],
)
def test_the_front_is_by_the_first_objective_first(
    values: list[tuple[float, ...]], directions: tuple[Direction, ...], front: list[int]
) -> None:
    assert pareto_front(values, directions) == front


@pytest.mark.parametrize("directions", [(UP, DOWN), (DOWN, UP, UP)])
def test_it_is_what_a_comparison_of_all_with_all_gives(directions: tuple[Direction, ...]) -> None:
    drawn = np.random.default_rng(0).integers(12, size=(300, len(directions)))
    values = [tuple(map(float, row)) for row in drawn]
    better = [1 if direction == UP else -1 for direction in directions]

    def outdoes(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
        gains = [s * (a - b) for s, a, b in zip(better, one, other, strict=True)]
        return min(gains) >= 0 and max(gains) > 0

    front = {n for n, own in enumerate(values) if not any(outdoes(v, own) for v in values)}

    assert set(pareto_front(values, directions)) == front
