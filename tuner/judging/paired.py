"""Which of two models is better, where both judged the same examples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuner.judging.intervals import Estimate, Rows, bootstrap
from tuner.metrics import Labels, Probabilities


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Our model beside another one."""

    #: What the other one is, for people.
    other: str
    #: Its accuracy.
    accuracy: float
    #: Our accuracy less its own.
    difference: Estimate
    #: Examples that only ours gets right.
    n_only_ours: int
    #: Examples that only the other one gets right.
    n_only_other: int
    #: Probability of a difference as large or larger between models that are equally good, by
    #: McNemar's exact test, which takes each example to stand for itself.
    p_value: float


def compare(
    labels: Labels,
    ours: Probabilities,
    others: Probabilities,
    *,
    name: str,
    seed: int,
    groups: Sequence[str] | Rows | None = None,
) -> Comparison:
    """Compare two models by the examples on which they differ.

    Args:
        labels: True classes; int32, (n,).
        ours: Our model's probabilities; float32, (n, n_classes).
        others: The other one's, likewise.
        name: What the other one is.
        seed: Of the draws that give the interval.
        groups: As in `tuner.judging.intervals.bootstrap`.
    """
    our_hits = np.argmax(ours, axis=1) == labels
    its_hits = np.argmax(others, axis=1) == labels
    gains = our_hits.astype(np.int64) - its_hits  # 1, 0 or -1

    def measure(rows: Rows) -> dict[str, float]:
        return {"difference": float(gains[rows].mean())}

    n_ours, n_other = int(np.sum(gains == 1)), int(np.sum(gains == -1))
    return Comparison(
        other=name,
        accuracy=float(its_hits.mean()),
        difference=bootstrap(len(labels), measure, seed=seed, groups=groups)["difference"],
        n_only_ours=n_ours,
        n_only_other=n_other,
        p_value=mcnemar(n_ours, n_other),
    )


def mcnemar(n_one: int, n_other: int) -> float:
    """Give the p-value of McNemar's exact test, two-sided.

    Args:
        n_one: Examples that only one model gets right.
        n_other: Examples that only the other one gets right.

    References:
        McNemar 1947, "Note on the sampling error of the difference between correlated
        proportions or percentages".
    """
    n = n_one + n_other
    chances, ways = 0, 1  # of 2**n, as whole numbers: they are far beyond any float
    for k in range(min(n_one, n_other) + 1):
        chances += ways
        ways = ways * (n - k) // (k + 1)
    return min(1.0, 2 * chances / (1 << n))
