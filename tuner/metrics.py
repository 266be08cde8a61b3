"""What a study can be judged by: validation metrics, computed exactly from probabilities."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int32]
Probabilities = npt.NDArray[np.float32]
Direction = Literal["maximize", "minimize"]


#: Evaluations in the first epoch, the one at its end included; a step is such a part of an epoch.
STEPS_PER_EPOCH = 4


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One way to judge predictions."""

    #: Which way is better.
    direction: Direction
    #: From labels (n,) and class probabilities (n, n_classes) to one number.
    compute: Callable[[Labels, Probabilities], float]

    def better(self, value: float, other: float) -> bool:
        """Say whether ``value`` is strictly better than ``other``."""
        return value > other if self.direction == "maximize" else value < other


def accuracy(labels: Labels, probabilities: Probabilities) -> float:
    """Share of examples whose most probable class is their label."""
    return float(np.mean(np.argmax(probabilities, axis=1) == labels))


def log_loss(labels: Labels, probabilities: Probabilities) -> float:
    """Mean negative natural log of the probability of the true class, in nats.

    Probabilities are clipped to 1e-7, as Keras clips them in its cross-entropy.
    """
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.mean(np.log(np.clip(chosen, 1e-7, 1.0))))


def area_under_roc(labels: Labels, probabilities: Probabilities) -> float:
    """Area under the ROC curve by the Mann-Whitney statistic, ties counted half.

    With more than two classes: the unweighted mean over classes, each against the rest, of the
    classes that occur. Not a number where only one class occurs.
    """
    n_classes = probabilities.shape[1]
    positives = [1] if n_classes == 2 else range(n_classes)
    areas = [_binary_area(labels == c, probabilities[:, c]) for c in positives]
    known = [area for area in areas if not np.isnan(area)]
    return float(np.mean(known)) if known else float("nan")


def _binary_area(positive: npt.NDArray[np.bool_], score: npt.NDArray[np.float32]) -> float:
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2  # of each distinct score, from 1
    rank_sum = mean_rank[inverse][positive].sum()
    return float((rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def macro_f1(labels: Labels, probabilities: Probabilities) -> float:
    """Unweighted mean over the classes of the harmonic mean of precision and recall.

    A class that neither occurs nor is predicted has none, and is left out.
    """
    predicted = np.argmax(probabilities, axis=1)
    scores = []
    for c in range(probabilities.shape[1]):
        hits = int(np.sum((predicted == c) & (labels == c)))
        total = int(np.sum(predicted == c)) + int(np.sum(labels == c))
        if total:
            scores.append(2 * hits / total)
    return float(np.mean(scores))


#: Every metric that a study file may name.
METRICS: dict[str, Metric] = {
    "val_accuracy": Metric(direction="maximize", compute=accuracy),
    "val_loss": Metric(direction="minimize", compute=log_loss),
    "val_auc": Metric(direction="maximize", compute=area_under_roc),
    "val_macro_f1": Metric(direction="maximize", compute=macro_f1),
}


def evaluate(labels: Labels, probabilities: Probabilities) -> dict[str, float]:
    """Compute every metric.

    Args:
        labels: Class indices, int32 of shape ``(n,)``.
        probabilities: float32 of shape ``(n, n_classes)``, rows summing to 1.

    Returns:
        Metric name to value.
    """
    return {name: metric.compute(labels, probabilities) for name, metric in METRICS.items()}


def best_so_far(reports: Mapping[int, float], step: int, direction: Direction) -> float | None:
    """Find what a trial was worth when it reported at a step.

    Reports inside the first epoch see a part of the validation set only, and never count.

    Args:
        reports: Step, in parts of an epoch, to value.
        step: Until when, this one included.
        direction: Which way is better.

    Returns:
        Its best value by then; None where it made no report at that step, or no number.
    """
    if step not in reports:
        return None
    values = [
        value
        for at, value in reports.items()
        if STEPS_PER_EPOCH <= at <= step and not math.isnan(value)
    ]
    return (max if direction == "maximize" else min)(values, default=None)
