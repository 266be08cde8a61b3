"""The path integral of integrated gradients: the midpoint rule, with as many steps as it takes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tuner.attribution.odds import Floats, Numbers

#: Steps that are tried first; doubled until that is enough ...
FIRST_STEPS = 16
#: ... or there would be more than these.
MOST_STEPS = 1_024
#: How far attributions may miss what they should sum to: this share of it ...
RELATIVE_TOLERANCE = 0.02
#: ... or this, in log-odds, whichever is larger.
ABSOLUTE_TOLERANCE = 0.01

#: From rows and a number of steps to the mean slopes along each row's path: (n_sums, n_words).
MeanSlopes = Callable[[Numbers, int], Sequence[Floats]]


@dataclass(frozen=True, kw_only=True)
class Integral:
    """Attributions of a text's words, to one sum or several."""

    #: What each word adds; float64, (n_sums, n_words).
    values: Floats
    #: What is explained, where the path begins and all vectors are 0; float64, (n_sums,).
    begins: Floats
    #: What is explained, where the path ends, at the text; float64, (n_sums,).
    ends: Floats
    #: Steps that were taken.
    n_steps: int

    @property
    def gaps(self) -> Floats:
        """How far the words' sums are from the change along the path; (n_sums,)."""
        gaps: Floats = np.abs(self.values.sum(axis=1) - (self.ends - self.begins))
        return gaps

    @property
    def is_complete(self) -> bool:
        """Whether all sums are near enough."""
        return bool((self.gaps <= tolerance(self.ends - self.begins)).all())


def tolerance(changes: Floats) -> Floats:
    """Say how far a sum may be from a change of log-odds."""
    return np.maximum(RELATIVE_TOLERANCE * np.abs(changes), ABSOLUTE_TOLERANCE)


def midpoints(n_steps: int) -> Floats:
    """Give the places on the path from 0 to 1 where the slope is taken; (n_steps,)."""
    return (np.arange(n_steps) + 0.5) / n_steps


def integrate(mean_slopes: MeanSlopes, begins: Floats, ends: Floats) -> list[Integral]:
    """Integrate the slopes along the paths of some texts.

    The midpoint rule's error falls with the square of the number of steps where the path is
    smooth, and in proportion to it where it has a kink, as with max pooling. What is not complete
    is done again with twice as many steps, by itself; the rest is left as it is.

    Args:
        mean_slopes: Computes the mean over so many `midpoints`.
        begins: What is explained, where each path begins; (n, n_sums).
        ends: What is explained, where it ends; (n, n_sums).

    Returns:
        An integral a row, in order. With one that took `MOST_STEPS` and is not complete, that was
        not enough.

    References:
        Sundararajan et al. 2017, arXiv:1703.01365 (integrated gradients, completeness).
    """
    found: dict[int, Integral] = {}
    pending = np.arange(len(ends))
    n_steps = FIRST_STEPS
    while len(pending) and n_steps <= MOST_STEPS:
        for row, values in zip(pending.tolist(), mean_slopes(pending, n_steps), strict=True):
            found[row] = Integral(
                values=values, begins=begins[row], ends=ends[row], n_steps=n_steps
            )
        rest = [row for row in pending.tolist() if not found[row].is_complete]
        pending = np.array(rest, np.int64)
        n_steps *= 2
    return [found[row] for row in range(len(ends))]
