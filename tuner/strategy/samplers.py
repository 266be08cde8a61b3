"""Who proposes the next point: samplers by name."""

import random
import warnings

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from tuner.config import SamplerName
from tuner.space import Space


def make_sampler(name: SamplerName, *, space: Space, seed: str) -> BaseSampler:
    """Build the sampler that proposes one trial's point.

    ``tpe`` models good and bad regions with kernel densities (Bergstra et al. 2011; multivariate:
    Falkner et al. 2018), joint over parameters, over each branch of a conditional space, and counts
    running trials as bad so that parallel workers spread out. ``random`` and ``grid`` learn
    nothing; a grid's points are planned into the slots.

    Args:
        name: The study's sampler.
        space: The study's space.
        seed: Any text; each trial has its own, so that a draw does not depend on who runs it.

    Returns:
        A sampler for that trial alone.
    """
    generator_seed = random.Random(seed).getrandbits(31)  # noqa: S311 - no secret
    if name != "tpe":
        return RandomSampler(seed=generator_seed)
    with warnings.catch_warnings():
        # `group` is marked experimental; we pin and test what it does.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(
            seed=generator_seed,
            n_startup_trials=10,
            multivariate=True,
            group=any(p.when for p in space.parameters),
            constant_liar=True,
        )
