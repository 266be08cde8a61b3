"""Which study a standing worker serves next, and when it leaves one for another."""

import random
from collections import Counter

import pytest

from tuner.storage.openings import Opening
from tuner.worker.pool import chance_to_leave, choose


def opening(key: str, *, held: int = 0, free: int = 1) -> Opening:
    return Opening(study_id=ord(key), key=key, name=key, n_free=free, n_held=held, suspects=())


def test_nothing_is_chosen_where_nothing_is_to_do() -> None:
    assert choose([], {}) is None


def test_the_study_with_the_fewest_workers_is_served_first() -> None:
    openings = [opening("a", held=3), opening("b", held=1), opening("c", held=2)]

    chosen = choose(openings, {"b": 100.0})

    assert chosen is not None
    assert chosen.key == "b"


def test_of_studies_with_as_many_workers_the_one_comes_that_waited_longest() -> None:
    openings = [opening("a"), opening("b"), opening("c")]

    order = [
        choose(openings, served)
        for served in ({"a": 2.0, "b": 1.0}, {"a": 2.0, "b": 1.0, "c": 3.0})
    ]

    assert [found.key for found in order if found is not None] == ["c", "b"]


def test_workers_that_look_at_the_same_moment_spread_over_new_studies() -> None:
    openings = [opening("a"), opening("b"), opening("c")]

    counts = Counter(found.key for _ in range(300) if (found := choose(openings, {})))

    assert counts.keys() == {"a", "b", "c"}
    assert min(counts.values()) > 50


@pytest.mark.parametrize(
    ("here", "there", "chance"),
    [
        (0, 0, 0.5),  # alone between two studies: after each second trial
        (1, 0, 0.5),  # two workers here, none there: one of them
        (9, 0, 0.5),
        (9, 8, 0.1),  # ten here, eight there
        (3, 4, 0.0),
        (3, 9, 0.0),
    ],
)
def test_as_many_workers_leave_as_make_two_studies_equal(
    here: int, there: int, chance: float
) -> None:
    openings = [opening("a", held=here), opening("b", held=there)]

    assert chance_to_leave("a", openings) == pytest.approx(chance)


def test_nobody_leaves_the_only_study() -> None:
    assert chance_to_leave("a", [opening("a", held=5)]) == 0.0


def test_workers_settle_evenly_although_each_sees_late_what_the_others_did() -> None:
    draw = random.Random(1)  # noqa: S311 - no secret
    workers = {"a": 64, "b": 0, "c": 0}

    for _ in range(60):  # in each round all decide by what was to be seen before it
        seen = dict(workers)
        for key, count in seen.items():
            openings = [opening(o, held=n - (o == key)) for o, n in seen.items()]
            for _ in range(count):
                if draw.random() < chance_to_leave(key, openings):
                    target = choose(openings, {key: 1.0})
                    assert target is not None
                    workers[key] -= 1
                    workers[target.key] += 1

    assert sum(workers.values()) == 64
    assert max(workers.values()) - min(workers.values()) <= 10
