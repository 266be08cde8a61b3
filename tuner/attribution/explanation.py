"""What is said of a text: which words speak for a class, and which against it."""

from dataclasses import dataclass

import numpy as np

from tuner.attribution.integration import tolerance


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word of a text."""

    #: Where it begins in the text, in characters; with what hangs on it, such as a comma.
    begin: int
    #: Where it ends.
    end: int
    #: Whether the models know it; all that they do not are one and the same to them.
    is_known: bool
    #: Whether any model reads it: of longer texts a part is cut off.
    is_read: bool
    #: What it adds to the class's log-odds; 0 where it is not read.
    attribution: float
    #: By how much the log-odds fall where it is an unknown word; 0 where it is one, or not read.
    occlusion: float
    #: What it adds to each model's log-odds.
    by_model: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Balance:
    """What there is to explain, and what the words were found to add."""

    #: Whose it is: a model's file, or what they are together.
    whose: str
    #: Probability of the class.
    probability: float
    #: Its log-odds, the natural logarithm of p / (1 - p).
    log_odds: float
    #: Its log-odds where each word has the zero vector.
    baseline: float
    #: Sum of the words' attributions.
    attributed: float

    @property
    def gap(self) -> float:
        """How far the attributions' sum is from the change of the log-odds."""
        return abs(self.attributed - (self.log_odds - self.baseline))

    @property
    def tolerance(self) -> float:
        """How far it may be."""
        return float(tolerance(np.array(self.log_odds - self.baseline)))


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a text has the probability of a class that it has."""

    #: As it was given.
    text: str
    #: The class that is most probable.
    predicted: str
    #: The class that is explained.
    target: str
    #: The models together: it is their mean probability that is explained.
    whole: Balance
    #: Each model by itself, in the order of the manifest.
    by_model: tuple[Balance, ...]
    #: In order. A text without any is read as one unknown word, of no characters.
    words: tuple[Word, ...]
    #: Spearman's rank correlation of attribution and occlusion over the words that are known and
    #: read: near 1 where two unlike methods say the same. None where there are no two to rank.
    agreement: float | None
    #: Steps that the integration took.
    n_steps: int

    def strongest(self, n: int) -> tuple[Word, ...]:
        """Give the words with the largest attributions, for or against the class, largest first.

        Args:
            n: How many, at most.
        """
        read = [word for word in self.words if word.is_read]
        return tuple(sorted(read, key=lambda word: -abs(word.attribution))[:n])

    def written(self, word: Word) -> str:
        """Give a word as it stands in the text."""
        return self.text[word.begin : word.end]
