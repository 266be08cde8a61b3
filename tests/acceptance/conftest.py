"""Which acceptance tests take minutes and can wait for `pytest -m slow`."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # What commands do on SQLite they do on Postgres: the integration tests hold that for what they
    # call, over both, in a fraction of the time that whole studies take.
    for item in items:
        if "test_command_line.py" in item.nodeid and "[postgres]" in item.nodeid:
            item.add_marker(pytest.mark.slow)
        # Where workers and connections are killed at the same time, Postgres is the harder one.
        if "test_chaos.py" in item.nodeid and "[sqlite]" in item.nodeid:
            item.add_marker(pytest.mark.slow)
