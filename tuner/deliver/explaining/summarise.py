"""Explain many texts, and say what their words do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tuner.attribution.spelling import Spelling, spellings
from tuner.attribution.summary import Disagreement, Summary, WordEffect
from tuner.attribution.tally import Tally
from tuner.data.encoded import Encoded
from tuner.data.text import word_spans
from tuner.deliver.explaining.counted import Counted
from tuner.deliver.explaining.explainer import Explainer
from tuner.deliver.explaining.gradients import attribute
from tuner.deliver.explaining.shortcuts import find_shortcuts
from tuner.errors import InputError

#: Texts that are explained together; within them the long ones come first.
TEXTS_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What somebody wants to know of many texts."""

    #: The class that is explained; None for all.
    target: str | None = None
    #: Words a list, at most.
    n_words: int = 10
    #: Texts in which a word must be read to be listed.
    min_texts: int = 5


def summarise(
    explainer: Explainer,
    texts: Sequence[str],
    wish: Wish,
    *,
    groups: Sequence[str] | None = None,
    tell: Callable[[int], None] = lambda _: None,
) -> Summary:
    """Say which words matter for each class, on which models disagree, and likely shortcuts.

    A word's effect is the mean of its attributions over all places where it is read; see
    `Disagreement` and `find_shortcuts` for the two other lists.

    Args:
        explainer: Of the models.
        texts: Any texts; what class they are of does not matter.
        wish: What is asked for.
        groups: What each text belongs to, such as a film; None where nobody knows.
        tell: Told how many texts have been explained, now and then.

    Raises:
        InputError: There is no text, no word in enough of them, or no such class; or the artifact
            takes ids.
    """
    artifact = explainer.artifact
    numbers = _classes_to_explain(explainer, wish.target)
    if not texts:
        raise InputError("There is no text. Expected some to explain.")
    whole = artifact.encode(texts)
    is_read = [explainer.models.is_read(length) for length in whole.lengths.tolist()]
    data = _read(whole, np.concatenate(is_read))
    n_sums = 1 + explainer.models.n_models
    tally = Tally(artifact.manifest.n_ids, len(numbers) * n_sums)
    complete: list[int] = []
    for begin in range(0, len(data), TEXTS_AT_ONCE):
        rows = np.arange(begin, min(begin + TEXTS_AT_ONCE, len(data)))
        part = data.subset(rows)
        by_class = [
            attribute(explainer.models, part, np.full(len(part), number)) for number in numbers
        ]
        for row, found in zip(rows.tolist(), zip(*by_class, strict=True), strict=True):
            if not all(integral.is_complete for integral in found):
                continue
            complete.append(row)
            spelt = np.array(_spellings(texts[row]), np.int64)[is_read[row]]
            ids = data.ids[data.offsets[row] : data.offsets[row + 1]]
            tally.add(ids, np.concatenate([integral.values for integral in found]), spelt)
        tell(int(rows[-1]) + 1)
    means = tally.means().reshape(len(numbers), n_sums, -1)
    if wish.target is None and len(numbers) == 1:  # of two classes
        numbers, means = (0, 1), np.concatenate([-means, means])
    counted = Counted(
        data=data.subset(np.array(complete, np.int64)),
        groups=None if groups is None else [groups[row] for row in complete],
        words=artifact.words or (),
        tally=tally,
        targets=tuple(artifact.classes[number] for number in numbers),
        means=means,
        listed=np.flatnonzero(tally.n_texts >= wish.min_texts),
    )
    if not complete:
        raise InputError(
            f"The models are too jagged between nothing and each of {len(data)} texts: no "
            f"attributions sum to what they should. Give other texts."
        )
    if not len(counted.listed):
        raise InputError(
            f"No word is read in {wish.min_texts} of {len(complete)} texts. Give more texts, or "
            f"lower --min-texts."
        )
    several = explainer.models.n_models > 1
    return Summary(
        n_texts=len(complete),
        n_left_out=len(data) - len(complete),
        min_texts=wish.min_texts,
        n_words=len(counted.listed),
        models=tuple(member.file for member in artifact.manifest.members),
        for_class={
            name: _for_class(counted, place, wish.n_words)
            for place, name in enumerate(counted.targets)
        },
        disagreements=_disagreements(counted, wish.n_words) if several else None,
        shortcuts=find_shortcuts(artifact, counted, wish.n_words),
    )


def _classes_to_explain(explainer: Explainer, target: str | None) -> tuple[int, ...]:
    if target is not None:
        return (explainer.class_number(target),)
    n_classes = len(explainer.artifact.classes)
    # Of two classes, one's log-odds are the other's with another sign.
    return tuple(range(n_classes)) if n_classes > 2 else (1,)


def _read(data: Encoded, is_read: npt.NDArray[np.bool_]) -> Encoded:
    """Leave out words that no model reads: each model still reads the same ones."""
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(is_read)])
    return Encoded(ids=data.ids[is_read], offsets=before[data.offsets], labels=data.labels)


def _spellings(text: str) -> list[Spelling]:
    return spellings(text, word_spans(text)) or [Spelling.PLAIN]  # without any, one unknown word


def _for_class(counted: Counted, place: int, n_words: int) -> tuple[WordEffect, ...]:
    effects = counted.means[place, 0, counted.listed]
    order = np.argsort(-effects, kind="stable")[:n_words]
    return tuple(
        counted.effect(place, int(counted.listed[at])) for at in order.tolist() if effects[at] > 0
    )


def _disagreements(counted: Counted, n_words: int) -> tuple[Disagreement, ...]:
    each = counted.means[:, 1:, counted.listed]  # (classes, n_models, words)
    sizes = np.abs(each).mean(axis=2, keepdims=True)
    scaled = np.divide(each, sizes, out=np.zeros_like(each), where=sizes > 0)
    spreads = scaled.max(axis=1) - scaled.min(axis=1)  # (classes, words)
    # Of two classes, where the spreads are the same, the last one.
    places = len(spreads) - 1 - spreads[::-1].argmax(axis=0)
    order = np.argsort(-spreads.max(axis=0), kind="stable")[:n_words]
    return tuple(
        Disagreement(
            word=counted.effect(int(places[at]), int(counted.listed[at])),
            target=counted.targets[places[at]],
            scaled=tuple(scaled[places[at], :, at].tolist()),
            spread=float(spreads[places[at], at]),
        )
        for at in order.tolist()
        if spreads[places[at], at] > 0
    )
