"""Pauses between looks at something that changes seldom: they grow, and no two are alike."""

import random


class Pauses:
    """Pauses of which each further one is longer.

    Args:
        first: Seconds of the first one, at most.
        longest: Seconds of all later ones, at most.
        factor: How many times longer than the one before.
    """

    def __init__(self, *, first: float, longest: float, factor: float = 2.0) -> None:
        self._first = min(first, longest)
        self._longest = longest
        self._factor = factor
        self.restart()

    def restart(self) -> None:
        """Let the next one be the first again."""
        self._next = self._first

    def next(self) -> float:
        """Give the seconds of the next pause: from half of it to all, so that many spread out."""
        seconds = self._next
        self._next = min(self._factor * seconds, self._longest)
        return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
