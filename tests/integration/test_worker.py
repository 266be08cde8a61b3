"""A worker and its trainer, over each database: real processes, objectives without TensorFlow."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from tests.conftest import StudyMaker
from tests.forked import PROCESSES
from tests.workers import make_worker, work
from tuner.domain import point_key
from tuner.errors import DataError, InputError, TrainerError
from tuner.results import best_trials, progress, show_trial, trials
from tuner.storage import Database, agree_on_data, create_study, enqueue
from tuner.worker.interruption import InterruptedWorkerError
from tuner.worker.process import trainer_environment


def test_a_worker_runs_the_whole_budget_and_each_trial_says_where(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study

    make_worker(database, study, "quadratic").run()

    rows = trials(database, study)
    assert [row.number for row in rows] == list(range(6))
    assert {row.state for row in rows} == {"complete"}
    assert progress(database, study).slots.done == 6
    facts = show_trial(database, study, 0).attributes
    assert {"host", "worker", "device", "threads", "versions", "seconds", "off"} <= facts.keys()


def test_the_best_is_the_same_as_optunas(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    make_worker(database, study, "quadratic").run()

    (best,) = best_trials(database, study, top=1)

    theirs = optuna.load_study(study_name="toy", storage=database.storage).best_trial
    assert (best.number, best.value) == (theirs.number, theirs.value)
    assert theirs.params.items() <= best.params.items()


def test_hopeless_trials_are_pruned_at_a_rung_and_say_why(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("budget.trials=20", "sampler.name=random")).study

    make_worker(database, study, "reporting").run()

    rows = trials(database, study)
    pruned = [row for row in rows if row.state == "pruned"]
    assert pruned
    assert {row.last_step for row in pruned} <= {4, 8}  # the last report, at 12, ends nobody
    assert all(row.value == row.last_value for row in pruned)
    assert "rank" in show_trial(database, study, pruned[0].number).attributes["reason"]
    best = best_trials(database, study, top=1)[0].value
    assert best == max(1 - float(row.params["dropout"]) for row in rows)


def test_a_diverged_trial_is_a_violated_constraint(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy("budget.trials=2", "pruner.name=none")).study
    enqueue(database, study, {"learning_rate": 0.5})

    make_worker(database, study, "diverging").run()

    trial = optuna.load_study(study_name="toy", storage=database.storage).trials[0]
    assert trial.state == TrialState.PRUNED
    assert trial.constraints == {"diverged": 1.0}
    assert trial.user_attrs["reason"] == "diverged: the loss is nan"


def test_an_objective_may_end_its_trial_itself(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy("budget.trials=4")).study

    make_worker(database, study, "ending_itself").run()

    assert {(row.state, row.last_value) for row in trials(database, study)} == {("pruned", 0.1)}
    assert "by itself" in show_trial(database, study, 0).attributes["reason"]


def test_a_value_that_is_no_number_is_a_failure(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study

    with pytest.raises(TrainerError, match="The objective gave nan"):
        make_worker(database, study, "not_a_number").run()

    assert {row.state for row in trials(database, study)} == {"failed"}


def test_a_bug_in_the_model_stops_the_study_for_every_worker(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    what = r"(?s)3 different points failed.*ZeroDivisionError at objectives.py.*a bug in the model"

    for _ in range(2):  # the second worker learns it from the database
        with pytest.raises(TrainerError, match=what):
            make_worker(database, study, "buggy").run()

    now = progress(database, study)
    assert now.trials == {"failed": 3}
    assert (now.slots.held, now.slots.free) == (0, 3)
    facts = show_trial(database, study, 0).attributes
    assert facts["reason"] == "ZeroDivisionError: a bug in the model"
    assert "Traceback" in facts["traceback"]


def test_a_trial_whose_trainer_keeps_dying_is_given_up(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy("budget.trials=1")).study

    make_worker(database, study, "dying").run()

    (row,) = trials(database, study)
    assert row.state == "failed"
    reason = show_trial(database, study, 0).attributes["reason"]
    assert reason == (
        "5 trainers in a row ended over it without progress, the last one with signal SIGKILL"
    )


def test_a_study_that_cannot_be_trained_here_costs_no_slot(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study

    with pytest.raises(InputError, match="no such file"):
        make_worker(database, study, "without_data").run()

    now = progress(database, study)
    assert now.slots.free == 6
    assert now.trials == {}


def test_other_data_than_the_studys_is_refused(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    agree_on_data(database, study, "what the first worker saw")

    with pytest.raises(DataError, match="fingerprint quadratic here"):
        make_worker(database, study, "quadratic").run()

    assert progress(database, study).slots.free == 6


def test_an_interrupted_worker_hands_its_trial_back_at_once(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("budget.trials=1", "pruner.name=none")).study
    worker = make_worker(database, study, "sleeping")

    def interrupt_when_it_trains() -> None:
        while not progress(database, study).running:
            time.sleep(0.05)
        time.sleep(0.3)
        worker.interruption.request(signal.SIGTERM)

    thread = threading.Thread(target=interrupt_when_it_trains)
    thread.start()
    with pytest.raises(InterruptedWorkerError) as caught:
        worker.run()
    thread.join()

    assert caught.value.exit_code == 143
    assert str(caught.value) == "Stopped by SIGTERM; a trial that ran was handed back."
    now = progress(database, study)
    assert now.slots.free == 1
    assert [row.state for row in trials(database, study)] == ["waiting"]

    make_worker(database, study, "quadratic").run()  # goes on with the same trial

    (row,) = trials(database, study)
    assert (row.number, row.state) == (0, "complete")


def test_a_trial_that_somebody_ends_from_outside_does_not_end_the_worker(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("budget.trials=2", "pruner.name=none")).study
    worker = make_worker(database, study, "sleeping")

    def fail_both() -> None:
        ended: set[int] = set()
        while len(ended) < 2:
            time.sleep(0.05)
            for trial in database.storage.get_all_trials(study.study_id):
                if trial.number not in ended and trial.intermediate_values:
                    database.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                    ended.add(trial.number)

    thread = threading.Thread(target=fail_both)
    thread.start()
    worker.run()
    thread.join()

    assert progress(database, study).slots.done == 2
    assert {row.state for row in trials(database, study)} == {"failed"}


def _run_workers(url: str, objective: str, n_workers: int) -> None:
    with ProcessPoolExecutor(n_workers, mp_context=PROCESSES) as pool:
        for future in [pool.submit(work, url, objective) for _ in range(n_workers)]:
            future.result(timeout=120)


@pytest.mark.parametrize("n_workers", [1, 3])
def test_exactly_the_budget_is_closed_however_many_workers(
    storage_url: str, toy: StudyMaker, n_workers: int
) -> None:
    with Database.open(storage_url, create=True) as database:
        study = create_study(database, toy("budget.trials=20")).study
        _run_workers(storage_url, "reporting", n_workers)

        now = progress(database, study)
        rows = trials(database, study)

    assert (now.slots.done, now.slots.free, now.slots.held) == (20, 0, 0)
    assert [row.number for row in rows] == list(range(20))
    assert sorted(row.slot for row in rows if row.slot is not None) == list(range(20))
    assert {row.state for row in rows} <= {"complete", "pruned"}


def test_four_workers_run_each_point_of_a_grid_once(storage_url: str, toy: StudyMaker) -> None:
    config = toy(
        "space.learning_rate=[0.001,0.01,0.1]",
        "space.dropout=[0.0,0.3,0.6]",
        "space.units=[64,128,256]",
        "sampler.name=grid",
        "pruner.name=none",
        "budget.trials=27",
    )
    with Database.open(storage_url, create=True) as database:
        study = create_study(database, config).study
        _run_workers(storage_url, "quadratic", 4)
        rows = trials(database, study)

    points = {(r.params["learning_rate"], r.params["dropout"], r.params["units"]) for r in rows}
    assert len(rows) == len(points) == 27


def test_three_workers_use_up_a_finite_space_without_repeating_a_point(
    storage_url: str, toy: StudyMaker
) -> None:
    config = toy(
        "space.learning_rate=[0.001,0.01,0.1]",
        "space.dropout=[0.0,0.3,0.6]",
        "budget.trials=50",
        "pruner.name=none",
    )
    with Database.open(storage_url, create=True) as database:
        study = create_study(database, config).study
        _run_workers(storage_url, "quadratic", 3)
        rows = trials(database, study)

    assert len(rows) == len({(r.params["learning_rate"], r.params["dropout"]) for r in rows}) == 9


@pytest.mark.parametrize("sampler", ["tpe", "grid"])
def test_a_space_that_was_narrowed_is_used_up_by_fewer_trials_and_widened_by_more(
    database: Database, toy: StudyMaker, sampler: str
) -> None:
    wide = (
        *("budget.trials=8", f"sampler.name={sampler}", "pruner.name=none"),
        *("space.learning_rate=[0.1,0.2]", "space.dropout={low=0.0,high=0.6,step=0.2}"),
    )
    create_study(database, toy(*wide))
    study = create_study(database, toy(*wide, "space.dropout.high=0.2")).study

    make_worker(database, study, "quadratic").run()

    now = progress(database, study)
    assert now.is_over
    assert (now.slots.free, now.slots.done, now.trials) == (0, 8, {"complete": 4})
    assert max(row.params["dropout"] for row in trials(database, study)) == 0.2

    study = create_study(database, toy(*wide)).study
    make_worker(database, study, "quadratic").run()

    rows = trials(database, study)
    assert len({point_key(row.params) for row in rows}) == len(rows) == 8
    assert {row.slot for row in rows} == set(range(8))
    assert progress(database, study).slots.total == 8


def test_plans_that_no_point_fits_any_more_do_not_block_a_study(
    database: Database, toy: StudyMaker, caplog: pytest.LogCaptureFixture
) -> None:
    finite = "space.learning_rate=[0.1,0.2]", "space.dropout=[0.0,0.5]"
    study = create_study(database, toy(*finite, "budget.trials=4", "sampler.name=random")).study
    for _ in range(3):  # of two points
        enqueue(database, study, {"learning_rate": 0.1})

    make_worker(database, study, "quadratic").run()

    assert progress(database, study).trials == {"complete": 4}
    assert "every point with learning_rate=0.1 is a trial already" in caplog.text


def test_a_worker_takes_up_what_is_changed_of_a_study_while_it_runs(
    database: Database, toy: StudyMaker
) -> None:
    settings = "budget.trials=20", "pruner.name=none", "sampler.name=random"
    study = create_study(database, toy(*settings)).study
    worker = make_worker(database, study, "reporting")
    seen: list[int] = []

    def narrow_when_it_trains() -> None:
        while not progress(database, study).running:
            time.sleep(0.02)
        create_study(database, toy(*settings, "space.dropout.high=0.01"))
        seen.append(len(trials(database, study)))

    thread = threading.Thread(target=narrow_when_it_trains)
    thread.start()
    worker.run()
    thread.join()

    rows = trials(database, study)
    assert len(rows) == 20
    assert seen[0] + 1 < 20
    drawn = [float(row.params["dropout"]) for row in rows]
    assert max(drawn[: seen[0]]) > 0.01
    assert max(drawn[seen[0] + 1 :]) <= 0.01


def test_a_trainer_sees_no_credentials_and_no_gpu_it_was_not_given() -> None:
    outside = {
        "PATH": "/bin",
        "PGPASSWORD": "hidden",
        "TUNER_STORAGE": "postgresql://u:hidden@h/d",
        "AWS_SECRET_ACCESS_KEY": "hidden",
        "CUDA_VISIBLE_DEVICES": "3",
    }

    inside = trainer_environment(outside, threads=2)

    assert "hidden" not in str(inside)
    assert inside["CUDA_VISIBLE_DEVICES"] == "-1"
    assert inside["OMP_NUM_THREADS"] == "2"
    assert trainer_environment(outside, threads=2, gpu="GPU-1")["CUDA_VISIBLE_DEVICES"] == "GPU-1"


@pytest.mark.parametrize("trainer", ["running", "frozen"])
def test_a_killed_worker_leaves_no_trainer_behind(
    storage_url: str, toy: StudyMaker, trainer: str
) -> None:
    with Database.open(storage_url, create=True) as database:
        study = create_study(database, toy("budget.trials=1", "pruner.name=none")).study
        code = f"from tests.workers import work; work({storage_url!r}, 'sleeping')"
        worker = subprocess.Popen(
            [sys.executable, "-c", code], cwd=Path(__file__).parents[2], start_new_session=True
        )
        while not any(row.last_step for row in trials(database, study)):
            assert worker.poll() is None
            time.sleep(0.1)
        children = _children(worker.pid)
        assert len(children) == 1
        if trainer == "frozen":
            os.kill(children[0], signal.SIGSTOP)

        worker.kill()
        worker.wait()

        deadline = time.monotonic() + 10
        while _alive(children[0]) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _alive(children[0])


def _children(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True
    )
    return [int(word) for word in listed.stdout.split()]


def _alive(pid: int) -> bool:
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return bool(listed.stdout.strip()) and not listed.stdout.startswith("Z")
