"""How far a number that was counted on some examples may be from the truth."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]

#: Share of intervals that hold the truth.
COVERAGE = 0.95
#: Quantile of the normal distribution for that.
_Z = 1.959963984540054
#: Times that examples are drawn again ...
N_RESAMPLES = 1_000
#: ... and times that do where only the spread is asked for, which they give to 5 %.
N_FOR_SPREAD = 200
#: Degrees of freedom from which on Student's distribution is as good as the normal one.
_MANY = 1e4


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval."""

    #: What was measured.
    value: float
    #: Lower end.
    low: float
    #: Upper end.
    high: float


def wilson(n_hits: int, n: int) -> Estimate:
    r"""Give a share with Wilson's interval, which holds also near 0 and 1.

    .. math:: \frac{\hat p + z^2/2n \pm z \sqrt{\hat p (1 - \hat p)/n + z^2/4n^2}}{1 + z^2/n}

    Args:
        n_hits: How many.
        n: Of how many, at least 1.

    References:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    share = n_hits / n
    middle = share + _Z**2 / (2 * n)
    half = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    scale = 1 + _Z**2 / n
    low, high = (middle - half) / scale, (middle + half) / scale
    return Estimate(value=share, low=max(0.0, low), high=min(1.0, high))


def bootstrap(
    n: int,
    measure: Callable[[Rows], Mapping[str, float]],
    *,
    seed: int,
    groups: Sequence[str] | Rows | None = None,
) -> dict[str, Estimate]:
    """Give numbers with percentile intervals, by drawing the examples again and again.

    Args:
        n: Number of examples.
        measure: From rows, int64 ``(m,)``, some more than once, to the numbers by name; one that
            is not a number on these rows counts as missing.
        seed: Of the draws.
        groups: What each example belongs to; whole groups are drawn then, as examples of a group
            are alike and tell less than as many others. None where each stands for itself.

    Returns:
        The numbers that exist on all rows.

    References:
        Efron and Tibshirani 1993, "An introduction to the bootstrap".
    """
    values = measure(np.arange(n))
    rng = np.random.default_rng(seed)
    drawn = [measure(rows) for rows in _resamples(n, groups, rng, N_RESAMPLES)]
    tails = (1 - COVERAGE) / 2, (1 + COVERAGE) / 2
    estimates = {}
    for name, value in values.items():
        if math.isnan(value):
            continue
        low, high = np.nanquantile([one[name] for one in drawn], tails).tolist()
        estimates[name] = Estimate(value=value, low=low, high=high)
    return estimates


def standard_error(
    n: int,
    measure: Callable[[Rows], float],
    *,
    seed: int,
    groups: Sequence[str] | Rows | None = None,
) -> float:
    """Say how far a number would differ on other examples, by drawing them again and again.

    Args:
        n: Number of examples.
        measure: As in `bootstrap`, of one number.
        seed: Of the draws.
        groups: As in `bootstrap`.

    Returns:
        The standard deviation; 0 where the number never exists.
    """
    rng = np.random.default_rng(seed)
    drawn = np.array([measure(rows) for rows in _resamples(n, groups, rng, N_FOR_SPREAD)])
    known = drawn[np.isfinite(drawn)]
    return float(known.std()) if len(known) else 0.0


def t_quantile(df: float) -> float:
    r"""Give the number that Student's t exceeds in size once in twenty times.

    .. math:: t = \sqrt\nu \tan\theta, \quad p(\theta) \propto \cos^{\nu - 1}\theta

    Args:
        df: Degrees of freedom, at least 1; need not be whole.
    """
    df = min(df, _MANY)
    angles = np.linspace(0, math.pi / 2, 20_001)
    density = np.maximum(np.cos(angles), 0) ** (df - 1)
    below = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    angle = float(np.interp(COVERAGE * below[-1], below, angles))
    return math.sqrt(df) * math.tan(angle)


def _resamples(
    n: int, groups: Sequence[str] | Rows | None, rng: np.random.Generator, n_resamples: int
) -> Iterator[Rows]:
    if groups is None:
        for _ in range(n_resamples):
            yield rng.integers(n, size=n)
        return
    _, of = np.unique(np.asarray(groups), return_inverse=True)
    members = np.argsort(of, kind="stable")  # those of a group in a row
    sizes = np.bincount(of)
    begins = np.cumsum(sizes) - sizes
    for _ in range(n_resamples):
        drawn = rng.integers(len(sizes), size=len(sizes))
        ends = np.cumsum(sizes[drawn])
        moved = begins[drawn] - (ends - sizes[drawn])
        yield members[np.arange(ends[-1]) + np.repeat(moved, sizes[drawn])]
