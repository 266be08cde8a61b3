"""What the words of many texts do, counted and ready to be asked."""

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.attribution.odds import Floats, Numbers
from tuner.attribution.summary import WordEffect
from tuner.attribution.tally import Tally
from tuner.data.encoded import Encoded
from tuner.data.text import UNKNOWN_ID

#: What stands for all words that the models do not know: no word has brackets.
UNKNOWN = "[unknown]"


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Sums over texts that were explained."""

    #: The texts, as far as they are read.
    data: Encoded
    #: What each belongs to; None where nobody knows.
    groups: Sequence[str] | None
    #: Words by id, from id 2.
    words: tuple[str, ...]
    #: How often words are read, and how they are written.
    tally: Tally
    #: The classes that were explained.
    targets: tuple[str, ...]
    #: Mean attributions to each of these, by the models together and by each, of each id; float64,
    #: (n_targets, 1 + n_models, n_ids).
    means: Floats
    #: Ids of the words that are read in texts enough to be listed; int64, (n_words,).
    listed: Numbers

    def effect(self, place: int, number: int) -> WordEffect:
        """Say what a word does.

        Args:
            place: Which of the targets.
            number: The word's id.
        """
        return WordEffect(
            word=UNKNOWN if number == UNKNOWN_ID else self.words[number - 2],
            n_texts=int(self.tally.n_texts[number]),
            n_occurrences=int(self.tally.n_occurrences[number]),
            effect=float(self.means[place, 0, number]),
            by_model=tuple(self.means[place, 1:, number].tolist()),
        )
