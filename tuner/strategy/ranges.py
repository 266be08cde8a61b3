"""Trials from before the ends of a range were moved, as samplers are to see them today."""

import copy
from collections.abc import Mapping, Sequence

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from tuner.domain import Choice, Fixed, Range
from tuner.space import Space


def within(trials: Sequence[FrozenTrial], space: Space) -> list[FrozenTrial]:
    """Give trials the ranges that are in force now, and leave out those with a value beyond.

    Samplers take the range of a parameter from the trials: the joint density of a branch of TPE
    from the oldest one, so that a range that was made wider would never be used. Where trials
    disagree, others draw the parameter by chance.

    Args:
        trials: Of a study, by number; none is changed.
        space: Of the study, as it is now.

    Returns:
        The same where nothing was moved; else copies with the new ranges.
    """
    today = distributions_of(space)
    #: Whether what a trial drew from is what is drawn from today. Trials share their distributions.
    known: dict[tuple[str, int], bool] = {}

    def is_old(name: str, distribution: BaseDistribution) -> bool:
        key = name, id(distribution)
        if key not in known:
            known[key] = name in today and distribution != today[name]
        return known[key]

    seen = []
    for trial in trials:
        moved = [name for name, drawn in trial.distributions.items() if is_old(name, drawn)]
        if not moved:
            seen.append(trial)
        elif _is_inside(trial, {name: today[name] for name in moved}):
            updated = copy.copy(trial)
            updated.distributions = trial.distributions | {name: today[name] for name in moved}
            seen.append(updated)
    return seen


def _is_inside(trial: FrozenTrial, today: Mapping[str, BaseDistribution]) -> bool:
    return all(
        distribution._contains(distribution.to_internal_repr(trial.params[name]))
        for name, distribution in today.items()
    )


def distributions_of(space: Space) -> dict[str, BaseDistribution]:
    """Give what Optuna draws each tuned parameter from, by name.

    Args:
        space: Of a study.
    """
    found: dict[str, BaseDistribution] = {}
    for parameter in space.parameters:
        match parameter.domain:
            case Fixed():
                pass
            case Choice(choices=choices):
                found[parameter.name] = CategoricalDistribution(choices)
            case Range(low=int() as low, high=int() as high, step=step, log=log):
                found[parameter.name] = IntDistribution(low, high, log=log, step=int(step or 1))
            case Range(low=low, high=high, step=step, log=log):
                found[parameter.name] = FloatDistribution(low, high, log=log, step=step)
    return found
