"""The rules that end trials: what they judge, whom they end, and that they keep nothing."""

import itertools
import math
from collections.abc import Mapping, Sequence

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from tests.conftest import StudyMaker
from tuner.metrics import Direction, best_so_far
from tuner.strategy import RulePruner, Verdict, make_pruner, make_rule
from tuner.strategy.median import MedianRule
from tuner.strategy.rungs import RungRule

FIVE = RungRule(epochs=5)
STEPS = (1, 2, 3, 4, 8, 12, 16, 20)
DIRECTIONS: tuple[Direction, ...] = ("maximize", "minimize")


def judge(
    reports: Mapping[int, float], rivals: Sequence[float], direction: Direction = "maximize"
) -> Verdict:
    return FIVE.verdict(reports, rivals, direction)


# --- what a trial is worth -------------------------------------------------------------------


def test_a_trial_is_worth_its_best_value_by_then_after_the_first_epoch() -> None:
    reports = {1: 0.99, 4: 0.7, 8: 0.8, 12: 0.75}
    assert [best_so_far(reports, step, "maximize") for step in (4, 8, 12)] == [0.7, 0.8, 0.8]
    assert [best_so_far(reports, step, "minimize") for step in (4, 8, 12)] == [0.7, 0.7, 0.7]


@pytest.mark.parametrize("step", [1, 3, 16])
def test_it_is_worth_nothing_inside_the_first_epoch_and_where_it_did_not_report(step: int) -> None:
    assert best_so_far({1: 0.99, 3: 0.9, 4: 0.7}, step, "maximize") is None


def test_what_is_not_a_number_is_worth_nothing() -> None:
    assert best_so_far({4: math.nan}, 4, "maximize") is None
    assert best_so_far({4: 0.5, 8: math.nan}, 8, "maximize") == 0.5


# --- the rung rule ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epochs", "factor", "rungs"),
    [
        (1, 1.0, []),
        (2, 2.0, [1]),
        (3, 3 ** (1 / 2), [1, 2]),
        (4, 4 ** (1 / 3), [1, 2, 3]),
        (5, 5 ** (1 / 3), [1, 2, 3]),
        (8, 2.0, [1, 2, 4]),
        (27, 3.0, [1, 3, 9]),
        (50, 50 ** (1 / 3), [1, 4, 14]),
        (1000, 10.0, [1, 10, 100]),
    ],
)
def test_three_rungs_divide_the_epochs_geometrically(
    epochs: int, factor: float, rungs: list[int]
) -> None:
    rule = RungRule(epochs=epochs)
    assert rule.factor == pytest.approx(factor)
    assert [step / 4 for step in rule.rungs] == rungs


@pytest.mark.parametrize("epochs", range(2, 200))
def test_every_rung_lies_before_the_end_and_one_trial_in_as_many_as_there_are_epochs_gets_there(
    epochs: int,
) -> None:
    rule = RungRule(epochs=epochs)
    assert len(set(rule.rungs)) == len(rule.rungs)
    assert 4 <= min(rule.rungs) <= max(rule.rungs) < 4 * epochs
    assert rule.factor ** len(rule.rungs) == pytest.approx(epochs)


def test_each_report_looks_at_the_last_rung_but_those_of_the_first_epoch_and_the_last_one() -> None:
    assert [FIVE.rung(step) for step in STEPS] == [None, None, None, 4, 8, 12, 12, None]


@pytest.mark.parametrize("step", [1, 2, 3])
def test_inside_the_first_epoch_nothing_is_judged_however_bad(step: int) -> None:
    assert judge({step: 0.0}, [0.9] * 20) == Verdict(prune=False, reason="")


