"""The genetic algorithm evolves generations, whoever runs the trials and however they end."""

import heapq
import math
import random
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuner.config import SamplerName
from tuner.domain import Scalar
from tuner.metrics import Direction
from tuner.space import Space
from tuner.space_table import parse_space
from tuner.strategy import Search, propose_point
from tuner.strategy.genetic import GENERATION, GeneticSampler, population_size

TOPS = {"dropout": 0.2, "word_dropout": 0.7, "embedding_dropout": 0.3, "layer_dropout": 0.8}
SPACE = parse_space({name: {"low": 0.0, "high": 0.9} for name in TOPS} | {"layers": [1, 2, 3]})
N_TRIALS = 60
SIZE = population_size(N_TRIALS)


def height(params: Mapping[str, Scalar]) -> float:
    """A hill with its top, 0, off the middle."""
    off = math.hypot(*(float(params[name]) / 0.9 - top for name, top in TOPS.items()))
    return -off - 0.2 * (params["layers"] != 2)


def search_of(seed: int, sampler: SamplerName = "nsga2", space: Space = SPACE) -> Search:
    return Search(
        name="toy",
        direction="maximize",
        space=space,
        sampler=sampler,
        n_trials=N_TRIALS,
        seed=seed,
    )


def propose(trials: Sequence[FrozenTrial], search: Search) -> FrozenTrial:
    number = len(trials)
    trial, _ = propose_point(lambda: list(trials), search, slot=number, planned={}, taken=())
    trial.number = trial._trial_id = number
    return trial


def done(trial: FrozenTrial, *, pruned: bool = False) -> FrozenTrial:
    """The trial at its end, as the history of a study gives it."""
    value = height(trial.params)
    ended = create_trial(
        state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
        value=value,
        intermediate_values={4: value} if pruned else {},
        params=trial.params,
        distributions=trial.distributions,
        system_attrs=trial.system_attrs,
    )
    ended.number = ended._trial_id = trial.number
    return ended


def run(search: Search, *, n_workers: int = 1, prune: bool = False) -> list[FrozenTrial]:
    """A study of workers that take different times; two in three trials can be pruned."""
    clock = random.Random(search.seed)  # noqa: S311 - no secret
    trials: list[FrozenTrial] = []
    running: list[tuple[float, int]] = []
    now, reports = 0.0, list[float]()
    while len(trials) < N_TRIALS or running:
        while len(trials) < N_TRIALS and len(running) < n_workers:
            trials.append(propose(trials, search))
            heapq.heappush(running, (now + clock.uniform(0.5, 1.5), trials[-1].number))
        now, number = heapq.heappop(running)
        reports.append(height(trials[number].params))
        rank = sum(report > reports[-1] for report in reports)
        is_bad = prune and len(reports) >= 3 and rank >= math.ceil(len(reports) / 3)
        trials[number] = done(trials[number], pruned=is_bad)
    return trials


def generations(trials: Sequence[FrozenTrial]) -> Counter[int]:
    return Counter(trial.system_attrs[GENERATION] for trial in trials)


@pytest.mark.parametrize("prune", [False, True], ids=["no pruning", "two in three pruned"])
@pytest.mark.parametrize("n_workers", [1, 4, 8])
def test_generations_advance_with_any_number_of_workers(n_workers: int, prune: bool) -> None:
    counts = generations(run(search_of(0), n_workers=n_workers, prune=prune))
    newest = max(counts)
    assert sorted(counts) == list(range(newest + 1))
    # Those that still ran when a generation was full belong to it, too.
    assert all(SIZE <= counts[i] < SIZE + n_workers for i in range(newest))
    assert newest >= N_TRIALS // (SIZE + n_workers)


@pytest.mark.parametrize(("n_workers", "prune"), [(1, False), (4, True)])
def test_it_finds_better_points_than_chance(n_workers: int, prune: bool) -> None:
    best: dict[SamplerName, list[float]] = {"nsga2": [], "random": []}
    for seed in range(10):
        for name, found in best.items():
            trials = run(search_of(seed, name), n_workers=n_workers, prune=prune)
            found.append(max(height(trial.params) for trial in trials))
    n_wins = sum(ours > chance for ours, chance in zip(best["nsga2"], best["random"], strict=True))
    assert n_wins >= 8
    assert statistics.median(best["nsga2"]) > 0.75 * statistics.median(best["random"])


def test_children_inherit_most_values_and_mutate_some() -> None:
    trials = run(search_of(0))
    inherited = [
        any(trial.params[name] == other.params[name] for other in trials[: trial.number])
        for trial in trials
        if trial.system_attrs[GENERATION] > 0
        for name in TOPS
    ]
    assert 0.6 < statistics.fmean(inherited) < 0.95


def test_one_parent_alone_breeds_nothing_and_chance_goes_on() -> None:
    trials = run(search_of(0))
    first = [trial for trial in trials if trial.system_attrs[GENERATION] == 0][:1]
    newest = [trial for trial in trials if trial.system_attrs[GENERATION] == 1][:2]
    left = [*first, *newest]  # the others lie outside a range that was narrowed

    drawn = {propose(left, search_of(seed)).params["dropout"] for seed in range(1, 21)}

    assert len(drawn - {trial.params["dropout"] for trial in left}) == 20


