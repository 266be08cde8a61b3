"""What a study may spend, and how that is changed: over each database, with real workers."""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from tests.conftest import StudyMaker
from tests.integration.test_storage import new_token, open_slot, slots_of
from tuner.config import StudyConfig
from tuner.domain import point_key
from tuner.errors import InputError, StudyNotFoundError, TrainerError
from tuner.results import best_trials, progress, show_trial, trials
from tuner.storage import (
    Database,
    Ending,
    StoredStudy,
    create_study,
    delete_study,
    extend_study,
    find_study,
    retry_failed,
    stop_study,
)
from tuner.storage.schema import STATES
from tuner.storage.values import Standing
from tuner.worker.delivery import Delivery
from tuner.worker.interruption import InterruptedWorkerError
from tuner.worker.outage import Outage
from tuner.worker.worker import Worker, WorkerOptions

#: A limit that is over after two seconds of work.
TWO_SECONDS = "budget.hours=0.0006"


def work(
    database: Database,
    study: StoredStudy,
    objective: str,
    *,
    lease: float = 60.0,
    meanwhile: Callable[[Worker], None] | None = None,
) -> None:
    """Be a worker, while something else is done as soon as a trial has reported."""
    options = WorkerOptions(threads=1, objective=f"tests.objectives:{objective}", lease=lease)
    worker = Worker(database, study, options=options, environment=os.environ)

    def act() -> None:
        while not any(row.last_step for row in progress(database, study).running):
            time.sleep(0.05)
        if meanwhile is not None:
            meanwhile(worker)

    thread = threading.Thread(target=act)
    if meanwhile is not None:
        thread.start()
    try:
        worker.run()
    finally:
        if meanwhile is not None:
            thread.join()


def fail_a_trial(database: Database, study: StoredStudy) -> int:
    """Close a slot as failed and give the trial's number."""
    slots = slots_of(database, study)
    claim = open_slot(database, study, slots)
    slots.close(claim, Ending(state=TrialState.FAIL, value=None, attributes={}, constraints={}))
    assert claim.number is not None
    return claim.number


def spent_seconds(database: Database, study: StoredStudy) -> float:
    return _counter(database, study, STATES.c.spent_seconds)


def counted_at(database: Database, study: StoredStudy) -> float:
    return _counter(database, study, STATES.c.counted_at)


def _counter(database: Database, study: StoredStudy, column: sqlalchemy.Column[float]) -> float:
    with database.transaction() as session:
        mine = STATES.c.study_id == study.study_id
        return session.execute(sqlalchemy.select(column).where(mine)).scalar_one()


# --- more trials ---------------------------------------------------------------------------------


def test_an_extended_study_has_more_slots_and_a_new_version_of_its_configuration(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("budget.trials=2")).study
    work(database, study, "quadratic")

    grown = extend_study(database, study, 3)

    assert grown == find_study(database, "toy")
    assert grown.config.budget.trials == 5
    work(database, grown, "quadratic")
    assert [row.number for row in trials(database, study)] == [0, 1, 2, 3, 4]
    assert progress(database, study).slots.done == 5


def test_a_worker_that_runs_takes_up_what_a_study_was_extended_by(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("budget.trials=1", "pruner.name=none")).study

    def extend(_worker: Worker) -> None:
        extend_study(database, study, 2)

    work(database, study, "unhurried", meanwhile=extend)

    assert progress(database, study).slots.done == 3


def test_a_study_file_that_was_overtaken_by_an_extension_changes_nothing(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("budget.trials=2")).study
    extend_study(database, study, 3)

    again = create_study(database, toy("budget.trials=2"))

    assert again.study.config.budget.trials == 5
    assert again.changes == (
        "budget.trials stays 5, though the study file says 2: `tuner stop toy` ends a study early",
    )
    assert progress(database, study).slots.total == 5


def test_a_grid_is_extended_by_points_that_it_has_not_run(
    database: Database, toy: StudyMaker
) -> None:
    grid = (
        "space.learning_rate=[0.001,0.01,0.1]",
        "space.dropout=[0.0,0.3]",
        "sampler.name=grid",
        "pruner.name=none",
        "budget.trials=4",
    )
    study = create_study(database, toy(*grid)).study

    work(database, extend_study(database, study, 2), "quadratic")

    rows = trials(database, study)
    assert len({(row.params["learning_rate"], row.params["dropout"]) for row in rows}) == 6


