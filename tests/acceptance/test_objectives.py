"""Good and small models, as a person searches for them: real processes, real tiny trainings."""

from pathlib import Path

import pytest

from tests.commands import TINY, ask, call, data, settings

#: From 6 kB to 80 kB.
GOALS = settings(
    'metrics=["val_accuracy","bytes"]',
    "constraints.bytes=30_000",
    "space.units={low=2,high=32}",
    "space.embedding={low=2,high=64}",
    "budget.trials=9",
    "budget.epochs=2",
)


@pytest.mark.slow
def test_a_study_of_good_and_small_models_is_checked_run_and_asked(tmp_path: Path) -> None:
    storage, file = f"sqlite:///{tmp_path / 'studies.db'}", tmp_path / "tiny.toml"
    file.write_text(TINY)

    checked = ask("check", file, *GOALS, storage=storage)
    done = call("run", file, *GOALS, "--workers", "1", storage=storage)

    assert "maximize val_accuracy, minimize bytes" in checked.stdout
    assert "limit    bytes at most 30,000" in checked.stdout
    assert done.returncode == 0, done.stderr
    rows = [data("show", "tiny", str(n), "--format", "json", storage=storage) for n in range(9)]
    assert all(row["further"]["bytes"] <= 30_000 for row in rows)
    assert all(row["constraints"]["bytes"] <= 0 for row in rows)
    complete = [row for row in rows if row["state"] == "complete"]
    for row in complete:  # what was computed is what Keras counted
        assert 4 * row["attributes"]["n_parameters"] == row["further"]["bytes"]
    front = data("best", "tiny", "--format", "json", storage=storage)
    pairs = [(each["value"], each["further"]["bytes"]) for each in front]
    assert pairs == sorted(pairs, reverse=True)
    assert max(row["value"] for row in complete) == pairs[0][0]
    assert min(row["further"]["bytes"] for row in complete) == pairs[-1][1]
    number = str(front[0]["number"])
    again = call("reproduce", "tiny", number, "--format", "json", storage=storage)
    assert again.returncode == 0, again.stderr
    report = tmp_path / "tiny.html"
    assert call("report", "tiny", "-o", str(report), storage=storage).returncode == 0
    assert "on the Pareto front" in report.read_text()
