"""Labelled examples as they were read, before they are split or turned into ids."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tuner.errors import DataError

Rows = npt.NDArray[np.int64]
Ranks = tuple[npt.NDArray[np.int32], ...]


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Labelled examples in their order; either `texts` or `ranks` is there."""

    #: The texts; None where only word ranks are known.
    texts: tuple[str, ...] | None
    #: Each text as ranks of its words by frequency, from 1; int32, (n_words,).
    ranks: Ranks | None
    #: Index into `classes` of each example; int32, (n,).
    labels: npt.NDArray[np.int32]
    #: Names of the classes, sorted; numbers as numbers.
    classes: tuple[str, ...]
    #: What each example belongs to, such as a movie; None where that is not known.
    groups: tuple[str, ...] | None
    #: What a person should know about the data, one sentence or two each.
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, rows: Rows) -> "Corpus":
        """Take some examples, in the given order.

        Args:
            rows: Which examples; int64, (m,).
        """
        return dataclasses.replace(
            self,
            texts=None if self.texts is None else tuple(self.texts[i] for i in rows),
            ranks=None if self.ranks is None else tuple(self.ranks[i] for i in rows),
            labels=self.labels[rows],
            groups=None if self.groups is None else tuple(self.groups[i] for i in rows),
        )

    def keys(self) -> list[str | bytes]:
        """Give each example a key that is the same for texts that differ in case or space only."""
        if self.texts is not None:
            return [" ".join(text.lower().split()) for text in self.texts]
        return [ranks.tobytes() for ranks in self.ranks or ()]

    def n_words(self) -> npt.NDArray[np.int64]:
        """Count the words of each example; int64, (n,)."""
        words = [text.split() for text in self.texts] if self.texts is not None else self.ranks
        return np.array([len(w) for w in words or ()], np.int64)


def sorted_classes(labels: Sequence[str]) -> tuple[str, ...]:
    """Name each class once: in the order of numbers where all are numbers, else of letters."""
    classes = sorted(set(labels))
    try:
        return tuple(sorted(classes, key=float))
    except ValueError:
        return tuple(classes)


def check(corpus: Corpus, where: str) -> None:
    """Refuse examples that nothing can be learned from.

    Args:
        corpus: The examples.
        where: What they were read from, for the message.

    Raises:
        DataError: There is no example, no word, one class only, or a class with one example.
    """
    if not len(corpus):
        raise DataError(f"{where}: no examples. Expected at least two of each class.")
    if not (any(map(str.strip, corpus.texts or ())) or any(map(len, corpus.ranks or ()))):
        raise DataError(
            f"{where}: all {len(corpus)} texts are empty. Expected words to learn from. "
            f"Check that data.text names the right column."
        )
    counts = np.bincount(corpus.labels, minlength=len(corpus.classes))
    if len(corpus.classes) < 2:
        raise DataError(
            f"{where}: all {len(corpus)} examples are of one class, {corpus.classes[0]!r}. "
            f"Expected at least two classes. Check that data.label names the right column."
        )
    if (counts == 1).any():
        lonely = [corpus.classes[i] for i in np.flatnonzero(counts == 1)]
        names = ", ".join(repr(name) for name in lonely[:5]) + (", ..." if lonely[5:] else "")
        raise DataError(
            f"{where}: only one example of class {names}. Expected at least two of each, one to "
            f"learn from and one to judge by. Add examples or remove the class."
        )


def limit(corpus: Corpus, n_examples: int, *, seed: int) -> Corpus:
    """Keep at most so many examples: a random part with the same shares of the classes.

    Args:
        corpus: All examples.
        n_examples: How many to keep, at most.
        seed: Decides which.

    Raises:
        DataError: So few examples cannot hold two of each class.
    """
    if len(corpus) <= n_examples:
        return corpus
    counts = np.bincount(corpus.labels, minlength=len(corpus.classes))
    if n_examples < 2 * len(counts):
        raise DataError(
            f"data.examples = {n_examples} cannot hold two examples of each of {len(counts)} "
            f"classes. Use at least {2 * len(counts)}."
        )
    kept = _shares(counts, n_examples)
    rng = np.random.default_rng([seed, len(corpus)])
    rows = np.concatenate(
        [
            rng.permutation(np.flatnonzero(corpus.labels == label))[:n]
            for label, n in enumerate(kept)
        ]
    )
    note = f"{n_examples} of {len(corpus)} examples are used (data.examples)."
    smaller = corpus.subset(np.sort(rows))
    return dataclasses.replace(smaller, notes=(*corpus.notes, note))


def _shares(counts: npt.NDArray[np.int64], total: int) -> npt.NDArray[np.int64]:
    """Spread `total` over classes like `counts`, two each at least."""
    exact = counts * (total / counts.sum())
    kept: Rows = np.maximum(np.floor(exact).astype(np.int64), 2)
    while kept.sum() != total:
        behind = exact - kept
        if kept.sum() < total:
            kept[np.argmax(behind)] += 1
        else:
            kept[np.argmin(np.where(kept > 2, behind, np.inf))] -= 1
    return kept


def with_findings(corpus: Corpus) -> Corpus:
    """Add notes on rare classes and on duplicates."""
    notes = [*_rare_classes(corpus), *_duplicates(corpus)]
    return dataclasses.replace(corpus, notes=(*corpus.notes, *notes))


def _rare_classes(corpus: Corpus) -> list[str]:
    counts = np.bincount(corpus.labels, minlength=len(corpus.classes))
    rarest = int(np.argmin(counts))
    if counts[rarest] * 2 * len(counts) >= len(corpus):
        return []
    return [
        f"The classes are unbalanced: {corpus.classes[rarest]!r} has {counts[rarest]} of "
        f"{len(corpus)} examples. Accuracy hides what happens to it: consider "
        f'metric = "val_macro_f1" and class_weights in [space].'
    ]


def _duplicates(corpus: Corpus) -> list[str]:
    keys = corpus.keys()
    n_repeated = len(keys) - len(Counter(keys))
    if not n_repeated:
        return []
    labels_of: defaultdict[str | bytes, set[int]] = defaultdict(set)
    for key, label in zip(keys, corpus.labels.tolist(), strict=True):
        labels_of[key].add(label)
    notes = [
        f"{n_repeated} of {len(corpus)} texts repeat another one (but for case and space). "
        f"Repetitions stay on one side of the validation split."
    ]
    if n_conflicting := sum(len(labels) > 1 for labels in labels_of.values()):
        notes.append(
            f"{n_conflicting} texts occur with different classes. No model can get these right: "
            f"correct or remove them."
        )
    return notes
