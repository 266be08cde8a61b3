"""`confirm` through the command line: stopped in its midst, gone on with, and taken by `refit`."""

import json
import signal
from pathlib import Path

import pytest

from tests.acceptance.test_refit_command import heard_interruptions
from tests.commands import TINY, ask, call, data, start
from tuner.deliver.final import make_plan
from tuner.results import progress
from tuner.results.confirmed import confirmed_of
from tuner.storage import Database, find_study

__all__ = ["heard_interruptions"]


def test_a_study_is_confirmed_though_that_is_interrupted_and_refit_follows_it(
    tmp_path: Path, heard_interruptions: None
) -> None:
    storage, path = f"sqlite:///{tmp_path / 'tuner.db'}", tmp_path / "tiny.toml"
    path.write_text(TINY.replace("trials = 3", "trials = 2").replace("epochs = 1", "epochs = 2"))
    done = call("run", path, storage=storage)
    assert done.returncode == 0, done.stderr

    words = ("confirm", "tiny", "--seeds", "2", "--format", "json")
    running = start(*words, storage=storage)
    assert running.stderr is not None
    # Each training takes a moment: the first of four is over, and others are left.
    said = [next(line for line in running.stderr if "trial 0 complete" in line)]
    running.send_signal(signal.SIGINT)
    stdout, rest = running.communicate(timeout=60)
    assert (running.returncode, stdout) == (130, ""), [*said, rest]
    with Database.open(storage) as database:
        before = progress(database, find_study(database, "tiny.confirm"))
    assert before.slots.done >= 1

    done = call(*words, storage=storage)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)

    listed = ask("trials", "tiny.confirm", "--format", "json", storage=storage).stdout
    rows = [json.loads(line) for line in listed.splitlines()]
    assert {row["state"] for row in rows} == {"complete"}
    fresh = [row["value"] for row in rows if row["slot"] in (4, 5)]
    assert told["figure"]["value"] == pytest.approx(sum(fresh) / 2)
    assert told["n_trainings"] == 2
    assert told["simple"]["name"].startswith("bag of bigrams")
    assert len(told["finalists"]) == 2
    assert data(*words, storage=storage) == told
    with Database.open(storage) as database:
        study = find_study(database, "tiny")
        confirmed = confirmed_of(database, study)
        assert confirmed is not None
        plan = make_plan(database, study, trial=None, n_models=1, epochs=None)
        other = make_plan(database, study, trial=1 - confirmed.trial, n_models=1, epochs=None)
    assert (plan.trial, plan.epochs) == (told["trial"], told["epochs"])
    assert plan.epochs_from == f"the median best epoch of trial {plan.trial} in tiny.confirm"
    assert plan.confirmed == confirmed.figure
    assert other.confirmed is None
    done = call("reproduce", "tiny.confirm", "5", "--format", "json", storage=storage)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["equal"]
    target = tmp_path / "tiny.model"
    done = call("refit", "tiny", "-o", target, "--no-test", storage=storage)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((target / "manifest.json").read_text())
    assert manifest["origin"]["confirmed"] == told["figure"]
    assert "judged by examples that chose nothing" in (target / "README.md").read_text()
