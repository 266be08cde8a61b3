"""`run` while its database is restarted."""

import time
from pathlib import Path

from tests import postgres
from tests.commands import TINY, data, settings, start, wait_for


def test_a_run_goes_on_through_a_restart_of_its_database(
    own_server: postgres.Server, tmp_path: Path
) -> None:
    path, url = tmp_path / "tiny.toml", own_server.url
    path.write_text(TINY)
    slow = settings("data.examples=2000", "budget.epochs=12", "budget.trials=1", "pruner.name=none")

    with start("run", path, *slow, storage=url) as running:
        wait_for(url, lambda status: any(row["last_step"] for row in status["running"]))
        own_server.stop()
        time.sleep(3)  # its workers train on; so long it looks, each second
        own_server.start()
        stdout, talk = running.communicate(timeout=120)

    assert running.returncode == 0, talk
    assert talk.count("The workers go on") == 1
    assert "Best of 'tiny': trial 0" in stdout
    assert data("trials", "tiny", "--format", "json", storage=url)["state"] == "complete"
