"""Which acceptance tests take minutes and can wait for `pytest -m slow`; what several need."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def heard_interruptions() -> Iterator[None]:
    """Where a shell starts tests in the background, they and their children hear no SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # What commands do on SQLite they do on Postgres: the integration tests hold that for what they
    # call, over both, in a fraction of the time that whole studies take.
    for item in items:
        if "test_command_line.py" in item.nodeid and "[postgres]" in item.nodeid:
            item.add_marker(pytest.mark.slow)
        # Where workers and connections are killed at the same time, Postgres is the harder one.
        if "test_chaos.py" in item.nodeid and "[sqlite]" in item.nodeid:
            item.add_marker(pytest.mark.slow)
