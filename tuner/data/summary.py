"""Describe examples to a person before anything is trained on them."""

from dataclasses import dataclass

import numpy as np

from tuner.data.corpus import Corpus


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What `tuner check` says about the data."""

    #: Number of examples.
    n_examples: int
    #: Each class and the number of its examples.
    classes: tuple[tuple[str, int], ...]
    #: Words of a text, in the middle of all.
    median_words: float
    #: Words that 95 of 100 texts do not exceed.
    p95_words: float
    #: Number of groups; None where no column names them.
    n_groups: int | None
    #: What a person should know.
    notes: tuple[str, ...]


def describe(corpus: Corpus) -> Summary:
    """Sum examples up.

    Args:
        corpus: The examples.
    """
    counts = np.bincount(corpus.labels, minlength=len(corpus.classes)).tolist()
    median, p95 = np.percentile(corpus.n_words(), (50, 95)).tolist()
    return Summary(
        n_examples=len(corpus),
        classes=tuple(zip(corpus.classes, counts, strict=True)),
        median_words=median,
        p95_words=p95,
        n_groups=None if corpus.groups is None else len(set(corpus.groups)),
        notes=corpus.notes,
    )