@pytest.mark.parametrize("n_values", [1, 2, 3, 4, 5, 6, 7, 9, 10, 30])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_best_share_rounded_up_goes_on(n_values: int, direction: Direction) -> None:
    values = [(i * 37 % 101) / 100 for i in range(n_values)]  # distinct, in no order
    kept = [
        value
        for i, value in enumerate(values)
        if not judge({4: value}, values[:i] + values[i + 1 :], direction).prune
    ]
    best_first = sorted(values, reverse=direction == "maximize")
    assert sorted(kept) == sorted(best_first[: math.ceil(n_values / FIVE.factor)])


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("n_rivals", [1, 2, 5, 20])
def test_ties_with_the_last_one_that_goes_on_go_on(n_rivals: int, direction: Direction) -> None:
    verdict = judge({4: 0.5}, [0.5] * n_rivals, direction)
    assert not verdict.prune
    assert f"rank 1 of {n_rivals + 1}" in verdict.reason


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("step", [1, 4, 8])
def test_what_is_not_a_number_ends_at_any_step_and_without_rivals(
    step: int, direction: Direction
) -> None:
    verdict = judge({step: math.nan}, [], direction)
    assert verdict == Verdict(prune=True, reason=f"step {step}: the metric is not a number")


@pytest.mark.parametrize(
    ("direction", "value", "worst"), [("maximize", -math.inf, 0.1), ("minimize", math.inf, 9.0)]
)
def test_an_infinitely_bad_value_ends_like_any_other_bad_one(
    direction: Direction, value: float, worst: float
) -> None:
    assert judge({4: value}, [worst, worst], direction).prune  # the third of three
    assert not judge({4: worst}, [value, value], direction).prune


def test_the_reason_tells_rung_and_value_and_rank_and_threshold() -> None:
    assert judge({4: 0.7}, [0.6, 0.8, 0.85]).reason == (
        "step 4: 0.7000 is rank 3 of 4, the best 3 go on (from 0.7000)"
    )
    assert judge({4: 0.6, 12: 0.7, 16: 0.9}, [0.75, 0.8, 0.85]).reason == (
        "step 12: 0.7000 is rank 4 of 4, the best 3 go on (from 0.7500), looked up at step 16"
    )


def test_who_came_first_is_looked_at_again_when_others_have_come() -> None:
    reports = {4: 0.7, 8: 0.75, 12: 0.9}
    assert not judge(reports, []).prune
    assert not judge(reports | {16: 0.9}, [0.8]).prune  # its best by step 12 is 0.9
    assert judge(reports | {16: 0.9}, [0.91, 0.92, 0.95]).prune  # whatever it has by now


def test_a_value_that_was_better_before_counts() -> None:
    assert not judge({4: 0.86, 8: 0.84}, [0.85, 0.85]).prune
    assert judge({4: 0.84, 8: 0.84}, [0.85, 0.85]).prune


def test_a_trial_without_a_report_at_the_rung_is_left_alone() -> None:
    assert judge({6: 0.1}, [0.9] * 9) == Verdict(prune=False, reason="")


def test_a_verdict_depends_on_nothing_but_its_arguments() -> None:
    reports, rivals = {4: 0.74}, [0.6, 0.8, 0.7, 0.75]
    before = list(rivals)
    verdicts = {judge(reports, order) for order in itertools.permutations(rivals)}
    assert len(verdicts) == 1
    assert (reports, rivals) == ({4: 0.74}, before)


# --- the median rule -------------------------------------------------------------------------


def test_the_median_is_looked_at_after_each_epoch_but_the_last() -> None:
    rule = MedianRule(epochs=5)
    assert [rule.rung(step) for step in STEPS] == [None, None, None, 4, 8, 12, 16, None]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_below_the_median_a_trial_ends_once_it_stops_getting_better(direction: Direction) -> None:
    sign = 1 if direction == "maximize" else -1
    rule, rivals = MedianRule(epochs=5), [sign * v for v in (0.5, 0.7, 0.8, 0.9)]  # median 0.75

    def ends(*values: float) -> bool:
        reports = {4 * (i + 1): sign * value for i, value in enumerate(values)}
        return rule.verdict(reports, rivals, direction).prune

    assert not ends(0.6)  # nothing to compare with yet
    assert not ends(0.6, 0.7)  # gets better
    assert ends(0.6, 0.6)
    assert ends(0.7, 0.6)
    assert not ends(0.76, 0.6)  # it was better than the median
    assert not ends(0.75, 0.75)


