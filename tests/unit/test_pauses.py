"""Pauses between looks: they grow, end at a longest one, and spread many workers out."""

import pytest

from tuner.worker.pauses import Pauses


def test_pauses_grow_up_to_the_longest_and_are_spread_over_half_of_that() -> None:
    pauses = Pauses(first=2.0, longest=10.0, factor=1.5)

    for most in (2.0, 3.0, 4.5, 6.75, 10.0, 10.0, 10.0):
        assert most / 2 <= pauses.next() <= most


def test_pauses_that_restart_are_short_again() -> None:
    pauses = Pauses(first=1.0, longest=64.0)
    taken = [pauses.next() for _ in range(10)]
    assert max(taken) > 30

    pauses.restart()

    assert pauses.next() <= 1.0


@pytest.mark.parametrize("longest", [0.1, 0.5])
def test_no_pause_is_longer_than_the_longest_not_even_the_first(longest: float) -> None:
    pauses = Pauses(first=1.0, longest=longest)

    taken = [pauses.next() for _ in range(200)]

    assert max(taken) <= longest
    assert len(set(taken)) > 150
