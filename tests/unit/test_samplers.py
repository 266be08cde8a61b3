"""Samplers that need more packages say so; what TPE looks at in a long study."""

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers._tpe.sampler import _split_trials
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from tests.conftest import StudyMaker
from tuner.config import SamplerName
from tuner.errors import InputError
from tuner.metrics import Direction
from tuner.strategy import check_sampler, make_sampler
from tuner.strategy.ranking import N_BEST, N_NEWEST, on_their_way, rank_key, telling


@pytest.mark.parametrize(
    ("name", "hidden", "lacks"),
    [
        ("gp", ("torch",), "torch, which is"),
        ("gp", ("torch", "scipy"), "torch and scipy, which are"),
        ("cmaes", ("cmaes",), "cmaes, which is"),
    ],
)
def test_a_sampler_whose_package_is_missing_says_how_to_get_it(
    toy: StudyMaker,
    monkeypatch: pytest.MonkeyPatch,
    name: SamplerName,
    hidden: tuple[str, ...],
    lacks: str,
) -> None:
    not_there: Any = None
    for module in hidden:
        monkeypatch.setitem(sys.modules, module, not_there)

    with pytest.raises(InputError) as caught:
        check_sampler(name)

    assert str(caught.value) == (
        f"sampler.name: {name!r} needs {lacks} not installed here. Run `pip install "
        f"'.[{name}]'` in tuner's folder wherever workers run, or choose a sampler that needs "
        f"nothing more: tpe, nsga2, random, grid."
    )
    with pytest.raises(InputError):
        make_sampler(name, space=toy().space, n_trials=60, seed="0")


@pytest.mark.parametrize("name", ["tpe", "nsga2", "random", "grid"])
def test_the_other_samplers_need_nothing_more(name: SamplerName) -> None:
    check_sampler(name)


# --- which trials are better, and which tell something ------------------------------------------


def of_all_kinds(n: int, seed: int = 0) -> list[FrozenTrial]:
    """Trials by number: complete, pruned at some step, infeasible, failed, running."""
    generator = np.random.default_rng(seed)
    trials = []
    for number in range(n):
        kind = generator.choice(["complete", "pruned", "infeasible", "failed", "running"])
        value = float(generator.normal())
        report = math.nan if generator.random() < 0.1 else value
        reports = {int(generator.integers(1, 9)): report} if generator.random() < 0.8 else {}
        state = {"complete": "COMPLETE", "failed": "FAIL", "running": "RUNNING"}.get(kind, "PRUNED")
        trial = create_trial(
            state=TrialState[state],
            value=value if kind == "complete" else None,
            intermediate_values=reports,
            constraints={"bytes": abs(value), "time": -1.0} if kind == "infeasible" else None,
        )
        trial.number = number
        trials.append(trial)
    return trials


def finished(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [t for t in trials if t.state in {TrialState.COMPLETE, TrialState.PRUNED}]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_best_are_those_that_tpe_takes_for_good(direction: Direction) -> None:
    study = optuna.create_study(direction=direction)
    trials = finished(of_all_kinds(200))
    ordered = sorted(trials, key=rank_key(study.directions))
    for n in range(len(trials)):
        good, bad = _split_trials(study, trials, n)
        assert {t.number for t in good} == {t.number for t in ordered[:n]}
        assert len(bad) == len(trials) - n


def test_of_several_objectives_neither_values_nor_reports_decide() -> None:
    key = rank_key([StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE])
    one = create_trial(values=[0.1, math.inf])
    other = create_trial(values=[0.9, 3.0])
    pruned = create_trial(state=TrialState.PRUNED, intermediate_values={3: 0.7})
    assert key(one) == key(other) < key(pruned)


def test_tpe_looks_at_the_best_and_the_newest_trials_of_a_long_study_and_all_that_run() -> None:
    directions = [StudyDirection.MAXIMIZE]
    trials = of_all_kinds(3_000)

    seen = telling(trials, directions)

    assert [t.number for t in seen] == sorted(t.number for t in seen)
    numbers = {t.number for t in seen}
    done = finished(trials)
    assert {t.number for t in trials if t.state == TrialState.RUNNING} <= numbers
    assert {t.number for t in done[-N_NEWEST:]} <= numbers
    best = sorted(done, key=rank_key(directions))[:N_BEST]
    assert {t.number for t in best} <= numbers
    assert len(finished(seen)) == N_NEWEST + N_BEST


def test_tpe_looks_at_all_trials_of_a_study_that_is_not_so_long() -> None:
    trials = of_all_kinds(1_000)
    assert telling(trials, [StudyDirection.MAXIMIZE]) == trials
    long = of_all_kinds(2_500)
    assert telling(long, [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]) == long


def test_running_trials_count_by_their_last_report_and_stay_what_they_are() -> None:
    begun, far, done = (
        create_trial(state=state, value=value, intermediate_values=reports)
        for state, value, reports in (
            (TrialState.RUNNING, None, {}),
            (TrialState.RUNNING, None, {8: 0.7}),
            (TrialState.COMPLETE, 0.9, {12: 0.9}),
        )
    )

    seen = on_their_way([begun, far, done])

    assert [seen[0], seen[2]] == [begun, done]
    assert (seen[1].state, seen[1].intermediate_values) == (TrialState.PRUNED, {8: 0.7})
    assert far.state == TrialState.RUNNING
    ranked = sorted(seen[1:], key=rank_key([StudyDirection.MAXIMIZE]))
    assert ranked == [done, seen[1]]