def test_the_median_of_fewer_than_four_others_ends_nobody() -> None:
    reports = {4: 0.1, 8: 0.1}
    assert not MedianRule(epochs=5).verdict(reports, [0.9] * 3, "maximize").prune
    assert MedianRule(epochs=5).verdict(reports, [0.9] * 4, "maximize").prune


def test_patience_is_counted_in_epochs_since_the_best() -> None:
    rule = MedianRule(epochs=9, patience=2)
    assert not rule.verdict({4: 0.1, 8: 0.1}, [0.9] * 4, "maximize").prune
    assert rule.verdict({4: 0.1, 8: 0.1, 12: 0.1}, [0.9] * 4, "maximize").prune
    assert not rule.verdict({4: 0.1, 8: 0.2, 12: 0.1}, [0.9] * 4, "maximize").prune


def test_the_median_rule_tells_its_reason() -> None:
    verdict = MedianRule(epochs=5).verdict({4: 0.7, 8: 0.6}, [0.8] * 4, "maximize")
    assert verdict.reason == (
        "step 8: 0.7000 is worse than the median 0.8000 of 4 others, reached at step 4"
    )


# --- by name, and in a notebook ---------------------------------------------------------------


def test_rules_are_asked_for_by_name(toy: StudyMaker) -> None:
    assert make_rule("asha", epochs=5) == RungRule(epochs=5)
    assert make_rule("median", epochs=5) == MedianRule(epochs=5)
    assert make_rule("none", epochs=5) is None
    assert isinstance(make_pruner(toy("pruner.name=none")), optuna.pruners.NopPruner)
    pruner = make_pruner(toy("pruner.name=median", "budget.epochs=7"))
    assert isinstance(pruner, RulePruner)
    assert pruner.rule == MedianRule(epochs=7)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_in_a_real_study_the_pruner_ends_bad_trials_and_never_the_best_so_far(
    direction: Direction,
) -> None:
    better = max if direction == "maximize" else min
    study = optuna.create_study(
        sampler=RandomSampler(seed=1), pruner=RulePruner(FIVE), direction=direction
    )
    ends: list[int] = []

    def objective(trial: optuna.Trial) -> float:
        value = trial.suggest_float("value", 0.0, 1.0)
        for step in STEPS:
            trial.report(value, step)
            if trial.should_prune():
                ends.append(step)
                raise optuna.TrialPruned
        return value

    study.optimize(objective, n_trials=160)

    assert set(ends) <= {4, 8, 12}
    assert len(ends) >= 100  # four in five of 160, but for the first ones
    best: float | None = None
    for trial in study.trials:
        value = trial.params["value"]
        best = value if best is None else better(best, value)
        assert trial.state == TrialState.COMPLETE or value != best
    assert study.best_value == best


def test_the_pruner_ends_what_is_not_a_number_and_does_not_count_it_as_a_rival() -> None:
    study = optuna.create_study(direction="maximize", pruner=RulePruner(FIVE))
    values = iter([math.nan, math.nan, 0.1, 0.9, 0.05])

    def objective(trial: optuna.Trial) -> float:
        value = next(values)
        trial.report(value, 4)
        if trial.should_prune():
            raise optuna.TrialPruned
        return value

    study.optimize(objective, n_trials=5)
    states = [trial.state.name for trial in study.trials]
    assert states == ["PRUNED", "PRUNED", "COMPLETE", "COMPLETE", "PRUNED"]


def test_the_pruner_leaves_a_trial_without_reports_alone() -> None:
    study = optuna.create_study(pruner=RulePruner(FIVE))
    assert not study.ask().should_prune()
