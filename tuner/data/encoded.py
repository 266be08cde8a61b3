"""Examples as numbers: every text's token ids, one after another, with labels."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Labelled texts as token ids, at full length and without padding.

    Text ``i`` is ``ids[offsets[i]:offsets[i + 1]]`` and never empty.
    """

    #: Token ids of all texts, one text after another; int32, (n_tokens,); 0 never occurs.
    ids: npt.NDArray[np.int32]
    #: Where each text begins, and the end of the last one; int64, (n + 1,).
    offsets: npt.NDArray[np.int64]
    #: Class of each text; int32, (n,).
    labels: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Number of tokens of each text; int64, (n,)."""
        return np.diff(self.offsets)

    def subset(self, rows: npt.NDArray[np.int64]) -> "Encoded":
        """Take some texts, in the given order.

        Args:
            rows: Which texts; int64, (m,).

        Returns:
            A copy that holds those texts only.
        """
        lengths = self.lengths[rows]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        # Position of each kept token = its place in the copy, moved by where its text came from.
        shift = np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        ids = self.ids[np.arange(offsets[-1]) + shift]
        return Encoded(ids=ids, offsets=offsets, labels=self.labels[rows])
