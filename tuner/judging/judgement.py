"""How good class probabilities are on labelled examples: metrics, calibration, confusion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tuner.judging.intervals import Estimate, Rows, bootstrap, wilson
from tuner.metrics import METRICS, Labels, Probabilities, evaluate

#: Bins of confidence in the reliability table.
N_BINS = 10
#: Name of the metric that counts hits, and so has an exact interval.
ACCURACY = "accuracy"
#: Name of the mean distance between confidence and accuracy.
CALIBRATION_ERROR = "calibration_error"
#: Every metric's name: those of studies without what they say of the validation set.
NAMES = (*(name.removeprefix("val_") for name in METRICS), CALIBRATION_ERROR)


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Predictions of which the model was about equally sure."""

    #: Least probability of the predicted class.
    low: float
    #: Greatest one, which the last bin alone includes.
    high: float
    #: How many there are.
    n: int
    #: Mean probability of the predicted class; 0 where there are none.
    confidence: float
    #: Share of them that are right; 0 where there are none.
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What came of judging."""

    #: Examples that were judged.
    n_examples: int
    #: By name, those of `NAMES` that exist here; ``loss`` in nats.
    metrics: Mapping[str, Estimate]
    #: By confidence, from low to high.
    reliability: tuple[Bin, ...]
    #: Number of examples by true class (rows) and predicted class (columns).
    confusion: tuple[tuple[int, ...], ...]


def judge(
    labels: Labels,
    probabilities: Probabilities,
    *,
    seed: int,
    groups: Sequence[str] | Rows | None = None,
) -> Judgement:
    """Judge predictions, with 95 % intervals.

    The interval of the accuracy is Wilson's, or where there are groups, as all others, that of
    examples (groups) drawn again and again.

    Args:
        labels: True classes; int32, (n,).
        probabilities: float32, (n, n_classes).
        seed: Of the draws.
        groups: What each example belongs to, such as a movie; None where each stands for itself.
    """
    n, n_classes = probabilities.shape

    def measure(rows: Rows) -> dict[str, float]:
        found = evaluate(labels[rows], probabilities[rows])
        named = {name.removeprefix("val_"): value for name, value in found.items()}
        bins = reliability(labels[rows], probabilities[rows])
        gaps = sum(b.n * abs(b.confidence - b.accuracy) for b in bins)
        return named | {CALIBRATION_ERROR: gaps / len(rows)}

    metrics = bootstrap(n, measure, seed=seed, groups=groups)
    predicted = np.argmax(probabilities, axis=1)
    if groups is None:
        metrics[ACCURACY] = estimate_accuracy(labels, probabilities, seed=seed)
    confusion = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    return Judgement(
        n_examples=n,
        metrics=metrics,
        reliability=reliability(labels, probabilities),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def estimate_accuracy(
    labels: Labels,
    probabilities: Probabilities,
    *,
    seed: int,
    groups: Sequence[str] | Rows | None = None,
) -> Estimate:
    """Give the accuracy alone; the arguments are those of `judge`."""
    hits = np.argmax(probabilities, axis=1) == labels
    if groups is None:
        return wilson(int(hits.sum()), len(labels))

    def measure(rows: Rows) -> dict[str, float]:
        return {ACCURACY: float(hits[rows].mean())}

    return bootstrap(len(labels), measure, seed=seed, groups=groups)[ACCURACY]


def reliability(labels: Labels, probabilities: Probabilities) -> tuple[Bin, ...]:
    """Compare how sure a model is with how often it is right, in bins of equal width.

    Args:
        labels: True classes; int32, (n,).
        probabilities: float32, (n, n_classes).

    References:
        Guo et al. 2017, arXiv:1706.04599.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    hits = np.argmax(probabilities, axis=1) == labels
    place = np.minimum((confidence * N_BINS).astype(np.int64), N_BINS - 1)
    counts = np.bincount(place, minlength=N_BINS)
    sums = [np.bincount(place, weights, N_BINS) for weights in (confidence, hits)]
    means = [sum_ / np.maximum(counts, 1) for sum_ in sums]
    return tuple(
        Bin(
            low=i / N_BINS,
            high=(i + 1) / N_BINS,
            n=int(counts[i]),
            confidence=float(means[0][i]),
            accuracy=float(means[1][i]),
        )
        for i in range(N_BINS)
    )
