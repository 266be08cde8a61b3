"""Finalists are chosen by some trainings and judged by others, and intervals hold the truth."""

import math
import statistics

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from tests.benchmarks.confirming import one_score, replicate, run_studies, share, true_accuracy
from tuner.judging import (
    Hits,
    Noise,
    Score,
    accuracy_gain,
    accuracy_noise,
    choose,
    difference,
    estimate,
)
from tuner.judging.hits import correlations, covariances
from tuner.judging.intervals import standard_error, t_quantile

QUIET = Noise(luck=0.0, left=0.0, df=4)


def hits(right: list[int], size: int = 10) -> Hits:
    return Hits(right=np.array(right), size=np.full(len(right), size))


def scored(value: float, *, error: float = 0.01, right: tuple[int, ...] = (8, 9, 7)) -> Score:
    return Score(value=value, error=error, hits=hits(list(right)))


# --- what was right ---------------------------------------------------------------------------


def test_hits_are_counted_by_what_belongs_together_and_survive_as_text() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=300).astype(np.int32)
    found = rng.random((300, 3)).astype(np.float32)
    units = np.unique(rng.integers(40, size=300), return_inverse=True)[1]

    counted = Hits.of(labels, found, units)
    again = Hits.from_text(counted.to_text())

    assert counted.share == accuracy_score(labels, found.argmax(axis=1))
    assert counted.size.tolist() == np.bincount(units).tolist()
    assert again.right.tolist() == counted.right.tolist()
    assert again.size.tolist() == counted.size.tolist()


def test_hits_of_thousands_of_examples_take_about_a_kilobyte() -> None:
    is_right = (np.random.default_rng(0).random(3_000) < 0.87).astype(int)

    assert len(hits(is_right.tolist(), size=1).to_text()) < 1_200


def test_the_variance_of_an_accuracy_is_the_binomial_one_where_each_example_stands_alone() -> None:
    one = hits([1] * 80 + [0] * 20, size=1)

    assert covariances([one])[0, 0] == pytest.approx(0.8 * 0.2 / 99)


def test_examples_that_are_alike_count_as_fewer() -> None:
    alone = hits([1] * 80 + [0] * 20, size=1)
    alike = hits([10] * 8 + [0] * 2, size=10)

    assert alike.share == alone.share
    assert covariances([alike])[0, 0] == pytest.approx(10 * covariances([alone])[0, 0], rel=0.2)


def test_a_standard_error_by_groups_is_the_one_of_the_formula() -> None:
    rng = np.random.default_rng(1)
    units = np.unique(rng.integers(60, size=400), return_inverse=True)[1]
    right = rng.random(400) < 0.3 + 0.6 * (units % 2)
    counted = Hits(right=np.bincount(units, right).astype(np.int64), size=np.bincount(units))

    found = standard_error(400, lambda rows: float(right[rows].mean()), seed=0, groups=units)

    assert found == pytest.approx(math.sqrt(covariances([counted])[0, 0]), rel=0.15)
    assert standard_error(4, lambda _: math.nan, seed=0) == 0


def test_models_that_err_alike_correlate_and_one_that_never_errs_with_none() -> None:
    one, other, perfect = hits([3, 9, 5, 7]), hits([4, 9, 6, 8]), hits([10] * 4)

    found = correlations([one, other, perfect])

    assert found[0, 0] == pytest.approx(1)
    assert found[0, 1] > 0.9
    assert found[0, 2] == found[2, 2] == 0


@pytest.mark.parametrize(
    ("df", "expected"), [(1, 12.706), (2, 4.3027), (4, 2.7764), (10.5, 2.214), (1e6, 1.960)]
)
def test_students_t(df: float, expected: float) -> None:
    assert t_quantile(df) == pytest.approx(expected, abs=1e-3)


# --- choosing ---------------------------------------------------------------------------


def test_the_best_mean_wins_whatever_the_best_single_score_is() -> None:
    scores = {
        0: [scored(0.9), scored(0.7), scored(0.7)],
        1: [scored(0.8), scored(0.8), scored(0.8)],
        2: [scored(0.6), scored(0.6), scored(0.6)],
    }

    up, down = choose(scores, "maximize"), choose(scores, "minimize")

    assert up.order == (1, 0, 2)
    assert up.means == pytest.approx((0.8, 0.7667, 0.6), abs=1e-3)
    assert down.order == (2, 0, 1)
    assert up.lead is not None
    assert down.lead is not None
    assert up.lead.value == pytest.approx(0.0333, abs=1e-3)
    assert down.lead.value == pytest.approx(0.1667, abs=1e-3)


def test_of_equals_the_one_with_the_better_first_score_wins() -> None:
    assert choose({0: [scored(0.5)] * 2, 1: [scored(0.5)] * 2}, "minimize").order == (0, 1)


def test_what_is_no_candidate_cannot_win_and_helps_to_tell_the_noise() -> None:
    scores = {0: [scored(0.5), scored(0.6)], 1: [scored(0.9), scored(0.7)]}

    found = choose(scores, "maximize", candidates=[0])

    assert (found.order, found.lead) == ((0,), None)
    assert found.noise == choose(scores, "maximize").noise
    assert found.noise.df == 1