def test_what_a_trial_brings_along_is_its_generation_and_no_more() -> None:
    trials = run(search_of(0))
    assert {key for trial in trials for key in trial.system_attrs} == {GENERATION}


def test_trials_of_another_sampler_are_the_first_generation() -> None:
    before = [trial for trial in run(search_of(0, "random")) if not trial.system_attrs]
    child = propose(before, search_of(0))
    assert child.system_attrs == {GENERATION: 1}
    best = sorted(before, key=lambda trial: height(trial.params))[-SIZE:]
    values = {trial.params[name] for trial in best for name in TOPS}
    assert len(values & {child.params[name] for name in TOPS}) >= 2


def test_parameters_that_all_parents_have_are_inherited_whatever_branch_others_took() -> None:
    space = parse_space(
        {"layers": [1, 2], "layer_dropout": {"low": 0.0, "high": 0.5, "when": {"layers": 2}}}
    )
    dropout = FloatDistribution(0.0, 0.5)
    layers = optuna.distributions.CategoricalDistribution((1, 2))
    trials = []
    for number in range(2 * SIZE):
        deep = number % 2 == 0
        params = {"layers": 2, "layer_dropout": number / 100} if deep else {"layers": 1}
        trial = create_trial(
            value=float(deep),
            params=params,
            distributions={"layers": layers} | ({"layer_dropout": dropout} if deep else {}),
        )
        trial.number = trial._trial_id = number
        trials.append(trial)

    searches = [search_of(seed, space=space) for seed in range(20)]
    children = [propose(trials, search).params for search in searches]

    bred = [child for child in children if child["layers"] == 2]
    assert len(bred) > 10
    of_parents = {trial.params.get("layer_dropout") for trial in trials}
    assert sum(child["layer_dropout"] in of_parents for child in bred) >= len(bred) // 3


# --- the parents -------------------------------------------------------------------------------


def member(
    number: int, generation: int, value: float, step: int = 0, excess: float = 0.0
) -> FrozenTrial:
    """A trial that is complete, or was pruned at a step, or violates a constraint."""
    trial = create_trial(
        state=TrialState.PRUNED if step else TrialState.COMPLETE,
        value=value,
        intermediate_values={step: value} if step else {},
        constraints={"bytes": excess} if excess else None,
        system_attrs={GENERATION: generation},
    )
    trial.number = trial._trial_id = number
    return trial


def parents(
    trials: Sequence[FrozenTrial], generation: int, directions: Sequence[Direction] = ("maximize",)
) -> set[int]:
    study = optuna.create_study(directions=directions)
    for trial in trials:
        study.add_trial(trial)
    sampler = GeneticSampler(n_trials=N_TRIALS, seed=0)
    return {trial.number for trial in sampler.get_parent_population(study, generation)}


def test_the_parents_are_the_best_of_all_earlier_generations() -> None:
    values = [(i * 37 % 101) / 100 for i in range(3 * SIZE)]
    trials = [member(i, i // SIZE, value) for i, value in enumerate(values)]
    assert parents(trials, 0) == set()
    for generation in (1, 2):
        earlier = sorted(range(generation * SIZE), key=lambda i: values[i])
        assert parents(trials, generation) == set(earlier[-SIZE:])


def test_a_trial_that_ends_late_can_still_become_a_parent() -> None:
    trials = [member(i, i // SIZE, i / 100) for i in range(2 * SIZE)]
    late = member(2 * SIZE, 0, 0.9)
    assert late.number in parents([*trials, late], 1)


def test_pruned_trials_come_after_complete_ones_and_infeasible_ones_last() -> None:
    n_complete = SIZE - 4
    trials = [member(i, 0, 0.1) for i in range(n_complete)]
    trials += [
        member(n_complete, 0, 0.5, step=4),
        member(n_complete + 1, 0, 0.6, step=4),
        member(n_complete + 2, 0, 0.4, step=12),
        member(n_complete + 3, 0, 0.9, step=12, excess=0.5),
        member(n_complete + 4, 0, 0.9, step=12, excess=0.1),
    ]
    assert parents(trials, 1) == {*range(n_complete + 3), n_complete + 4}
    better = [member(10 + i, 0, 0.2) for i in range(2)]
    assert parents([*trials, *better], 1) >= set(range(n_complete))


def test_of_several_objectives_the_parents_are_the_front() -> None:
    front = [member_of(i, [i / SIZE, i / SIZE]) for i in range(SIZE)]
    behind = [member_of(SIZE + i, [i / SIZE - 0.1, i / SIZE + 0.1]) for i in range(SIZE)]
    assert parents([*behind, *front], 1, ("maximize", "minimize")) == set(range(SIZE, 2 * SIZE))


def member_of(number: int, values: list[float]) -> FrozenTrial:
    trial = create_trial(values=values, system_attrs={GENERATION: 0})
    trial.number = trial._trial_id = number
    return trial


@pytest.mark.parametrize(("n_trials", "size"), [(10, 6), (60, 8), (300, 17), (5_000, 50)])
def test_a_generation_is_a_small_part_of_the_budget(n_trials: int, size: int) -> None:
    assert population_size(n_trials) == size
