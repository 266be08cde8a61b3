"""What further trials are expected to gain."""

import math

import numpy as np
import pytest

from tests.conftest import StudyMaker
from tuner.config import differences
from tuner.errors import ConfigError
from tuner.strategy.prospects import FEWEST_VALUES, MOST_VALUES, expected_gain


def gain(best: list[float], n_before: int, n_more: int) -> float:
    expected = expected_gain(best[:MOST_VALUES], n_before=n_before, n_more=n_more)
    assert expected is not None
    return expected


def draws(n: int, seed: int) -> list[float]:
    """Draw values with an exponential tail of scale 0.01."""
    return list(np.random.default_rng(seed).exponential(0.01, n))


def best_of(n: int, seed: int) -> list[float]:
    return sorted(draws(n, seed), reverse=True)


def test_the_expectation_is_above_what_random_search_gains_and_of_its_size() -> None:
    searches = [draws(60, seed) for seed in range(300)]

    expected = np.mean([gain(sorted(search[:40], reverse=True), 40, 20) for search in searches])
    gained = np.mean([max(search) - max(search[:40]) for search in searches])

    assert gained < expected < 4 * gained


def test_the_gain_falls_as_less_is_left_and_is_none_where_nothing_is() -> None:
    best = best_of(40, seed=1)

    gains = [gain(best, 40, n) for n in (20, 10, 1, 0)]

    assert gains == sorted(gains, reverse=True)
    assert gains[-1] == 0.0
    assert gains[0] / gains[1] == pytest.approx(math.log(1.5) / math.log(1.25))


def test_a_loss_and_an_accuracy_are_judged_alike_and_in_their_unit() -> None:
    best = best_of(40, seed=2)

    assert gain([-value for value in best], 40, 20) == pytest.approx(gain(best, 40, 20))
    assert gain([3 * value + 7 for value in best], 40, 20) == pytest.approx(3 * gain(best, 40, 20))


def test_equal_trials_promise_nothing() -> None:
    assert gain([0.5] * 20, 20, 20) == 0.0


def test_one_that_stands_out_promises_more() -> None:
    close = [0.9 - 0.001 * n for n in range(20)]

    assert gain([0.95, *close[1:]], 20, 20) > 3 * gain(close, 20, 20)


def test_pruned_trials_count_as_trials() -> None:
    best = best_of(20, seed=3)

    assert gain(best, 60, 20) < gain(best, 20, 20)


def test_few_values_tell_nothing() -> None:
    best = best_of(FEWEST_VALUES - 1, seed=4)

    assert expected_gain(best, n_before=40, n_more=20) is None


def test_the_least_gain_may_change_in_a_live_study(toy: StudyMaker) -> None:
    allowed, forbidden = differences(toy(), toy("budget.min_gain=0.001"))

    assert (allowed, forbidden) == (["budget.min_gain: (not there) -> 0.001"], [])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("budget.min_gain=0",), r"budget\.min_gain: .*0"),
        (("budget.min_gain=-0.1",), r"budget\.min_gain: .*-0\.1"),
        (("budget.min_gain=often",), r"budget\.min_gain: expected a number"),
        (("budget.min_gain=nan",), r"budget\.min_gain: expected a finite number\. Received nan"),
        (
            (
                "space.learning_rate=[0.1]",
                "space.dropout=[0.1]",
                "sampler.name=grid",
                "budget.min_gain=0.1",
            ),
            r"budget\.min_gain: a grid's points come in order.*Leave min_gain out",
        ),
    ],
)
def test_a_least_gain_that_makes_no_sense_is_refused(
    toy: StudyMaker, settings: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        toy(*settings)
