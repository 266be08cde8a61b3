"""Divide examples into those to learn from and those to judge by."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tuner.data.corpus import Corpus, Rows
from tuner.errors import DataError
from tuner.metrics import STEPS_PER_EPOCH

#: Orders that are tried where groups or duplicates make the shares uneven.
N_ATTEMPTS = 20


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Which examples judge in a study that confirms a search."""

    #: Number of the fold, from 0.
    number: int
    #: How many folds there are, all of different examples.
    of: int

    def __str__(self) -> str:
        """Say which one it is, such as ``2 of 6``."""
        return f"{self.number + 1} of {self.of}"


def split(corpus: Corpus, *, validation: float, seed: int) -> tuple[Rows, Rows]:
    """Draw the validation examples: a random part with the same shares of the classes.

    Texts that differ in case and white space only lie on one side, and so does each group. Whole
    groups are drawn at random, and one that would take the shares further from what was asked
    is left to training.

    Args:
        corpus: All examples.
        validation: Share of the examples to judge by, between 0 and 1.
        seed: Decides which; at least 0.

    Returns:
        Rows of the training and of the validation examples, ascending; int64, (n_training,)
        and (n_validation,).

    Raises:
        DataError: A class cannot be on both sides, or hardly any training examples are left.
    """
    units = _units(corpus)
    counts = _counts(corpus, units)
    totals = counts.sum(axis=0)
    target = np.clip(np.rint(totals * validation), 1, np.maximum(totals - 1, 1)).astype(np.int64)
    rng = np.random.default_rng([seed, len(corpus)])
    best, best_distance = np.zeros(len(counts), bool), np.inf
    for _ in range(N_ATTEMPTS):
        drawn = _draw(counts, target, rng.permutation(len(counts)))
        held = counts[drawn].sum(axis=0)
        # A class that is missing on one side is worse than any uneven share.
        n_missing = int((held == 0).sum() + (held == totals).sum())
        distance = float(((held - target) ** 2).sum() + n_missing * len(corpus) ** 2)
        if distance < best_distance:
            best, best_distance = drawn, distance
        if distance == 0:
            break
    is_validation = best[units]  # (n,)
    rows = np.flatnonzero(~is_validation), np.flatnonzero(is_validation)
    _check(corpus, *rows)
    return rows


def split_fold(corpus: Corpus, fold: Fold, *, validation: float, seed: int) -> tuple[Rows, Rows]:
    """Set examples aside that have judged nothing yet: a fold of those that a search learned from.

    What belongs together stays together, as in `split`, and each fold has its share of each class.
    It holds as many examples as the search's validation set, or fewer where there are many folds.
    Those of the search's validation set are learned from, and what is more than the search learned
    from is left out, so that the two compare.

    Args:
        corpus: All examples.
        fold: Which examples judge.
        validation: Share of the examples that judged in the search, between 0 and 1.
        seed: That of the search.

    Returns:
        As `split`.

    Raises:
        DataError: There are fewer sets of examples that belong together than folds.
    """
    searched, _ = split(corpus, validation=validation, seed=seed)
    units = _units(corpus)
    counts = _counts(corpus, units)
    pool = np.unique(units[searched])
    n_dealt = max(fold.of, min(len(pool), math.ceil((1 - validation) / validation)))
    if len(pool) < n_dealt:
        raise DataError(
            f"{len(pool)} texts or groups were learned from in the search: too few to judge "
            f"{fold.of} times by others each. Add examples, or confirm with fewer --seeds."
        )
    rng = np.random.default_rng([seed, len(corpus), 1])
    order = rng.permutation(pool)
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]  # small ones fill up
    held = np.zeros((n_dealt, counts.shape[1]), np.int64)
    place = np.full(len(counts), -1)
    for unit in order.tolist():
        # |held + n|^2 - |held|^2, multiplied out, is smallest there.
        place[unit] = np.argmin(held @ counts[unit])
        held[place[unit]] += counts[unit]
    is_validation = place[units] == fold.number  # (n,)
    others = np.flatnonzero(~is_validation)
    kept = np.random.default_rng([seed, len(corpus), 2, fold.number]).permutation(others)
    training = np.sort(kept[: len(searched)])
    return training, np.flatnonzero(is_validation)


def numbered_units(corpus: Corpus, rows: Rows) -> Rows:
    """Number what belongs together among some examples, from 0; int64, (m,).

    Args:
        corpus: All examples.
        rows: Which of them; int64, (m,).
    """
    return np.unique(_units(corpus)[rows], return_inverse=True)[1].astype(np.int64)


def _counts(corpus: Corpus, units: Rows) -> Rows:
    """Count the examples of each class in each unit; int64, (n_units, n_classes)."""
    counts = np.zeros((units.max() + 1, len(corpus.classes)), np.int64)
    np.add.at(counts, (units, corpus.labels), 1)
    return counts


def _draw(counts: Rows, target: Rows, order: Rows) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Take units in turn, each if it brings the classes' counts nearer to the target."""
    missing: list[int] = target.tolist()
    drawn = np.zeros(len(counts), bool)
    for unit, row in zip(order.tolist(), counts[order].tolist(), strict=True):
        # |missing - row|^2 < |missing|^2, multiplied out
        if sum(n * (n - 2 * wanted) for n, wanted in zip(row, missing, strict=True)) < 0:
            drawn[unit] = True
            missing = [wanted - n for n, wanted in zip(row, missing, strict=True)]
    return drawn


def _units(corpus: Corpus) -> Rows:
    """Number the sets of examples that must stay together; int64, (n,).

    Examples with the same text or the same group stay together, and so on along such links.
    """
    parent = list(range(len(corpus)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in _links(corpus):
        parent[root(j)] = root(i)
    roots = [root(i) for i in range(len(corpus))]
    return np.unique(np.array(roots, np.int64), return_inverse=True)[1].astype(np.int64)


def _links(corpus: Corpus) -> Iterator[tuple[int, int]]:
    for names in (corpus.keys(), corpus.groups or ()):
        first: dict[str | bytes, int] = {}
        for i, name in enumerate(names):
            yield first.setdefault(name, i), i


def _check(corpus: Corpus, training: Rows, validation: Rows) -> None:
    if len(training) < STEPS_PER_EPOCH:
        raise DataError(
            f"Only {len(training)} of {len(corpus)} examples are left for training. Expected at "
            f"least {STEPS_PER_EPOCH}. Add examples or lower data.validation."
        )
    for side, rows in (("training", training), ("validation", validation)):
        there = np.bincount(corpus.labels[rows], minlength=len(corpus.classes))
        for label in np.flatnonzero(there == 0):
            name = corpus.classes[label]
            of_class = np.flatnonzero(corpus.labels == label)
            groups = {corpus.groups[i] for i in of_class} if corpus.groups is not None else set()
            reason = (
                f"its examples are in {len(groups)} group(s), which must not straddle the split. "
                f"Leave out data.group or add groups with this class."
                if groups
                else "its examples are repetitions of too few texts. Add different ones."
            )
            raise DataError(
                f"Class {name!r} has {len(of_class)} examples, but none on the {side} side of the "
                f"split: {reason}"
            )
