"""What kills or spoils a training, by kind, over each database: real processes that really die."""

import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
from optuna.trial import TrialState

from tests.conftest import StudyMaker
from tests.workers import make_worker, trainers
from tuner.errors import InputError, TrainerError
from tuner.host import versions
from tuner.results import most_micro_batches, progress, show_trial, trials
from tuner.storage import Database, create_study, other_versions
from tuner.worker import keeper
from tuner.worker.worker import Worker


def test_a_training_that_hangs_is_ended_and_given_up_after_five_times(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("budget.trials=1", "pruner.name=none")).study

    make_worker(database, study, "hanging", hang_seconds=0.3).run()

    (row,) = trials(database, study)
    assert (row.state, row.last_value) == ("failed", 0.5)
    assert "it took no step for 0 s" in show_trial(database, study, 0).attributes["reason"]


def test_a_frozen_trainer_is_replaced_and_the_trial_goes_on(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("budget.trials=1", "pruner.name=none")).study
    frozen: list[int] = []

    def freeze_first_trainer() -> None:
        while not any(row.last_step for row in trials(database, study)):
            time.sleep(0.05)
        while len(found := trainers()) != 1:
            time.sleep(0.05)  # a slow machine's first trainer may have been replaced already
        frozen.append(found[0].pid)
        found[0].suspend()

    thread = threading.Thread(target=freeze_first_trainer)
    thread.start()
    worker = make_worker(database, study, "sleeping", hang_seconds=3.0)
    killer = threading.Thread(target=_interrupt_when_replaced, args=(worker, frozen))
    killer.start()
    with pytest.raises(Exception, match="Stopped by SIGTERM"):
        worker.run()
    thread.join()
    killer.join()

    assert not psutil.pid_exists(frozen[0])
    assert [row.state for row in trials(database, study)] == ["waiting"]


def _interrupt_when_replaced(worker: Worker, frozen: list[int]) -> None:
    while not frozen or {trainer.pid for trainer in trainers()} <= set(frozen):
        time.sleep(0.05)
    worker.interruption.request(signal.SIGTERM)


def test_out_of_memory_is_answered_by_smaller_parts_of_a_batch_then_by_a_constraint(
    database: Database, toy: StudyMaker
) -> None:
    grid = "space.units=[64,256]", "space.learning_rate=0.01", "space.dropout=0.1"
    settings = *grid, "space.batch_size=32", "sampler.name=grid", "pruner.name=none"
    study = create_study(database, toy(*settings)).study

    make_worker(database, study, "hungry").run()

    stored = database.storage.get_all_trials(study.study_id)
    assert {trial.params["units"] for trial in stored} == {64, 256}
    for trial in stored:
        if trial.params["units"] == 64:
            assert trial.state == TrialState.COMPLETE
            assert trial.user_attrs["micro_batches"] == 4
        else:
            assert trial.state == TrialState.PRUNED
            assert trial.constraints == {"out_of_memory": 1.0}
            assert "Unable to allocate" in trial.user_attrs["reason"]
    fitted = next(trial.number for trial in stored if trial.state == TrialState.COMPLETE)
    assert most_micro_batches(database, study, [fitted]) == 4
    assert most_micro_batches(database, study, [99]) == 1  # of a trial that is not there


def test_deaths_with_progress_between_are_no_failed_attempts(
    database: Database, toy: StudyMaker, tmp_path: Path
) -> None:
    study = create_study(database, toy("budget.trials=1", "pruner.name=none")).study

    make_worker(database, study, "stumbling", artifacts=tmp_path / "artifacts").run()

    (row,) = trials(database, study)
    assert (row.state, row.value) == ("complete", 0.9)
    assert list(show_trial(database, study, 0).reports) == list(range(1, 10))
    assert not (tmp_path / "artifacts" / study.key).exists()  # nothing is left behind


def test_trainers_that_never_get_ready_end_the_worker_with_their_last_words(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study

    with pytest.raises(TrainerError, match=r"(?s)3 trainers in a row.*libcudart"):
        make_worker(database, study, "unable_to_start").run()

    now = progress(database, study)
    assert (now.slots.free, now.trials) == (6, {})


def test_trainers_that_are_never_ready_are_ended(
    database: Database, toy: StudyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "READY_SECONDS", 0.2)
    study = create_study(database, toy()).study

    with pytest.raises(TrainerError, match=r"3 trainers in a row.*was not ready after 0\.2 s"):
        make_worker(database, study, "never_ready").run()

    assert not trainers()
    assert progress(database, study).slots.free == 6


def test_other_versions_warn_and_can_be_refused(
    database: Database, toy: StudyMaker, caplog: pytest.LogCaptureFixture
) -> None:
    study = create_study(database, toy("budget.trials=1")).study
    other_versions(database, study, {**versions(), "keras": "3.0.0"})

    with pytest.raises(InputError, match=r"keras 3\.0\.0 -> .*--same-versions"):
        make_worker(database, study, "quadratic", same_versions=True).run()
    make_worker(database, study, "quadratic").run()

    assert "keras 3.0.0 -> " in caplog.text
    assert progress(database, study).slots.done == 1


def test_each_trial_says_where_and_with_what_it_ran(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy("budget.trials=1")).study

    make_worker(database, study, "quadratic").run()

    facts = show_trial(database, study, 0).attributes
    assert (facts["pid"], facts["threads"], facts["device"]) == (os.getpid(), 1, "cpu")
    assert facts["host"]
    assert {"tuner", "keras", "tensorflow", "optuna", "numpy", "python"} <= {
        word.split()[0] for word in facts["versions"].split(", ")
    }


def test_a_trainer_is_used_again_and_replaced_after_a_set_number_of_trials(
    database: Database, toy: StudyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.worker.keeper.TRIALS_PER_TRAINER", 2)
    study = create_study(database, toy("budget.trials=5")).study

    make_worker(database, study, "telling_its_process").run()

    trainers = [show_trial(database, study, n).attributes["trainer"] for n in range(5)]
    assert trainers[0] == trainers[1]
    assert trainers[2] == trainers[3]
    assert len(set(trainers)) == 3
