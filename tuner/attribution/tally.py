"""Sums over the words of many texts."""

import numpy as np
import numpy.typing as npt

from tuner.attribution.odds import Floats, Numbers
from tuner.attribution.spelling import Spelling


class Tally:
    """Counts what each word does, and how it is written.

    Args:
        n_ids: Number of token ids.
        n_sums: Attributions of each occurrence, such as one a class and model.
    """

    def __init__(self, n_ids: int, n_sums: int) -> None:
        self._sums = np.zeros((n_sums, n_ids))
        self._spelt = np.zeros((n_ids, len(Spelling)), np.int64)
        #: Times that each id was read; int64, (n_ids,).
        self.n_occurrences: Numbers = np.zeros(n_ids, np.int64)
        #: Texts that each was read in; int64, (n_ids,).
        self.n_texts: Numbers = np.zeros(n_ids, np.int64)

    def add(self, ids: npt.NDArray[np.int32], values: Floats, spelt: Numbers) -> None:
        """Count a text.

        Args:
            ids: Its words that are read; (n_words,).
            values: What they add; (n_sums, n_words).
            spelt: How they are written, as numbers of `Spelling`; (n_words,).
        """
        for sums, added in zip(self._sums, values, strict=True):
            np.add.at(sums, ids, added)
        np.add.at(self._spelt, (ids, spelt), 1)
        np.add.at(self.n_occurrences, ids, 1)
        self.n_texts[np.unique(ids)] += 1

    def means(self) -> Floats:
        """Give the mean attributions of each id; (n_sums, n_ids), 0 where it was never read."""
        means: Floats = self._sums / np.maximum(self.n_occurrences, 1)
        return means

    def share(self, number: int, spelling: Spelling) -> float:
        """Say in what share of its occurrences a word is written in a certain way."""
        return float(self._spelt[number, spelling] / max(self.n_occurrences[number], 1))

    def capital_share(self, number: int) -> float:
        """Say in what share of its occurrences in the midst of sentences a word has a capital."""
        capital, plain = (
            int(self._spelt[number, which]) for which in (Spelling.CAPITAL, Spelling.PLAIN)
        )
        return capital / max(capital + plain, 1)
