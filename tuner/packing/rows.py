"""Which words a model keeps, and the numbers that they have then."""

import numpy as np
import numpy.typing as npt

#: Ids that every model has: padding, and words that it does not know.
N_SPECIAL = 2
#: Of these, that of words that it does not know.
UNKNOWN = 1


def choose_rows(importance: npt.NDArray[np.float64], n_kept: int) -> npt.NDArray[np.int64]:
    """Choose the ids that keep a row of their own.

    Args:
        importance: Of each id, (n_ids,); those of padding and of unknown words do not count.
        n_kept: How many ids there will be, with these two; at least 3.

    Returns:
        Ids, ascending, the two special ones first; int64, (n_kept,), or all where there are fewer.
        Of words that are equally important, the more frequent ones stay: lower ids.
    """
    words = N_SPECIAL + np.argsort(-importance[N_SPECIAL:], kind="stable")
    special = np.arange(N_SPECIAL)
    return np.sort(np.concatenate([special, words[: n_kept - N_SPECIAL]])).astype(np.int64)


def new_numbers(kept: npt.NDArray[np.int64], n_ids: int) -> npt.NDArray[np.int32]:
    """Give each id the one that it has in the smaller vocabulary.

    Args:
        kept: As `choose_rows` gives them.
        n_ids: Ids until then.

    Returns:
        int32, (n_ids,); that of unknown words for all words that are gone.
    """
    numbers = np.full(n_ids, UNKNOWN, np.int32)
    numbers[kept] = np.arange(len(kept))
    return numbers
