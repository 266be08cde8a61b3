"""The genetic algorithm NSGA-II, so that it needs to store no more than each trial's generation."""

import math
from collections import Counter

from optuna.distributions import BaseDistribution
from optuna.samplers import NSGAIISampler
from optuna.search_space import intersection_search_space
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from tuner.strategy.ranking import rank_key

#: Trial's system attribute with the number of its generation, from 0.
GENERATION = "genetic:generation"


def population_size(n_trials: int) -> int:
    """Say how many trials make a generation: small budgets need many small generations.

    Args:
        n_trials: Trials of the study in all.
    """
    return max(6, min(50, round(math.sqrt(n_trials))))


class GeneticSampler(NSGAIISampler):
    """Breeds the best trials of all earlier generations: crossover of two, then mutation.

    Optuna's own waits for complete trials, so that a generation in which most are pruned is three
    times as long, and it keeps the parents of each generation in the study, chosen by who was done
    then. Here pruned trials count as members of their generation that are worse than complete
    ones, in the order in which TPE sees them, and the parents follow from the trials: any number of
    workers agree on them, and who finishes late can still become one. A trial without a
    generation, from another sampler or planned, counts as one of the first.

    Args:
        n_trials: Trials of the study in all.
        seed: Decides.

    References:
        Deb et al. 2002, doi:10.1109/4235.996017.
    """

    def __init__(self, *, n_trials: int, seed: int) -> None:
        super().__init__(population_size=population_size(n_trials), seed=seed)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Give the parameters that all parents have; the others are drawn at random."""
        parents = self.get_parent_population(study, self.get_trial_generation(study, trial))
        shared = intersection_search_space(parents, include_pruned=True)
        return {name: found for name, found in shared.items() if not found.single()}

    def get_trial_generation(self, study: Study, trial: FrozenTrial) -> int:
        """Give the newest generation, or the next one where that has all its members."""
        counts = Counter(_generation(other) for other in _finished(study))
        newest = max(counts, default=0)
        generation = newest + (counts[newest] >= (self.population_size or 0))
        study._storage.set_trial_system_attr(trial._trial_id, GENERATION, generation)
        return generation

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        """Choose the best of all earlier generations; none for the first.

        One alone has nobody to breed with, as where others lie outside a range that was narrowed.
        """
        earlier = [trial for trial in _finished(study) if _generation(trial) < generation]
        complete = [trial for trial in earlier if trial.state == TrialState.COMPLETE]
        best: list[FrozenTrial] = self._elite_population_selection_strategy(study, complete)
        pruned = [trial for trial in earlier if trial.state == TrialState.PRUNED]
        pruned.sort(key=rank_key(study.directions))
        chosen = (best + pruned)[: self.population_size]
        return chosen if len(chosen) > 1 else []


def _finished(study: Study) -> list[FrozenTrial]:
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    return study._get_trials(deepcopy=False, states=states, use_cache=True)


def _generation(trial: FrozenTrial) -> int:
    generation: int = trial.system_attrs.get(GENERATION, 0)
    return generation
