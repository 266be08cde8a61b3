"""How far two rankings of the same things agree."""

import numpy as np

from tuner.attribution.odds import Floats


def spearman(one: Floats, other: Floats) -> float | None:
    """Give Spearman's rank correlation; what is equal shares the mean of its ranks.

    Args:
        one: Values, (n,).
        other: Other values of the same things, (n,).

    Returns:
        From -1 to 1; None where there are fewer than two things, or one side's values are all the
        same.

    References:
        Spearman 1904, "The proof and measurement of association between two things".
    """
    centred = [ranks - ranks.mean() for ranks in map(_ranks, (one, other)) if len(ranks)]
    norms = [float(np.linalg.norm(ranks)) for ranks in centred]
    if not norms or not all(norms):
        return None
    return float(centred[0] @ centred[1] / (norms[0] * norms[1]))


def _ranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)  # rank of the last of those that are equal, from 1
    ranks: Floats = (last - (counts - 1) / 2)[place]
    return ranks
