"""The step size grows at first and falls to the end, tied to the whole training."""

import itertools

import pytest

from tuner.params import GRUParams, Schedule
from tuner.schedule import learning_rate


def rates(n_all: int = 100, **changes: object) -> list[float]:
    params = GRUParams.model_validate({"learning_rate": 0.1, **changes})
    return [learning_rate(params, n_done=n, n_all=n_all) for n in range(n_all)]


def test_a_constant_rate_stays() -> None:
    assert set(rates(schedule="constant")) == {0.1}


def test_a_linear_rate_falls_evenly_and_would_reach_nothing_at_the_end() -> None:
    assert rates(4, schedule="linear") == pytest.approx([0.1, 0.075, 0.05, 0.025])


def test_a_cosine_falls_slowly_at_both_ends() -> None:
    found = rates(schedule="cosine")
    assert found[0] == pytest.approx(0.1)
    assert found[50] == pytest.approx(0.05)
    drops = [before - after for before, after in itertools.pairwise(found)]
    assert min(drops) > 0
    assert max(drops[:5]) < drops[50] > max(drops[-5:])


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_a_warm_up_grows_evenly_to_the_full_rate_and_the_rest_is_the_schedule(
    schedule: Schedule,
) -> None:
    found = rates(schedule=schedule, warmup=0.1)
    assert found[:10] == pytest.approx([0.01 * (n + 1) for n in range(10)])
    assert found[10:] == pytest.approx(rates(90, schedule=schedule))


def test_a_warm_up_of_less_than_a_step_is_none() -> None:
    assert rates(5, warmup=0.1) == rates(5)
