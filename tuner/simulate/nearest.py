"""The recorded training that is nearest to a point of the space."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tuner.domain import Choice, Fixed, Scalar, same
from tuner.space import Parameter, Space


class Nearest:
    """Finds the nearest of some points in the unit cube that its ranges make of a space.

    Two different choices are as far apart as the ends of a range, and so are a parameter that
    counts and one that does not.

    Args:
        space: Where the points lie.
        points: Values of the parameters that count.
    """

    def __init__(self, space: Space, points: Sequence[Mapping[str, Scalar]]) -> None:
        self._tuned = [p for p in space.parameters if not isinstance(p.domain, Fixed)]
        self._is_choice = np.array([isinstance(p.domain, Choice) for p in self._tuned])
        self._places = np.array([self._place(point) for point in points])  # (points, parameters)

    def find(self, point: Mapping[str, Scalar], free: NDArray[np.bool_]) -> int:
        """Find the nearest of the points that are free; of equals the first.

        Args:
            point: Values of the parameters that count.
            free: Which may be found, bool of shape ``(points,)``, one of them at least.
        """
        away = np.abs(self._places - self._place(point))  # (points, parameters)
        away = np.where(self._is_choice & (away > 0), 1.0, np.minimum(away, 1.0))
        return int(np.where(free, (away**2).sum(axis=1), np.inf).argmin())

    def _place(self, point: Mapping[str, Scalar]) -> NDArray[np.float64]:
        return np.array([_coordinate(p, point.get(p.name)) for p in self._tuned])


def _coordinate(parameter: Parameter, value: Scalar | None) -> float:
    """Say where a value lies, from 0 to 1 in a range; -1 where the parameter does not count."""
    domain = parameter.domain
    if value is None:
        return -1.0
    if isinstance(domain, Choice):
        return float(next(i for i, choice in enumerate(domain.choices) if same(choice, value)))
    if isinstance(domain, Fixed) or domain.low == domain.high:
        return 0.0
    low, high, at = domain.low, domain.high, float(value)
    if domain.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    return (at - low) / (high - low)