@pytest.mark.parametrize("sampler", ["tpe", "grid"])
def test_a_space_whose_ends_were_moved_is_tried_where_it_was_not_yet(
    database: Database, toy: StudyMaker, sampler: str
) -> None:
    def config(low: float, high: float, n_trials: int) -> StudyConfig:
        dropout = f"space.dropout={{low={low},high={high},step=0.1}}"
        settings = "space.learning_rate=0.1", f"budget.trials={n_trials}", "pruner.name=none"
        return toy(dropout, *settings, f"sampler.name={sampler}")

    work(database, create_study(database, config(0.0, 0.3, 4)).study, "quadratic")
    study = create_study(database, config(0.3, 0.7, 6)).study  # five points, of which one is known
    work(database, study, "quadratic")
    with pytest.raises(InputError, match=r"cannot get 3 more.*2 of them are left"):
        extend_study(database, study, 3)

    work(database, extend_study(database, study, 2), "quadratic")

    tried = sorted(round(10 * float(row.params["dropout"])) for row in trials(database, study))
    assert tried == list(range(8))
    with pytest.raises(InputError, match="none of them are left"):
        extend_study(database, study, 1)


def test_a_study_is_not_extended_beyond_what_can_be_read_again(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study

    with pytest.raises(InputError, match=r"has 6 trials, and 1,000,000 are the most.*999,994"):
        extend_study(database, study, 1_000_000)

    assert find_study(database, "toy") == study


@pytest.mark.parametrize(
    ("n_trials", "message"),
    [
        (3, r"cannot get 3 more trials.*6 points.*2 of them are left\. Extend it by at most 2"),
        (99, r"cannot get 99 more trials.*Extend it by at most 2"),
    ],
)
def test_a_finite_space_does_not_grow_beyond_its_points(
    database: Database, toy: StudyMaker, n_trials: int, message: str
) -> None:
    finite = ("space.learning_rate=[0.001,0.01,0.1]", "space.dropout=[0.0,0.3]")
    study = create_study(database, toy(*finite, "budget.trials=4")).study

    with pytest.raises(InputError, match=message):
        extend_study(database, study, n_trials)

    assert find_study(database, "toy") == study
    full = extend_study(database, study, 2)
    with pytest.raises(InputError, match=r"none of them are left\. Start another study"):
        extend_study(database, full, 1)


def test_a_deleted_study_is_neither_extended_nor_retried(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    delete_study(database, study)
    create_study(database, toy())  # another one of that name, on SQLite under the same id

    for change in (lambda: extend_study(database, study, 1), lambda: retry_failed(database, study)):
        with pytest.raises(StudyNotFoundError, match="somebody deleted it"):
            change()


# --- an early end --------------------------------------------------------------------------------


def test_a_stopped_study_finishes_the_trial_that_runs_and_begins_no_other(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("pruner.name=none")).study

    work(database, study, "unhurried", meanwhile=lambda _: stop_study(database, study))

    now = progress(database, study)
    assert now.trials == {"complete": now.slots.done}
    assert 0 < now.slots.done < 6
    assert now.slots.held == 0
    assert now.ended == "stopped"
    assert now.is_over
    assert "stopped by `tuner stop`" in now.message


def test_a_worker_finds_nothing_to_do_in_a_stopped_study(
    database: Database, toy: StudyMaker, caplog: pytest.LogCaptureFixture
) -> None:
    study = create_study(database, toy()).study
    stop_study(database, study)

    with caplog.at_level("INFO"):
        work(database, study, "quadratic")

    assert trials(database, study) == ()
    assert "stopped by `tuner stop`" in caplog.text


def test_a_study_file_lets_a_stopped_study_go_on_and_says_so(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    stop_study(database, study)

    again = create_study(database, toy())

    assert again.changes == ("goes on again: it had been stopped",)
    work(database, study, "quadratic")
    assert progress(database, study).slots.done == 6
    assert create_study(database, toy()).changes == ()


def test_a_study_file_gives_a_study_that_a_bug_stopped_another_chance(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    with pytest.raises(TrainerError):
        work(database, study, "buggy")

    again = create_study(database, toy())

    assert again.changes == ("goes on again: a bug had stopped it",)
    work(database, study, "quadratic")
    assert progress(database, study).trials == {"failed": 3, "complete": 3}


def test_extending_a_stopped_study_lets_it_go_on(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy("budget.trials=2")).study
    stop_study(database, study)

    work(database, extend_study(database, study, 1), "quadratic")

    now = progress(database, study)
    assert (now.ended, now.slots.done) == (None, 3)


def test_more_trials_do_not_mend_a_bug(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    with pytest.raises(TrainerError):
        work(database, study, "buggy")

    extend_study(database, study, 1)

    assert progress(database, study).ended == "bug"


# --- another go ----------------------------------------------------------------------------------


def test_failed_trials_get_another_go_with_the_same_values_and_stay_as_they_are(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    with pytest.raises(TrainerError, match="`tuner retry toy`"):
        work(database, study, "buggy")
    before = trials(database, study)

    n_opened = retry_failed(database, study)

    assert n_opened == 3
    assert progress(database, study).trials == {}
    work(database, study, "quadratic")
    rows = trials(database, study)
    assert [(row.state, row.superseded, row.slot) for row in rows[:3]] == [
        ("failed", True, None)
    ] * 3
    assert [row.to_json() for row in rows[:3]] == [
        row.to_json() | {"slot": None, "superseded": True, "params": rows[row.number].params}
        for row in before
    ]
    tuned = ("learning_rate", "dropout")
    assert [[row.params[name] for name in tuned] for row in rows[3:6]] == [
        [row.params[name] for name in tuned] for row in before
    ]
    now = progress(database, study)
    assert now.trials == {"complete": 6}
    assert (now.ended, now.slots.done, len(rows)) == (None, 6, 9)
    theirs = optuna.load_study(study_name="toy", storage=database.storage).trials
    assert [trial.user_attrs.get("superseded") for trial in theirs] == [True] * 3 + [None] * 6


def test_a_failed_point_of_a_finite_space_stays_with_its_slot(
    database: Database, toy: StudyMaker
) -> None:
    finite = (
        "space.learning_rate=[0.001,0.01]",
        "space.dropout=[0.0,0.3]",
        "budget.trials=4",
        "pruner.name=none",
    )
    study = create_study(database, toy(*finite)).study
    with pytest.raises(TrainerError):
        work(database, study, "buggy")

    retry_failed(database, study)
    work(database, study, "quadratic")

    rows = [row for row in trials(database, study) if not row.superseded]
    points = {point_key({n: row.params[n] for n in ("learning_rate", "dropout")}) for row in rows}
    assert len(rows) == len(points) == 4


def test_a_trial_can_fail_and_be_retried_more_than_once(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("budget.trials=1")).study

    for number in range(3):
        assert fail_a_trial(database, study) == number
        assert retry_failed(database, study) == 1
        assert retry_failed(database, study) == 0

    assert [row.superseded for row in trials(database, study)] == [True] * 3


def test_a_trial_that_a_person_failed_in_a_dashboard_is_retried_too(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("budget.trials=2")).study
    slots = slots_of(database, study)
    claim = open_slot(database, study, slots)
    slots.release(claim)  # nobody is at it when it is failed
    database.storage.set_trial_state_values(claim.open_trial_id, TrialState.FAIL)

    assert retry_failed(database, study) == 1

    work(database, study, "quadratic")
    assert [row.state for row in trials(database, study)] == ["failed", "complete", "complete"]


def test_a_slot_that_somebody_holds_is_not_opened_again(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    claim = open_slot(database, study, slots_of(database, study))
    database.storage.set_trial_state_values(claim.open_trial_id, TrialState.FAIL)

    assert retry_failed(database, study) == 0  # its worker will notice, and close it


def test_nothing_that_did_not_fail_is_retried(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy("sampler.name=random")).study
    work(database, study, "reporting")
    before = trials(database, study)

    assert retry_failed(database, study) == 0

    assert trials(database, study) == before


def test_the_best_is_never_a_superseded_trial(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy("budget.trials=1")).study
    fail_a_trial(database, study)
    retry_failed(database, study)

    work(database, study, "quadratic")

    assert [row.number for row in best_trials(database, study, top=5)] == [1]


# --- hours ---------------------------------------------------------------------------------------


def test_when_the_hours_are_over_running_trials_close_as_pruned_and_free_slots_stay_free(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy(TWO_SECONDS, "pruner.name=none")).study

    work(database, study, "sleeping")

    now = progress(database, study)
    assert now.trials == {"pruned": 1}
    assert (now.slots.free, now.slots.held, now.slots.done) == (5, 0, 1)
    assert (now.ended, now.is_over) == ("hours", True)
    assert now.spent_hours is not None
    assert now.spent_hours >= 0.0006
    (row,) = trials(database, study)
    assert row.value == row.last_value == 0.5
    reason = show_trial(database, study, 0).attributes["reason"]
    assert reason.startswith("time: The study's 0.0006 hours are over")


def test_more_hours_let_the_study_go_on(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy(TWO_SECONDS, "pruner.name=none")).study
    work(database, study, "sleeping")
    same = create_study(database, toy(TWO_SECONDS, "pruner.name=none"))
    assert same.changes == ()
    assert progress(database, study).ended == "hours"

    more = create_study(database, toy("budget.hours=1", "pruner.name=none"))

    assert more.changes == (
        "changed budget.hours: 0.0006 -> 1.0",
        "goes on again: its hours had been over",
    )
    work(database, more.study, "quadratic")
    now = progress(database, more.study)
    assert now.trials == {"pruned": 1, "complete": 5}
    assert now.ended is None


def test_hours_that_are_fewer_than_those_spent_do_not_let_it_go_on(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy(TWO_SECONDS, "pruner.name=none")).study
    work(database, study, "sleeping")

    create_study(database, toy("budget.hours=0.0005", "pruner.name=none"))

    assert progress(database, study).ended == "hours"


def test_hours_that_are_raised_hold_for_workers_that_run(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy(TWO_SECONDS, "pruner.name=none")).study
    slots = slots_of(database, study)
    assert slots.standing().seconds_left == pytest.approx(2.16)

    create_study(database, toy("budget.hours=1", "pruner.name=none"))

    assert slots.standing().seconds_left == pytest.approx(3600, abs=60)
    create_study(database, toy("pruner.name=none"))
    assert slots.standing().seconds_left is None


def test_a_trial_that_was_handed_back_is_closed_when_the_hours_are_over(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy(TWO_SECONDS, "pruner.name=none")).study
    slots = slots_of(database, study)
    slots.release(open_slot(database, study, slots))

    work(database, study, "sleeping")
    work(database, study, "sleeping")  # there is nothing left for a second one

    now = progress(database, study)
    assert now.trials == {"pruned": 1}
    assert now.slots.free == 5


def test_time_in_which_nobody_works_does_not_count(database: Database, toy: StudyMaker) -> None:
    lease = 1.0
    study = create_study(database, toy("budget.hours=1", "pruner.name=none")).study
    with pytest.raises(InterruptedWorkerError):
        work(
            database,
            study,
            "sleeping",
            lease=lease,
            meanwhile=lambda worker: worker.interruption.request(signal.SIGTERM),
        )
    spent = progress(database, study).spent_hours

    time.sleep(1.5 * lease)  # longer than any worker is silent
    slots_of(database, study, lease=lease).standing()

    assert spent is not None
    assert progress(database, study).spent_hours == spent


def test_time_in_which_somebody_works_counts_once_however_many_do(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("budget.hours=1")).study
    one, other = slots_of(database, study, "one"), slots_of(database, study, "other")
    claims = [(slots, slots.claim(new_token())) for slots in (one, other)]
    began = counted_at(database, study) - spent_seconds(database, study)

    for slots, claim in claims * 3:
        assert claim is not None
        time.sleep(0.05)
        slots.renew(claim)

    span = counted_at(database, study) - began
    assert spent_seconds(database, study) == pytest.approx(span, abs=1e-3)


def test_a_lease_is_renewed_as_ever_where_the_hours_are_over_in_a_study_that_had_ended(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy(TWO_SECONDS, "pruner.name=none")).study
    slots = slots_of(database, study)
    claim = open_slot(database, study, slots)
    outage = Outage(patience=1, lease=60, when_lost=lambda: None, pause=time.sleep)
    stopped = replace(claim.standing, ended="stopped", seconds_left=0.0)

    def wait(standing: Standing) -> float:
        held = replace(claim, standing=standing)
        return Delivery(slots, held, study.config, outage, dict).seconds_to_wait

    assert wait(stopped) > 10
    assert wait(replace(stopped, ended=None)) < 1  # the end of the hours is to be noted


# --- minutes a trial -----------------------------------------------------------------------------


def test_a_trial_that_is_too_slow_ends_and_the_sampler_learns_it(
    database: Database, toy: StudyMaker
) -> None:
    slow = ("budget.trial_minutes=0.01", "budget.trials=2", "pruner.name=none")
    study = create_study(database, toy(*slow)).study

    work(database, study, "sleeping")

    assert progress(database, study).slots.done == 2
    for trial in optuna.load_study(study_name="toy", storage=database.storage).trials:
        assert trial.state == TrialState.PRUNED
        assert trial.constraints.keys() == {"trial_minutes"}
        assert trial.constraints["trial_minutes"] > 0
        assert trial.user_attrs["reason"] == "time: slower than budget.trial_minutes = 0.01"
        assert trial.value == 0.5


def test_a_trial_that_is_quick_enough_does_not_notice_the_limit(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("budget.trial_minutes=5", "budget.trials=2")).study

    work(database, study, "quadratic")

    assert progress(database, study).trials == {"complete": 2}
