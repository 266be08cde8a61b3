"""What is said of many texts: the words that matter, and those that should not."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class WordEffect:
    """What a word does to a class, on average over the texts."""

    #: As the models read it; ``UNKNOWN`` for all that they do not know.
    word: str
    #: Texts in which it is read.
    n_texts: int
    #: Times that it is read.
    n_occurrences: int
    #: Mean of its attributions to the class's log-odds, by the models together.
    effect: float
    #: The same by each model, in the order of the manifest.
    by_model: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """A word of which an artifact's models think differently."""

    #: What it does.
    word: WordEffect
    #: The class in question.
    target: str
    #: The models' effects brought to the same scale: each divided by its model's mean absolute
    #: effect of all words, in the order of the manifest.
    scaled: tuple[float, ...]
    #: The largest of these less the smallest.
    spread: float


@dataclass(frozen=True, kw_only=True)
class Shortcut:
    """A word that matters, and that by its nature should not."""

    #: What it does.
    word: WordEffect
    #: The class that it speaks for; or against, where no other was asked about: the sign tells.
    target: str
    #: What makes it suspicious, for people; not empty.
    reasons: tuple[str, ...]
    #: Texts with it that were predicted anew with the unknown word in its place.
    n_tried: int
    #: Those of them whose class was another one then: there the word decided alone.
    n_decided: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the words of many texts do."""

    #: Texts that were explained.
    n_texts: int
    #: Texts that were not, as the steps that are allowed were not enough.
    n_left_out: int
    #: Texts in which a word must be read to be listed.
    min_texts: int
    #: Words that are.
    n_words: int
    #: File names of the models, in the order of the manifest.
    models: tuple[str, ...]
    #: Class to the words that speak for it most, the strongest first.
    for_class: Mapping[str, tuple[WordEffect, ...]]
    #: Words of which the models think most differently; None of a single model.
    disagreements: tuple[Disagreement, ...] | None
    #: Likely shortcuts, the strongest first.
    shortcuts: tuple[Shortcut, ...]
