"""The first points of a study: the default one, and others that fill the space evenly around it.

A sampler knows nothing yet, and independent random draws cluster and leave gaps. A Latin hypercube
has none: with n points, each n-th part of each range has one, and each choice its share of them.

References:
    McKay, Beckman and Conover 1979, doi:10.2307/1268522 (Latin hypercubes); Johnson, Moore and
    Ylvisaker 1990, doi:10.1016/0378-3758(90)90122-B (the one whose points keep their distance).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.domain import Choice, Fixed, Point, Range, Scalar, point_key, same
from tuner.space import Parameter, Space

#: Hypercubes that are drawn; the one whose points lie farthest apart is taken.
_N_DRAWS = 200
#: Squared distance of two different choices: they count like the most distant thirds of a range.
_CHOICE_DISTANCE = 1 / 3


def n_first_points(n_trials: int) -> int:
    """Say how many of a study's trials open it, before its sampler learns.

    Args:
        n_trials: Trials of the study in all.
    """
    return max(1, min(10, 2 * n_trials // 5))


def first_points(space: Space, *, n: int, seed: int) -> list[Point]:
    """Plan the points with which a study opens.

    Args:
        space: The study's space.
        n: How many at most; a small finite space may have fewer different ones.
        seed: Decides the points after the first.

    Returns:
        Different points, as `Space.points` gives them; the default point is the first.
    """
    tuned = [p for p in space.parameters if not isinstance(p.domain, Fixed)]
    default = space.default_point()
    points = {point_key(default): default}
    if tuned and n > 1:
        centre = np.array([_share(p, default.get(p.name)) for p in tuned])  # (parameters,)
        names = [p.name for p in tuned]
        for row in _hypercube(centre, tuned, n, np.random.default_rng(seed)).tolist():
            drawn = space.draw(_Shares(dict(zip(names, row, strict=True))))
            point = {p.name: drawn[p.name] for p in tuned if p.name in drawn}
            points.setdefault(point_key(point), point)
    return list(points.values())


def _hypercube(
    centre: NDArray[np.float64],
    tuned: list[Parameter],
    n: int,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Draw the points beside one that is given.

    Args:
        centre: That point, float64 of shape ``(parameters,)``, each in [0, 1).
        tuned: What its columns are.
        n: How many points there are in all.
        generator: Decides.

    Returns:
        The others, float64 of shape ``(n - 1, parameters)``, each in [0, 1).
    """
    others = np.array([[cell for cell in range(n) if cell != int(c * n)] for c in centre])
    best, widest = np.empty((0, len(tuned))), -1.0
    for _ in range(_N_DRAWS):
        cells = generator.permuted(others, axis=1).T  # (n - 1, parameters)
        drawn = (cells + generator.random(cells.shape)) / n
        distance = _least_distance(np.vstack([centre, drawn]), tuned)
        if distance > widest:
            best, widest = drawn, distance
    return best


def _least_distance(points: NDArray[np.float64], tuned: list[Parameter]) -> float:
    """Give the squared distance of the two points that are nearest to each other."""
    squared = np.zeros((len(points), len(points)))
    for column, parameter in zip(points.T, tuned, strict=True):
        if isinstance(parameter.domain, Choice):
            chosen = (column * len(parameter.domain.choices)).astype(int)
            squared += _CHOICE_DISTANCE * (chosen[:, None] != chosen)
        else:
            squared += (column[:, None] - column) ** 2
    return float(squared[np.triu_indices(len(points), k=1)].min())


def _share(parameter: Parameter, value: Scalar | None) -> float:
    """Say where a value lies in its domain, from 0 to below 1; in the middle if there is none."""
    match parameter.domain:
        case Choice(choices=choices) if value is not None:
            index = next(i for i, choice in enumerate(choices) if same(choice, value))
            return (index + 0.5) / len(choices)
        case Range(low=low, high=high, log=log) if value is not None and low < high:
            ends_and_value = (low, high, float(value))
            start, end, at = map(math.log, ends_and_value) if log else ends_and_value
            return min((at - start) / (end - start), 1 - 1e-9)
        case _:
            return 0.5


class _Shares:
    """Suggests the values that lie at given shares of their domains.

    Args:
        shares: By parameter, each from 0 to below 1.
    """

    def __init__(self, shares: Mapping[str, float]) -> None:
        self._shares = shares

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return choices[int(self._shares[name] * len(choices))]

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        if log:
            return min(high, max(low, round(self._between(name, low - 0.5, high + 0.5, log=True))))
        return low + step * int(self._shares[name] * ((high - low) // step + 1))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        if step is None:
            return self._between(name, low, high, log=log)
        n = round((high - low) / step) + 1
        return min(high, float(f"{low + step * int(self._shares[name] * n):.12g}"))

    def _between(self, name: str, low: float, high: float, *, log: bool) -> float:
        share = self._shares[name]
        if log:
            return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        return low + share * (high - low)
