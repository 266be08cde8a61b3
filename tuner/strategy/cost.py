"""What a trial costs, and a TPE that asks how much it can gain for that.

A wide network of two layers may take ten times as long as a narrow one that is as good. A sampler
that does not know it spends most of the time on the wide ones; the one here divides the expected
improvement by a power of what it costs.

References:
    Snoek, Larochelle and Adams 2012, arXiv:1206.2944 (expected improvement per second); Lee,
    Perrone, Archambeau and Seeger 2020, arXiv:2003.10870 (that it keeps to cheap points for too
    long, powers below 1, and a linear model of the logarithm of the cost); Bergstra et al. 2011,
    "Algorithms for Hyper-Parameter Optimization" (the expected improvement of TPE).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from tuner.config import SECONDS

#: Penalty on squared weights, so that few trials tell no more than they know.
_RIDGE = 0.1
#: Power of the cost. TPE's expected improvement tells points apart by a factor of ten at most: with
#: 1, it turns to cheap points also where dear ones are clearly better.
_POWER = 0.5
#: Share of the trials that TPE takes for good, by Optuna's default.
_SHARE_GOOD = 0.1


class CostModel:
    """How long a step of training takes, from the hyperparameters.

    The logarithm of the seconds a step is linear in a one-hot code of choices and in the share of
    its range, by magnitude where that is above 0, at which a number lies.

    Args:
        weights: By parameter, one a feature; float64 of shape ``(features,)`` each.
        domains: Of those parameters.
    """

    def __init__(
        self,
        weights: Mapping[str, NDArray[np.float64]],
        domains: Mapping[str, BaseDistribution],
    ) -> None:
        self._weights = weights
        self._domains = domains

    @classmethod
    def fit(cls, trials: Sequence[FrozenTrial]) -> Self:
        """Learn from trials that have ended, whatever came of them.

        Args:
            trials: Of a study; those without `SECONDS` or without a report tell nothing.
        """
        timed = [t for t in trials if t.user_attrs.get(SECONDS, 0.0) > 0 and t.intermediate_values]
        domains = {name: d for trial in timed for name, d in trial.distributions.items()}
        columns = {
            name: _features(domain, _values(timed, name, domain))
            for name, domain in domains.items()
        }
        if not columns:
            return cls({}, {})
        known = np.hstack(list(columns.values()))
        known -= known.mean(axis=0)
        seconds = np.array([t.user_attrs[SECONDS] / max(t.intermediate_values) for t in timed])
        logarithms = np.log(seconds)
        found = np.linalg.solve(
            known.T @ known + _RIDGE * np.eye(known.shape[1]),
            known.T @ (logarithms - logarithms.mean()),
        )
        ends = np.cumsum([column.shape[1] for column in columns.values()])[:-1]
        return cls(dict(zip(columns, np.split(found, ends), strict=True)), domains)

    def log_cost(self, points: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Give the logarithm of the seconds a step, up to a constant.

        Args:
            points: By parameter, its values as Optuna stores them, float64 of shape ``(points,)``.

        Returns:
            float64 of shape ``(points,)``.
        """
        costs = np.zeros(len(next(iter(points.values()))))
        for name in points.keys() & self._weights.keys():
            costs += _features(self._domains[name], points[name]) @ self._weights[name]
        return costs


class CostAwareTPESampler(TPESampler):
    """TPE that divides the expected improvement by the square root of what it costs.

    Without trials that tell their time it proposes what Optuna's does.

    Args:
        options: As in `optuna.samplers.TPESampler`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._costs = CostModel({}, {})

    def _sample(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        self._costs = CostModel.fit(ended)
        return super()._sample(study, trial, search_space)

    def _compute_acquisition_func(
        self, samples: dict[str, NDArray[np.float64]], mpe_below: Any, mpe_above: Any
    ) -> NDArray[np.float64]:
        log_ratio = super()._compute_acquisition_func(samples, mpe_below, mpe_above)
        gain = -np.logaddexp(math.log(_SHARE_GOOD), math.log1p(-_SHARE_GOOD) - log_ratio)
        return gain - _POWER * self._costs.log_cost(samples)


def _values(
    trials: Sequence[FrozenTrial], name: str, domain: BaseDistribution
) -> NDArray[np.float64]:
    """Give a parameter's values as Optuna stores them; NaN where it did not count."""
    return np.array(
        [
            domain.to_internal_repr(trial.params[name]) if name in trial.params else math.nan
            for trial in trials
        ]
    )


def _features(domain: BaseDistribution, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Code values, ``(n,)``, as features, ``(n, features)``: all 0 where there is no value."""
    if isinstance(domain, CategoricalDistribution):
        one_hot: NDArray[np.float64] = np.equal.outer(values, np.arange(len(domain.choices)))
        return one_hot.astype(np.float64)
    low, high = domain.low, domain.high  # type: ignore[attr-defined]  # the other two are ranges
    if low == high:
        return np.zeros((len(values), 1))
    if low > 0:
        low, high, values = math.log(low), math.log(high), np.log(values)
    shares: NDArray[np.float64] = np.nan_to_num((values - low) / (high - low))
    return shares[:, None]
