"""A table of word vectors as the product of two smaller ones."""

from collections.abc import Mapping

import numpy as np

from tuner.packing.stored import TABLE, Floats

#: How the name of the factor with a short vector a word ends ...
LEFT = ".left"
#: ... and that of the factor that makes these long.
RIGHT = ".right"


def factorise(weights: Mapping[str, Floats], rank: int) -> dict[str, Floats]:
    r"""Replace the table of word vectors by the two factors that come nearest to it.

    .. math:: E \approx L R, \qquad L = U_k, \quad R = S_k V_k^\top

    of the singular value decomposition :math:`E = U S V^\top`: no other product of this rank has a
    smaller squared error. The columns of :math:`L` are equally large, so that one scale serves a
    row of it.

    Args:
        weights: By name, with the table, (n_ids, width).
        rank: Width of the short vectors, from 1 to less than the table's.

    Returns:
        By name, with ``embedding/embeddings.left``, (n_ids, rank), and ``.right``, (rank, width),
        in the table's place.

    References:
        Eckart and Young 1936; Acharya et al. 2018, arXiv:1811.00641 (for text classifiers).
    """
    left, sizes, right = np.linalg.svd(weights[TABLE].astype(np.float64), full_matrices=False)
    factors = {
        TABLE + LEFT: left[:, :rank].astype(np.float32),
        TABLE + RIGHT: (sizes[:rank, None] * right[:rank]).astype(np.float32),
    }
    return {name: weight for name, weight in weights.items() if name != TABLE} | factors


def multiply_out(weights: Mapping[str, Floats]) -> dict[str, Floats]:
    """Put the table of word vectors back in its factors' place, where there are factors.

    Args:
        weights: By name.
    """
    whole = dict(weights)
    if TABLE + LEFT in whole and TABLE + RIGHT in whole:
        whole[TABLE] = whole.pop(TABLE + LEFT) @ whole.pop(TABLE + RIGHT)
    return whole
