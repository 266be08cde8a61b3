"""Signals: the first one asks, a later one insists, and one to a whole group is one."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tuner.worker import interruption
from tuner.worker.interruption import InterruptedWorkerError, Interruption


@pytest.fixture
def signals_stay() -> Iterator[None]:
    """What is done at a signal ends with the test."""
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGALRM
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_to_a_group_that_is_passed_on_as_well_asks_once(
    signals_stay: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []
    asked = Interruption()
    asked.handle_signals(codes.append)
    asked.check()

    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(InterruptedWorkerError) as caught:
        asked.check()
    assert caught.value.exit_code == 143
    assert codes == []

    monkeypatch.setattr(interruption, "SAME_SECONDS", 0.01)
    time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)

    assert codes == [130]
