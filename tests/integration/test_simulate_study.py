"""A study that was run, replayed: what another pruner would have saved."""

import json
from pathlib import Path

import pytest

from tests.commands import ask
from tests.conftest import StudyMaker
from tests.workers import make_worker
from tuner.errors import InputError, NoUsableTrialError
from tuner.results import trials
from tuner.simulate import read_recording
from tuner.storage import Database, StoredStudy, create_study

ALL = ("budget.trials=8", "pruner.name=none", "sampler.name=random")


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """A SQLite file, which one process reads as well as another."""
    return Database.open(f"sqlite:///{tmp_path}/tuner.db", create=True)


def test_a_finished_study_tells_what_another_pruner_would_have_saved(
    database: Database, toy: StudyMaker, tmp_path: Path
) -> None:
    study = create_study(database, toy(*ALL, "budget.trials=20")).study
    make_worker(database, study, "reporting").run()
    values = sorted(row.value or 0 for row in trials(database, study))
    recording = read_recording(database, study)

    assert len(recording.candidates) == 20
    assert {c.reports[-1][0] for c in recording.candidates} == {recording.last_step} == {12}
    assert recording.best == values[-1]
    assert recording.poor == pytest.approx((values[9] + values[10]) / 2)
    assert recording.regret(values[-1]) == 0
    assert recording.regret(values[0]) == 1

    storage = f"sqlite:///{tmp_path}/tuner.db"
    words = ("simulate", "toy", "--workers", "2", "--seeds", "1", "--costs", "1,20")
    own = ask(*words, "--format", "json", storage=storage)
    asha = ask(*words, "--format", "json", "--pruner", "asha", storage=storage)

    assert own.returncode == asha.returncode == 0, own.stderr + asha.stderr
    (_, end), (_, end_asha) = (
        [json.loads(line) for line in done.stdout.splitlines()] for done in (own, asha)
    )
    assert (end["sampler"], end["pruner"], end["regret"]) == ("random", "none", 0)
    assert (end_asha["pruner"], end_asha["regret"]) == ("asha", 0)
    assert "All 20 trials: 20.0 whole trainings instead of 20.0 (1 times less)" in own.stderr
    assert "1 is that of its median trial" in own.stderr
    assert "instead of 20.0" in asha.stderr
    assert "20.0 whole trainings instead" not in asha.stderr
    assert "the best complete trial has regret 0.000" in asha.stderr


def test_trials_outside_the_space_of_today_are_left_out(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy(*ALL)).study
    make_worker(database, study, "reporting").run()
    narrower = create_study(database, toy(*ALL, "space.dropout.high=0.5")).study

    found = read_recording(database, narrower)

    kept = [row for row in trials(database, study) if float(row.params["dropout"]) <= 0.5]
    assert 2 <= len(found.candidates) == len(kept) < 8


def test_where_all_trials_lie_outside_the_space_of_today_that_is_told(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy(*ALL)).study
    make_worker(database, study, "reporting").run()
    elsewhere = create_study(database, toy(*ALL, "space.dropout={low=0.899,high=0.9}")).study

    with pytest.raises(
        NoUsableTrialError,
        match=r"has 0 complete .* inside .* \(8 lie outside\)",
    ):
        read_recording(database, elsewhere)


def test_savings_are_not_told_of_trials_that_were_pruned_when_they_were_recorded(
    database: Database, toy: StudyMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = create_study(database, toy("budget.trials=20", "sampler.name=random")).study
    make_worker(database, study, "reporting").run()
    assert {row.state for row in trials(database, study)} == {"complete", "pruned"}
    (tmp_path / "toy").mkdir()
    monkeypatch.chdir(tmp_path)

    words = ("simulate", "toy", "--seeds", "1", "--costs", "1", "--pruner", "none")
    done = ask(*words, storage=f"sqlite:///{tmp_path}/tuner.db")

    assert done.returncode == 0, done.stderr
    assert "trials were pruned when they were recorded" in done.stderr
    assert "whole trainings, and the best" in done.stderr
    assert "instead of" not in done.stderr
    assert "the folder toy holds no .npz file" in done.stderr


def test_a_study_without_complete_trials_is_refused(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    with pytest.raises(NoUsableTrialError, match=r"has 0 complete trials .* Run it first"):
        read_recording(database, study)


def test_a_study_with_several_objectives_is_refused(database: Database, toy: StudyMaker) -> None:
    config = toy('metrics=["val_accuracy","bytes"]')
    stored = StoredStudy(study_id=1, key="two", config=config, shape=None)
    with pytest.raises(InputError, match=r"several objectives \(val_accuracy, bytes\)"):
        read_recording(database, stored)
