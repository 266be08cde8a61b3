"""Who proposes the next point: samplers by name."""

import importlib.util
import random
import warnings

import optuna
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler

from tuner.config import SamplerName
from tuner.errors import InputError
from tuner.first_points import n_first_points
from tuner.space import Space
from tuner.strategy.genetic import GeneticSampler

#: Modules that some samplers need besides; the extra with them is called like the sampler.
MODULES: dict[SamplerName, tuple[str, ...]] = {"gp": ("torch", "scipy"), "cmaes": ("cmaes",)}


def check_sampler(name: SamplerName) -> None:
    """See that a sampler can propose on this machine.

    Raises:
        InputError: A package is missing.
    """
    missing = [m for m in MODULES.get(name, ()) if importlib.util.find_spec(m) is None]
    if missing:
        raise InputError(
            f"sampler.name: {name!r} needs {' and '.join(missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} not installed here. Run `pip install "
            f"'.[{name}]'` in tuner's folder wherever workers run, or choose a sampler that needs "
            f"nothing more: tpe, nsga2, random, grid."
        )


def make_sampler(name: SamplerName, *, space: Space, n_trials: int, seed: str) -> BaseSampler:
    """Build the sampler that proposes one trial's point.

    ``tpe`` models good and bad regions with kernel densities (Bergstra et al. 2011; multivariate:
    Falkner et al. 2018), joint over parameters, over each branch of a conditional space, and counts
    running trials as bad so that parallel workers spread out. ``gp`` models the value with a
    Gaussian process and maximises its expected improvement over the complete trials, running ones
    considered. ``nsga2`` breeds good trials; see `GeneticSampler`. ``cmaes`` adapts a normal
    distribution over the numbers (Hansen and Ostermeier 2001) and draws choices at random.
    ``random`` and ``grid`` learn nothing; a grid's points are planned into the slots.

    Args:
        name: The study's sampler.
        space: The study's space.
        n_trials: Trials of the study in all.
        seed: Any text; each trial has its own, so that a draw does not depend on who runs it.

    Returns:
        A sampler for that trial alone.

    Raises:
        InputError: A package is missing.
    """
    check_sampler(name)
    generator_seed = random.Random(seed).getrandbits(31)  # noqa: S311 - no secret
    n_first = n_first_points(n_trials)
    match name:
        case "random" | "grid":
            return RandomSampler(seed=generator_seed)
        case "nsga2":
            return GeneticSampler(n_trials=n_trials, seed=generator_seed)
        case "gp":
            return GPSampler(
                seed=generator_seed, n_startup_trials=n_first, warn_independent_sampling=False
            )
        case "cmaes":
            return CmaEsSampler(
                seed=generator_seed, n_startup_trials=n_first, warn_independent_sampling=False
            )
        case "tpe":
            with warnings.catch_warnings():
                # `group` is marked experimental; we pin and test what it does.
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return TPESampler(
                    seed=generator_seed,
                    n_startup_trials=n_first,
                    multivariate=True,
                    group=any(p.when for p in space.parameters),
                    constant_liar=True,
                )
