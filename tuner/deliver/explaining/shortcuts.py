"""Likely shortcuts: words that matter, and that by their nature should not."""

from collections import Counter

import numpy as np

from tuner.attribution.odds import Numbers
from tuner.attribution.spelling import Spelling
from tuner.attribution.summary import Shortcut
from tuner.data.encoded import Encoded
from tuner.data.text import UNKNOWN_ID
from tuner.deliver.artifact import Artifact
from tuner.deliver.explaining.counted import Counted

#: A word is strong where this share of the listed words have a smaller effect.
STRONG = 0.95
#: A word is a number, markup or a name where it is written so in this share of its occurrences.
MOSTLY = 0.8
#: A word belongs to one group where this share of its texts do.
ONE_GROUP = 0.5
#: Texts that are predicted without a suspicious word, at most.
MOST_TRIED = 100


def find_shortcuts(artifact: Artifact, counted: Counted, n_words: int) -> tuple[Shortcut, ...]:
    """List strong words that tell nothing of a text's class by their meaning.

    The rule, as no computation knows what a good reason is: a word is a likely shortcut if its
    effect is larger than that of 95 % of the listed words, and it is nearly always written as a
    number, in markup, or as a name (with a capital in the midst of sentences), or half of its
    texts or more belong to one group. Whether it decides alone, so that texts get another class
    without it, is told beside. It is a list to be looked at: "10/10" is a number and a fair
    reason, and where all nouns have capitals, all are names to this rule.

    Args:
        artifact: The models.
        counted: What the words of many texts do.
        n_words: How many to list, at most.

    References:
        Geirhos et al. 2020, arXiv:2004.07780 (what shortcuts are).
    """
    effects = counted.means[:, 0, counted.listed]  # (classes, words)
    strengths = np.abs(effects).max(axis=0)
    found: list[Shortcut] = []
    for at in np.argsort(-strengths, kind="stable").tolist():
        if strengths[at] < np.quantile(strengths, STRONG) or len(found) == n_words:
            break
        number = int(counted.listed[at])
        reasons = _reasons(counted, number)
        if not reasons or number == UNKNOWN_ID:
            continue
        place = int(effects[:, at].argmax())
        n_tried, n_decided = _try_without(artifact, counted, number)
        found.append(
            Shortcut(
                word=counted.effect(place, number),
                target=counted.targets[place],
                reasons=reasons,
                n_tried=n_tried,
                n_decided=n_decided,
            )
        )
    return tuple(found)


def _reasons(counted: Counted, number: int) -> tuple[str, ...]:
    tally = counted.tally
    reasons = []
    if tally.share(number, Spelling.MARKUP) >= MOSTLY:
        reasons.append("markup")
    elif tally.share(number, Spelling.NUMBER) >= MOSTLY:
        reasons.append("a number")
    elif tally.capital_share(number) >= MOSTLY:
        reasons.append("a name")
    if counted.groups is not None:
        rows = _texts_with(counted, number)
        belong = Counter(counted.groups[row] for row in rows.tolist())
        group, n = belong.most_common(1)[0]
        if n >= ONE_GROUP * len(rows):
            reasons.append(f"{n} of its {len(rows)} texts are of {group!r}")
    return tuple(reasons)


def _texts_with(counted: Counted, number: int) -> Numbers:
    """List the texts in which a word is read."""
    places = np.flatnonzero(counted.data.ids == number)
    return np.unique(np.searchsorted(counted.data.offsets, places, side="right") - 1)


def _try_without(artifact: Artifact, counted: Counted, number: int) -> tuple[int, int]:
    """Predict some of a word's texts without it; count them, and the classes that change."""
    rows = _texts_with(counted, number)
    rows = rows[:: -(-len(rows) // MOST_TRIED)]
    given = counted.data.subset(rows)
    without = Encoded(
        ids=np.where(given.ids == number, np.int32(UNKNOWN_ID), given.ids),
        offsets=given.offsets,
        labels=given.labels,
    )
    before, after = (artifact.predict_encoded(each).argmax(axis=1) for each in (given, without))
    return len(rows), int((before != after).sum())