def test_what_all_finalists_have_in_common_is_no_noise_of_theirs() -> None:
    easy_and_hard = {
        place: [scored(0.9 + place / 100), scored(0.7 + place / 100)] for place in (0, 1)
    }

    noise = choose(easy_and_hard, "maximize").noise

    assert noise.left == pytest.approx(0, abs=1e-12)
    assert noise.luck == 0


def test_a_single_finalist_has_all_noise_for_itself() -> None:
    found = choose({0: [scored(0.7), scored(0.8), scored(0.9)]}, "maximize")

    assert found.noise.left == pytest.approx(0.01)
    assert found.noise.df == 2
    assert found.noise.luck == pytest.approx(0.01 - 0.01**2)
    assert found.lead is None


def test_a_lead_within_the_noise_is_a_tie_and_a_long_one_is_none() -> None:
    close = {0: [scored(0.81), scored(0.79)], 1: [scored(0.79), scored(0.80)], 2: [scored(0.7)] * 2}
    far = {**close, 0: [scored(0.99), scored(0.98)]}

    leads = [choose(scores, "maximize").lead for scores in (close, far)]

    assert leads[0] is not None
    assert leads[0].low < 0 < leads[0].high
    assert leads[1] is not None
    assert leads[1].low > 0


# --- estimating ---------------------------------------------------------------------------


def test_an_estimate_is_the_mean_and_as_sure_as_its_examples_where_trainings_have_no_luck() -> None:
    found = estimate([scored(0.8, error=0.02), scored(0.9, error=0.02)], QUIET)

    assert found.value == pytest.approx(0.85)
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.02 / math.sqrt(2), rel=1e-3)


def test_luck_that_is_known_from_few_trainings_makes_an_estimate_less_sure() -> None:
    few, many = (Noise(luck=0.0009, left=0.0009, df=df) for df in (2, 200))
    scores = [scored(0.8, error=0.0), scored(0.8, error=0.0)]

    wide, narrow = (estimate(scores, noise) for noise in (few, many))

    assert wide.high - wide.low == pytest.approx(2 * 4.303 * 0.03 / math.sqrt(2), rel=1e-3)
    assert narrow.high - narrow.low == pytest.approx(2 * 1.972 * 0.03 / math.sqrt(2), rel=1e-3)


def test_finalists_that_err_on_the_same_examples_are_told_apart_more_surely() -> None:
    ours, alike, unlike = (
        [scored(value, error=0.02, right=right), scored(value + 0.01, error=0.02, right=right)]
        for value, right in ((0.80, (9, 3, 8)), (0.78, (9, 3, 8)), (0.78, (2, 9, 8)))
    )

    sure, unsure = (difference(ours, others, QUIET, "maximize") for others in (alike, unlike))

    assert sure.value == unsure.value == pytest.approx(0.02)
    assert (sure.low, sure.high) == pytest.approx((0.02, 0.02))
    assert unsure.low < 0 < unsure.high
    assert difference(ours, alike, QUIET, "minimize").value == pytest.approx(-0.02)


def test_a_gain_in_accuracy_counts_what_only_one_of_both_gets_right() -> None:
    rng = np.random.default_rng(0)
    ours = [hits(rng.integers(6, 11, 50).tolist()) for _ in range(3)]
    others = [hits((one.right - 1).tolist()) for one in ours]

    same, apart = (accuracy_gain(ours, them, QUIET) for them in (ours, others))

    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert (apart.value, apart.low, apart.high) == pytest.approx((0.1, 0.1, 0.1))


def test_the_luck_of_accuracies_is_that_of_scores_where_the_metric_is_the_accuracy() -> None:
    rng = np.random.default_rng(3)
    table = list(zip(*(replicate([1.5, 1.6, 1.7], rng) for _ in range(4)), strict=True))
    scores = dict(enumerate(table))

    ours, theirs = choose(scores, "maximize").noise, accuracy_noise(scores)

    assert (ours.left, ours.luck) == pytest.approx((theirs.left, theirs.luck))


# --- the truth ---------------------------------------------------------------------------


def test_the_truth_of_made_up_studies_is_what_many_trainings_come_to() -> None:
    rng = np.random.default_rng(0)

    found = statistics.fmean(replicate([1.2], rng)[0].value for _ in range(1_000))

    assert found == pytest.approx(true_accuracy(1.2), abs=0.002)


def test_of_points_that_are_equally_good_the_figure_is_true_and_the_first_score_is_not() -> None:
    found, sd = run_studies(60, 0.0, seed=0), one_score()

    assert statistics.fmean(each.luck for each in found) > 1.5 * sd
    assert abs(statistics.fmean(each.error for each in found)) < 0.25 * sd
    assert share([each.covered for each in found]) > 0.85
    assert share([each.is_tie for each in found]) > 0.9


def test_of_points_that_differ_a_better_one_is_chosen_than_by_first_scores() -> None:
    found, sd = run_studies(40, 0.2, seed=0), one_score()

    assert statistics.fmean(each.truths[0] - each.truths[1] for each in found) > 0
    assert abs(statistics.fmean(each.error for each in found)) < 0.3 * sd
    assert share([each.covered for each in found]) > 0.8
