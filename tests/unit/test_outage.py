"""A database that is away: when it is asked again, and when a worker gives up."""

import logging
import math

import pytest

from tuner.errors import StorageUnavailableError
from tuner.worker import outage as room
from tuner.worker.outage import FIRST_PAUSE, LONGEST_PAUSE, Outage

LEASE = 60.0
AWAY = StorageUnavailableError("db: connection refused. Check that it runs.")


class Time:
    """A clock that waiting moves on."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    passing = Time()
    monkeypatch.setattr(room, "time", passing)
    return passing


def make_outage(time: Time, *, patience: float = math.inf, lease: float = LEASE) -> Outage:
    return Outage(patience=patience, lease=lease, when_lost=lambda: None, pause=time.wait)


def fail_often(outage: Outage, time: Time, n_times: int) -> list[float]:
    for _ in range(n_times):
        outage.failed(AWAY)
        time.wait(outage.seconds_to_wait)
    return time.waits


def test_pauses_double_up_to_a_sixth_of_a_lease_and_are_spread_over_half_of_that(
    time: Time,
) -> None:
    waits = fail_often(make_outage(time), time, 200)

    longest = LONGEST_PAUSE * LEASE
    for n, waited in enumerate(waits):
        pause = min(FIRST_PAUSE * 2 ** min(n, 20), longest)
        assert pause / 2 <= waited <= pause
    assert len(set(waits)) > 150  # many workers do not come back at the same moment


@pytest.mark.parametrize("lease", [0.5, 1.5, 6.0])
def test_the_owner_asks_more_often_than_others_have_to_watch_however_short_the_lease(
    time: Time, lease: float
) -> None:
    waits = fail_often(make_outage(time, lease=lease), time, 50)

    assert max(waits) <= lease / 6


def test_a_new_outage_begins_with_a_short_pause(time: Time) -> None:
    outage = make_outage(time)
    fail_often(outage, time, 10)
    outage.succeeded()
    time.waits.clear()

    (waited,) = fail_often(outage, time, 1)

    assert waited <= FIRST_PAUSE


def test_a_worker_gives_up_after_its_patience_and_says_what_to_do(time: Time) -> None:
    outage = make_outage(time, patience=120.0)
    began = time.now

    with pytest.raises(StorageUnavailableError) as caught:
        fail_often(outage, time, 1000)

    assert 120 <= time.now - began <= 120 + LONGEST_PAUSE * LEASE
    assert str(caught.value).startswith(str(AWAY))
    assert "as long as this worker waits" in str(caught.value)
    assert "Start it again when the database is back." in str(caught.value)
    assert caught.value.exit_code == 3
    assert caught.value.__cause__ is AWAY


def test_asking_is_repeated_until_there_is_an_answer(time: Time) -> None:
    n_lost = 0
    answers: list[Exception | str] = [AWAY, AWAY, AWAY, "here"]

    def count() -> None:
        nonlocal n_lost
        n_lost += 1

    def ask() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    outage = Outage(patience=60.0, lease=LEASE, when_lost=count, pause=time.wait)

    assert outage.bridge(ask) == "here"

    assert n_lost == len(time.waits) == 3
    assert not outage.is_on
    assert outage.seconds_to_wait == 0


def test_what_is_no_outage_is_not_waited_for(time: Time) -> None:
    def ask() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        make_outage(time).bridge(ask)

    assert time.waits == []


def test_the_log_has_one_line_when_it_is_away_and_one_when_it_is_back(
    time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    outage = make_outage(time, patience=3600.0)
    with caplog.at_level(logging.INFO):
        fail_often(outage, time, 20)
        outage.succeeded()
        outage.succeeded()

    away, back = (record.getMessage() for record in caplog.records)
    assert away == f"{AWAY} Waiting up to 60 min for it."
    assert back.startswith("The database is back after ")
