"""`confirm` through the command line: stopped in its midst, gone on with, and taken by `refit`."""

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.commands import TINY, ask, call, data, start
from tuner.deliver.final import make_plan
from tuner.errors import InputError
from tuner.results import progress
from tuner.results.confirmed import confirmed_of
from tuner.storage import Database, find_study

WORDS = ("confirm", "tiny", "--seeds", "2", "--format", "json")


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """A study that was confirmed, though that was interrupted."""

    #: Where it is.
    storage: str
    #: What was printed in the end.
    told: Any


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Confirmed:
    folder = tmp_path_factory.mktemp("study")
    storage, path = f"sqlite:///{folder / 'tuner.db'}", folder / "tiny.toml"
    path.write_text(TINY.replace("trials = 3", "trials = 2").replace("epochs = 1", "epochs = 2"))
    done = call("run", path, storage=storage)
    assert done.returncode == 0, done.stderr
    # Where a shell starts tests in the background, they and their children hear no SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    running = start(*WORDS, storage=storage)
    signal.signal(signal.SIGINT, before)
    assert running.stderr is not None
    next(line for line in running.stderr if "trial 0 complete" in line)
    running.send_signal(signal.SIGINT)
    stdout, said = running.communicate(timeout=60)
    assert (running.returncode, stdout) == (130, ""), said
    with Database.open(storage) as database:
        now = progress(database, find_study(database, "tiny.confirm"))
    assert now.slots.done >= 1
    done = call(*WORDS, storage=storage)
    assert done.returncode == 0, done.stderr
    return Confirmed(storage=storage, told=json.loads(done.stdout))


def test_an_interrupted_confirmation_goes_on_to_its_end_and_then_prints_only(
    confirmed: Confirmed,
) -> None:
    told = confirmed.told
    listed = ask("trials", "tiny.confirm", "--format", "json", storage=confirmed.storage).stdout
    rows = [json.loads(line) for line in listed.splitlines()]
    assert {row["state"] for row in rows} == {"complete"}
    fresh = [row["value"] for row in rows if row["slot"] in (4, 5)]
    assert told["figure"]["value"] == pytest.approx(sum(fresh) / 2)
    assert told["n_trainings"] == 2
    assert told["simple"]["name"].startswith("bag of bigrams")
    assert len(told["finalists"]) == 2
    assert data(*WORDS, storage=confirmed.storage) == told


def test_the_best_training_of_a_confirmation_is_not_taken_for_the_winner(
    confirmed: Confirmed,
) -> None:
    done = call("best", "tiny.confirm", "--format", "json", storage=confirmed.storage)
    assert set(json.loads(done.stdout)) == {"number", "value", "params"}
    assert "luckiest" in done.stderr
    assert "`tuner best tiny`" in done.stderr
    winner = ask("best", "tiny", storage=confirmed.storage)
    assert f"confirmed: trial {confirmed.told['trial']}" in winner.stdout
    assert "luckiest" not in winner.stderr


def test_refit_takes_the_confirmed_winner_and_its_epochs(confirmed: Confirmed) -> None:
    with Database.open(confirmed.storage) as database:
        study = find_study(database, "tiny")
        found = confirmed_of(database, study)
        assert found is not None
        plan = make_plan(database, study)
        other = make_plan(database, study, trial=1 - found.trial)
        shorter = make_plan(database, study, epochs=1)
        both = make_plan(database, study, top=2, n_seeds=2)
        with pytest.raises(
            InputError, match=r"--top 3: 'tiny' has 2 finalists with a result\. Give 2"
        ):
            make_plan(database, study, top=3)

    (model,) = plan.models
    assert plan.trials == (confirmed.told["trial"],)
    assert model.epochs == confirmed.told["epochs"]
    assert plan.epochs_from == f"the median best epoch of trial {plan.trials[0]} in tiny.confirm"
    assert plan.confirmed == found.figure
    assert other.confirmed is None
    assert other.epochs_from == f"the best epoch of trial {other.trials[0]}"
    assert (shorter.models[0].epochs, shorter.epochs_from) == (1, "asked for")
    assert shorter.confirmed == (found.figure if found.epochs == 1 else None)
    assert both.trials == (*plan.trials, *other.trials)
    assert both.models[0] == model
    assert [each.params for each in both.models] == [model.params] * 2 + [
        other.models[0].params
    ] * 2
    assert [each.seed for each in both.models] == [0, 1, 2, 3]
    assert both.models[2].epochs == found.finalists[1].epochs
    assert both.epochs_from == "the median best epoch of each trial in tiny.confirm"
    assert both.confirmed == found.figure


@pytest.mark.slow
def test_the_artifact_tells_the_confirmed_figure_and_a_rehearsal_can_be_reproduced(
    confirmed: Confirmed, tmp_path: Path
) -> None:
    done = call("reproduce", "tiny.confirm", "5", "--format", "json", storage=confirmed.storage)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["equal"]

    target = tmp_path / "tiny.model"
    done = call("refit", "tiny", "-o", target, "--top", "2", "--no-test", storage=confirmed.storage)
    assert done.returncode == 0, done.stderr
    assert "model 2 of 2: epoch 1 of " in done.stderr
    manifest = json.loads((target / "manifest.json").read_text())
    assert manifest["origin"]["confirmed"] == confirmed.told["figure"]
    assert manifest["origin"]["other_trials"] == [1 - confirmed.told["trial"]]
    assert "judged by examples that chose nothing" in (target / "README.md").read_text()
