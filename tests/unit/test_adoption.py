"""Which slots a worker may take over, by its own clock."""

import subprocess
import sys

import pytest

from tuner.host import Holder, this_process
from tuner.storage.adoption import HeldSlot, Watch

LEASE = 60.0
ME = Holder(name="me", machine="here", pid=1, started=0.0)
ELSEWHERE = Holder(name="other", machine="elsewhere", pid=1, started=0.0)


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> Watch:
    return Watch(ME, lease=LEASE, clock=clock)


def held(
    holder: Holder = ELSEWHERE,
    *,
    slot: int = 0,
    token: int = 7,
    expires_at: float = 100.0,
    expired: bool = True,
) -> HeldSlot:
    return HeldSlot(slot=slot, token=token, holder=holder, expires_at=expires_at, expired=expired)


def test_an_expired_slot_that_nobody_has_watched_is_left_to_its_holder(watch: Watch) -> None:
    assert watch.adoptable([held()]) == []


def test_an_expired_slot_is_free_to_take_after_a_third_of_a_lease_without_renewal(
    watch: Watch, clock: Clock
) -> None:
    watch.adoptable([held()])
    clock.now += LEASE / 3 - 0.01
    assert watch.adoptable([held()]) == []

    clock.now += 0.02

    assert watch.adoptable([held()]) == [held()]


@pytest.mark.parametrize(
    "renewed",
    [held(expires_at=160.0), held(token=8)],
    ids=["by its holder", "by whoever took it over"],
)
def test_a_renewal_seen_meanwhile_begins_the_wait_anew(
    watch: Watch, clock: Clock, renewed: HeldSlot
) -> None:
    watch.adoptable([held()])
    clock.now += LEASE / 3 + 0.01
    assert watch.adoptable([renewed]) == []
    clock.now += LEASE / 3 - 0.01
    assert watch.adoptable([renewed]) == []

    clock.now += 0.02

    assert watch.adoptable([renewed]) == [renewed]


def test_a_slot_that_was_renewed_in_time_meanwhile_is_waited_for_anew(
    watch: Watch, clock: Clock
) -> None:
    watch.adoptable([held()])
    clock.now += LEASE / 4
    watch.adoptable([])  # not expired: not even shown
    clock.now += LEASE / 4

    assert watch.adoptable([held()]) == []


def test_after_an_outage_of_the_database_the_owners_come_first(watch: Watch, clock: Clock) -> None:
    watch.adoptable([held()])
    clock.now += LEASE
    watch.forget()
    assert watch.adoptable([held()]) == []

    clock.now += LEASE / 3

    assert watch.adoptable([held()]) == [held()]


def test_each_slot_is_watched_for_itself(watch: Watch, clock: Clock) -> None:
    watch.adoptable([held(slot=0)])
    clock.now += LEASE / 6
    watch.adoptable([held(slot=0), held(slot=1)])
    clock.now += LEASE / 6

    assert watch.adoptable([held(slot=0), held(slot=1)]) == [held(slot=0)]


def test_what_the_worker_itself_holds_while_it_claims_is_taken_at_once(watch: Watch) -> None:
    mine = held(ME, expired=False)

    assert watch.adoptable([mine]) == [mine]


@pytest.mark.parametrize("expired", [True, False])
def test_a_dead_process_of_this_machine_is_not_waited_for(watch: Watch, expired: bool) -> None:
    here = this_process()
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    dead = Holder(name="dead", machine=here.machine, pid=process.pid, started=here.started)
    left = held(dead, expired=expired)

    assert watch.adoptable([left]) == [left]


def test_a_living_process_of_this_machine_is_waited_for_as_any_other(
    watch: Watch, clock: Clock
) -> None:
    alive = this_process()
    assert watch.adoptable([held(alive, expired=False)]) == []
    assert watch.adoptable([held(alive)]) == []

    clock.now += LEASE / 3

    assert watch.adoptable([held(alive)]) == [held(alive)]


def test_a_process_of_another_machine_that_has_a_dead_ones_number_is_waited_for(
    watch: Watch,
) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    elsewhere = Holder(name="other", machine="elsewhere", pid=process.pid, started=0.0)

    assert watch.adoptable([held(elsewhere, expired=False)]) == []
    assert watch.adoptable([held(elsewhere)]) == []
