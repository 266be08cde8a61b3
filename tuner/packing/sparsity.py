"""Which numbers of a weight matter most, by their size."""

import numpy as np
import numpy.typing as npt

from tuner.packing.stored import Floats


def largest_mask(weight: Floats, share_of_zeros: float) -> npt.NDArray[np.bool_]:
    """Choose the numbers of a weight that stay, the largest ones.

    Args:
        weight: Any shape.
        share_of_zeros: Share of them that becomes 0; 0 to below 1.

    Returns:
        Of the weight's shape; of numbers of the same size the first stay.

    References:
        Han et al. 2015, arXiv:1506.02626.
    """
    n_zeros = int(share_of_zeros * weight.size)
    smallest_last = np.argsort(-np.abs(weight), axis=None, kind="stable")
    mask = np.ones(weight.size, bool)
    mask[smallest_last[weight.size - n_zeros :]] = False
    return mask.reshape(weight.shape)
