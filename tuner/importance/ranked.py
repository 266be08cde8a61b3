"""Trials as Optuna's evaluator takes them, with their ranks as values."""

import math
from collections.abc import Sequence
from typing import cast

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from tuner.config import StudyConfig
from tuner.domain import Choice, Fixed, Range, Scalar
from tuner.params import DEFAULTS
from tuner.results import TrialRow
from tuner.space import Parameter


def _order(row: TrialRow, sign: float) -> tuple[float, ...]:
    """Put a trial among the others, the best lowest, as TPE does.

    Complete trials come before pruned ones, of which those that got further come first; then what
    must not be: a violated constraint, such as a loss that diverged.
    """
    if row.state == "complete" and row.feasible:
        return 0.0, 0.0, sign * cast("float", row.value)
    known = row.value is not None and math.isfinite(row.value)
    value = sign * cast("float", row.value) if known else math.inf
    return (1.0 if row.feasible else 2.0), -float(row.last_step or 0), value


def ranked_trials(
    config: StudyConfig, tuned: Sequence[Parameter], rows: Sequence[TrialRow]
) -> list[FrozenTrial]:
    """Make Optuna's trials of ours, each with its rank among them as the value: 0 is best."""
    sign = -1.0 if config.direction == "maximize" else 1.0
    orders = [_order(row, sign) for row in rows]
    ranks = {order: rank for rank, order in enumerate(sorted(set(orders)))}
    fixed = {p.name: p.domain.value for p in config.space.parameters if isinstance(p.domain, Fixed)}
    whole = [DEFAULTS | fixed | dict(row.params) for row in rows]
    params: list[dict[str, Scalar]] = [
        {p.name: values[p.name] for p in tuned if p.name in row.params and p.active(values)}
        for row, values in zip(rows, whole, strict=True)
    ]
    distributions = {
        p.name: _distribution(p.domain, [point[p.name] for point in params if p.name in point])
        for p in tuned
    }
    return [
        FrozenTrial(
            number=i,
            trial_id=i,
            state=TrialState.COMPLETE,
            value=float(ranks[order]),
            datetime_start=None,
            datetime_complete=None,
            params=dict(point),
            distributions={name: distributions[name] for name in point},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )
        for i, (order, point) in enumerate(zip(orders, params, strict=True))
    ]


def _distribution(domain: Fixed | Choice | Range, seen: Sequence[Scalar]) -> BaseDistribution:
    """Give Optuna's form of a domain, stretched over what trials drew before it was narrowed."""
    if isinstance(domain, Choice):
        return _Categories(domain.choices)
    assert isinstance(domain, Range)  # noqa: S101 - fixed ones are not tuned
    numbers = [float(value) for value in seen]
    low, high = min([domain.low, *numbers]), max([domain.high, *numbers])
    step = domain.step if (low, high) == (domain.low, domain.high) else None
    if isinstance(domain.low, int) and isinstance(domain.high, int):
        return _WholeNumbers(int(low), int(high), log=domain.log, step=int(step or 1))
    return _Numbers(low, high, log=domain.log, step=step)


class _Shared:
    """A domain that is one object for all trials: its hash need not look at what is in it.

    The evaluator groups all trials by their domains for each parameter and each draw, and hashing
    them took half of its time.
    """

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class _Categories(_Shared, CategoricalDistribution):
    pass


class _WholeNumbers(_Shared, IntDistribution):
    pass


class _Numbers(_Shared, FloatDistribution):
    pass
