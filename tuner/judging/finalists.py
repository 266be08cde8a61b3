r"""Which of several finalists is best, and how good it is: some trainings choose, others say.

Each finalist is trained with the same seeds and judged by the same sets of examples, its
replicates. The score of finalist :math:`f` in replicate :math:`r` is

.. math:: y_{fr} = \mu_f + e_{fr} + t_{fr}

where :math:`e` is what the choice of examples does, in part to all finalists alike, and :math:`t`
the luck of the training. The variance of :math:`e` is known from the examples themselves, and what
two finalists have of it in common from what both get right. The variance of :math:`t` is that of
what is left of the scores without the means of finalists and replicates, pooled over all of them,
less the part of :math:`e` in that.

References:
    Scheffé 1959, "The analysis of variance", chapter 4; Satterthwaite 1946, doi:10.2307/3002019
    (degrees of freedom of a sum of variances).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tuner.judging.hits import Hits, correlations, covariances
from tuner.judging.intervals import Estimate, t_quantile
from tuner.metrics import Direction


@dataclass(frozen=True, kw_only=True)
class Score:
    """How good a finalist was in one replicate."""

    #: The metric.
    value: float
    #: How far that would differ on other examples: a standard deviation.
    error: float
    #: What was right.
    hits: Hits


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How scores vary with the luck of a training."""

    #: Variance of that luck, as far as one can see.
    luck: float
    #: Variance that it was found in: of the luck, and of what examples do to one finalist alone ...
    left: float
    #: ... and the degrees of freedom that this is known with.
    df: int


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Who is best, by the replicates that choose."""

    #: Places of the finalists, the best first.
    order: tuple[int, ...]
    #: Mean score of each of them, in the same order.
    means: tuple[float, ...]
    #: How much better the first is than the second; None where there is no second.
    lead: Estimate | None
    #: How scores vary.
    noise: Noise


def choose(
    scores: Mapping[int, Sequence[Score]],
    direction: Direction,
    *,
    candidates: Collection[int] | None = None,
) -> Choice:
    """Rank finalists by their means.

    Args:
        scores: Place of a finalist to its scores, in the same replicates, at least two each.
        direction: Which way is better.
        candidates: Places of those that are ranked, at least one; None for all. The others' scores
            help to tell the noise.
    """
    sign = 1.0 if direction == "maximize" else -1.0
    ranked = scores if candidates is None else candidates
    means = {place: _mean([one.value for one in scores[place]]) for place in ranked}
    order = sorted(ranked, key=lambda place: (-sign * means[place], place))
    found = noise(
        [[one.value for one in own] for own in scores.values()],
        [[one.error for one in own] for own in scores.values()],
        [[one.hits for one in own] for own in scores.values()],
    )
    lead = None
    if len(order) > 1:
        lead = difference(scores[order[0]], scores[order[1]], found, direction)
    return Choice(
        order=tuple(order), means=tuple(means[place] for place in order), lead=lead, noise=found
    )


def estimate(scores: Sequence[Score], noise: Noise) -> Estimate:
    """Say how good a finalist is, by replicates that had no part in its choice.

    Args:
        scores: Of these replicates, at least one.
        noise: As those that chose it have told.
    """
    by_examples = _mean([one.error**2 for one in scores])
    values = [one.value for one in scores]
    return _interval(values, by_examples + noise.luck, unsure=noise.left, df=noise.df)


def difference(
    ours: Sequence[Score], others: Sequence[Score], noise: Noise, direction: Direction
) -> Estimate:
    """Say how much better one finalist is than another in the same replicates.

    Args:
        ours: Scores of the one.
        others: Scores of the other one, in the same replicates.
        noise: How scores vary.
        direction: Which way is better; above 0 the one is.
    """
    sign = 1.0 if direction == "maximize" else -1.0
    pairs = list(zip(ours, others, strict=True))
    by_examples = _mean(
        [
            a.error**2 + b.error**2 - 2 * a.error * b.error * correlations([a.hits, b.hits])[0, 1]
            for a, b in pairs
        ]
    )
    gains = [sign * (a.value - b.value) for a, b in pairs]
    return _interval(gains, by_examples + 2 * noise.luck, unsure=2 * noise.left, df=noise.df)


def accuracy_gain(ours: Sequence[Hits], others: Sequence[Hits], noise: Noise) -> Estimate:
    """Say by how much a finalist's accuracy is above that of a model without luck of its own.

    Args:
        ours: What the finalist got right, by replicate.
        others: What the other model got right, on the same examples.
        noise: How accuracies of finalists vary; see `accuracy_noise`.
    """
    gains, by_examples = [], []
    for one, other in zip(ours, others, strict=True):
        both = covariances([one, other])
        gains.append(one.share - other.share)
        by_examples.append(float(both[0, 0] + both[1, 1] - 2 * both[0, 1]))
    variance = _mean(by_examples) + noise.luck
    return _interval(gains, variance, unsure=noise.left, df=noise.df)


def accuracy_noise(scores: Mapping[int, Sequence[Score]]) -> Noise:
    """Say how accuracies vary, whatever the metric is.

    Args:
        scores: As in `choose`.
    """
    hits = [[one.hits for one in own] for own in scores.values()]
    errors = [[math.sqrt(covariances([one])[0, 0]) for one in own] for own in hits]
    return noise([[one.share for one in own] for own in hits], errors, hits)


def noise(
    values: Sequence[Sequence[float]],
    errors: Sequence[Sequence[float]],
    hits: Sequence[Sequence[Hits]],
) -> Noise:
    """Find the luck of trainings in scores, each by finalist and replicate.

    Args:
        values: The scores.
        errors: How far each would differ on other examples.
        hits: What was right.
    """
    table = np.array(values)  # (n_finalists, n_replicates)
    n_finalists, n_replicates = table.shape
    rest = table - table.mean(axis=1, keepdims=True)
    df, in_common = n_replicates - 1, 0.0
    if n_finalists > 1:
        rest -= rest.mean(axis=0)
        df *= n_finalists - 1
        pairs = np.triu_indices(n_finalists, k=1)
        in_common = float(np.mean([correlations(one)[pairs] for one in zip(*hits, strict=True)]))
    left = float((rest**2).sum() / df)
    alone = (1 - in_common) * float(np.mean(np.square(errors)))
    return Noise(luck=max(left - alone, 0.0), left=left, df=df)


def _interval(values: Sequence[float], variance: float, *, unsure: float, df: int) -> Estimate:
    """Give a mean with its interval.

    Args:
        values: One for each replicate.
        variance: Of each.
        unsure: What of the variance is itself known from few numbers ...
        df: ... with so many degrees of freedom.
    """
    mean = _mean(values)
    if variance <= 0:
        return Estimate(value=mean, low=mean, high=mean)
    share = min(max(unsure / variance, 1e-6), 1.0)
    half = t_quantile(df / share**2) * math.sqrt(variance / len(values))
    return Estimate(value=mean, low=mean - half, high=mean + half)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
