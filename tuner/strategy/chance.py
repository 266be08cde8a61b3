"""Points by chance, without a sampler: some microseconds each."""

import math
import random
from collections.abc import Mapping, Sequence

from tuner.domain import Scalar


class Dice:
    """Suggests values by chance, as `RandomSampler` would, and given ones where there are.

    Args:
        seed: Any text.
        given: Values decided in advance.
    """

    def __init__(self, seed: str, given: Mapping[str, Scalar]) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._given = given

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        """Draw one of several values, each as likely."""
        return self._given[name] if name in self._given else self._random.choice(choices)

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Draw a whole number."""
        if name in self._given:
            return int(self._given[name])
        if log:
            drawn = math.exp(self._random.uniform(math.log(low - 0.5), math.log(high + 0.5)))
            return min(max(round(drawn), low), high)
        return self._random.randrange(low, high + 1, step)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Draw a number."""
        if name in self._given:
            return float(self._given[name])
        if step is not None:
            return min(low + self._random.randint(0, round((high - low) / step)) * step, high)
        if log:
            return math.exp(self._random.uniform(math.log(low), math.log(high)))
        return self._random.uniform(low, high)
