"""Cut encoded texts into batches of similar length, padded on the right."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt

from tuner.data.encoded import Encoded
from tuner.errors import DataError
from tuner.metrics import STEPS_PER_EPOCH

#: Padded lengths are multiples of this where nothing else is asked for: few shapes for the
#: compiler, little padding.
TIME_STEP = 32
#: Texts are sorted by length within so many batches' worth: little padding, and still random.
MAX_WINDOW_BATCHES = 50

Truncate = Literal["start", "end"]
Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]


def n_batches(n_examples: int, batch_size: int) -> int:
    """Count the batches of an epoch.

    Examples are spread evenly, so that some batches are one example smaller than others and none
    is empty. Batches are not larger than `batch_size`, except where the examples are so few that
    a multiple of four leaves too few batches for that.

    Args:
        n_examples: Training examples, at least four.
        batch_size: Examples a batch, at most.

    Returns:
        A multiple of four.

    Raises:
        DataError: There are fewer than four examples.

    Example:
        >>> n_batches(1_000, 64)  # 62 or 63 examples each
        16
    """
    if n_examples < STEPS_PER_EPOCH:
        raise DataError(
            f"An epoch has {STEPS_PER_EPOCH} parts and needs as many training examples. "
            f"Received {n_examples}. Add examples or lower data.validation."
        )
    wanted = -(-n_examples // (STEPS_PER_EPOCH * batch_size))
    return STEPS_PER_EPOCH * min(wanted, n_examples // STEPS_PER_EPOCH)


def training_batches(
    data: Encoded,
    *,
    batch_size: int,
    max_length: int,
    truncate: Truncate,
    seed: int,
    epoch: int,
    pad_to: int = TIME_STEP,
) -> Iterator[tuple[Ids, npt.NDArray[np.int32]]]:
    """Go once through the examples, in an order that depends on nothing but seed and epoch.

    The examples are shuffled, sorted by length within windows of many batches, cut into batches,
    and the batches are shuffled: neighbours change from epoch to epoch, and padding stays small.

    Args:
        data: The examples.
        batch_size: Examples a batch; see `n_batches`.
        max_length: Tokens of a text that are kept, at most.
        truncate: Which end of a longer text is cut off.
        seed: Of the trial; at least 0.
        epoch: Number of the epoch, from 0.
        pad_to: Padded lengths are multiples of this.

    Yields:
        Ids padded on the right with 0, int32, (batch, time), where time is a multiple of `pad_to`;
        and labels, int32, (batch,).
    """
    n_all = n_batches(len(data), batch_size)
    rng = np.random.default_rng(np.random.SeedSequence([seed, epoch]))
    bounds = np.arange(n_all + 1) * len(data) // n_all  # (n_batches + 1,)
    shuffled = rng.permutation(len(data))
    # Several windows even in a small data set: in a single one, a text would meet the same
    # neighbours, those of its length, in every epoch.
    window_batches = min(MAX_WINDOW_BATCHES, max(1, n_all // 8))
    window = np.repeat(np.arange(n_all) // window_batches, np.diff(bounds))
    kept = np.minimum(data.lengths, max_length)
    order = shuffled[np.lexsort((kept[shuffled], window))]
    for batch in rng.permutation(n_all):
        rows = order[bounds[batch] : bounds[batch + 1]]
        yield padded(data, rows, max_length, truncate, pad_to), data.labels[rows]


def evaluation_batches(
    data: Encoded,
    *,
    batch_size: int,
    max_length: int,
    truncate: Truncate,
    pad_to: int = TIME_STEP,
) -> Iterator[tuple[Rows, Ids]]:
    """Go once through the examples, from the shortest to the longest.

    Args:
        data: The examples.
        batch_size: Examples a batch; the last one may be smaller.
        max_length: Tokens of a text that are kept, at most.
        truncate: Which end of a longer text is cut off.
        pad_to: Padded lengths are multiples of this.

    Yields:
        Which examples, int64, (batch,); and their ids, as in `training_batches`.
    """
    order = np.argsort(np.minimum(data.lengths, max_length), kind="stable")
    for start in range(0, len(data), batch_size):
        rows = order[start : start + batch_size]
        yield rows, padded(data, rows, max_length, truncate, pad_to)


def read_part(lengths: Rows, max_length: int, truncate: Truncate) -> tuple[Rows, Rows]:
    """Say which part of texts is read.

    Args:
        lengths: Words of each text; int64, (n,).
        max_length: Words of a text that are kept, at most.
        truncate: Which end of a longer text is cut off.

    Returns:
        Number of the first word that is read, and of words that are; int64, (n,) each.
    """
    kept = np.minimum(lengths, max_length)
    return (np.zeros_like(kept) if truncate == "end" else lengths - kept), kept


def padded(
    data: Encoded, rows: Rows, max_length: int, truncate: Truncate, pad_to: int = TIME_STEP
) -> Ids:
    """Make a batch of some texts.

    Args:
        data: The texts.
        rows: Which of them, any number of times; int64, (batch,), not empty.
        max_length: Tokens of a text that are kept, at most.
        truncate: Which end of a longer text is cut off.
        pad_to: The padded length is a multiple of this.

    Returns:
        Ids padded on the right with 0; int32, (batch, time).
    """
    begins = data.offsets[rows]
    firsts, kept = read_part(data.offsets[rows + 1] - begins, max_length, truncate)  # (batch,)
    starts = begins + firsts
    n_steps = -(-int(kept.max()) // pad_to) * pad_to
    steps = np.arange(n_steps)
    # Reads on into the next texts, and then forgets that: quicker than picking what is real.
    ids = data.ids.take(starts[:, None] + steps, mode="clip")  # (batch, time)
    ids *= steps < kept[:, None]
    return ids
