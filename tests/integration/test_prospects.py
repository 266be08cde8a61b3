"""The end of a study of which little more is to be expected, over each database."""

import pytest
import sqlalchemy
from optuna.trial import TrialState

from tests.commands import ask
from tests.conftest import StudyMaker, on_one_database
from tests.forked import PROCESSES
from tests.integration.test_storage import new_token, open_slot, slots_of
from tests.workers import work
from tuner.results import progress
from tuner.storage import (
    Database,
    Ending,
    StoredStudy,
    create_study,
    enqueue,
    extend_study,
    stop_study,
)
from tuner.storage.schema import STATES

#: What ends a study whose best values lie some 0.01 apart.
LARGE = "budget.min_gain=0.5"
#: A budget of which ten trials are left when the rule begins to judge.
THIRTY = ("budget.trials=30", "sampler.name=random")


def finish(
    database: Database, study: StoredStudy, n: int, state: TrialState = TrialState.COMPLETE
) -> None:
    """Close so many slots with values 0.01 apart, from the worst to the best."""
    slots = slots_of(database, study)
    for number in range(n):
        claim = open_slot(database, study, slots)
        ending = Ending(state=state, value=number / 100, attributes={}, constraints={})
        slots.close(claim, ending)


def has_work(database: Database, study: StoredStudy) -> bool:
    """Ask for a slot as the next worker does, and give it back."""
    slots = slots_of(database, study)
    claim = slots.claim(new_token())
    if claim is not None:
        slots.release(claim)
    return claim is not None


def test_a_study_ends_when_the_rest_of_its_budget_promises_too_little(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy(*THIRTY, LARGE)).study
    finish(database, study, 19)
    assert has_work(database, study)  # too few to tell

    finish(database, study, 1)

    assert not has_work(database, study)
    now = progress(database, study)
    assert (now.ended, now.slots.free, now.is_over) == ("gain", 10, True)
    assert now.message.startswith(
        "after 20 of 30 trials: another 10 are expected to raise val_accuracy by 0.0"
    )
    assert "less than budget.min_gain = 0.5; a smaller one in the study file" in now.message
    assert slots_of(database, study).is_over()


@pytest.mark.parametrize("more", [(), ("budget.min_gain=1e-6",)])
def test_a_study_goes_on_without_a_least_gain_and_where_more_is_expected(
    database: Database, toy: StudyMaker, more: tuple[str, ...]
) -> None:
    study = create_study(database, toy(*THIRTY, *more)).study
    finish(database, study, 25)

    assert has_work(database, study)
    assert progress(database, study).ended is None


def test_the_trial_that_runs_is_finished(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy(*THIRTY, LARGE)).study
    other = slots_of(database, study, "other")
    claim = open_slot(database, study, other)
    finish(database, study, 20)
    assert not has_work(database, study)
    assert "after 20 of 30 trials (1 more run): another 9 are" in progress(database, study).message

    other.report(claim, 1, 0.9)
    other.release(claim)
    again = other.claim(new_token())

    assert again is not None
    assert (again.trial_id, again.reports) == (claim.trial_id, {1: 0.9})
    ending = Ending(state=TrialState.COMPLETE, value=0.9, attributes={}, constraints={})
    other.close(again, ending)
    now = progress(database, study)
    assert (now.slots.done, now.slots.free, now.is_over) == (21, 9, True)


@pytest.mark.parametrize("state", [TrialState.PRUNED, TrialState.FAIL])
def test_trials_without_a_value_that_counts_tell_nothing(
    database: Database, toy: StudyMaker, state: TrialState
) -> None:
    study = create_study(database, toy(*THIRTY, LARGE)).study
    finish(database, study, 15, state)
    finish(database, study, 7)
    assert has_work(database, study)

    finish(database, study, 1)

    assert not has_work(database, study)


def test_trials_that_violate_a_constraint_tell_nothing(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy(*THIRTY, LARGE)).study
    slots = slots_of(database, study)
    for _ in range(7):
        violated = Ending(
            state=TrialState.COMPLETE, value=9.0, attributes={}, constraints={"size": 1.0}
        )
        slots.close(open_slot(database, study, slots), violated)
    finish(database, study, 13)

    assert not has_work(database, study)
    assert "by 0.0" in progress(database, study).message  # the 9.0 would promise far more


def test_a_point_that_somebody_asked_for_is_tried_before(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy(*THIRTY, LARGE)).study
    finish(database, study, 19)
    enqueue(database, study, {"dropout": 0.25})
    enqueue(database, study, {"dropout": 0.35})

    finish(database, study, 2)

    assert not has_work(database, study)
    assert progress(database, study).slots.done == 21


def test_a_loss_is_expected_to_fall(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy(*THIRTY, LARGE, "metric=val_loss")).study
    finish(database, study, 20)

    assert not has_work(database, study)
    assert "expected to lower val_loss by 0.0" in progress(database, study).message


def test_the_same_file_does_not_let_it_go_on_a_smaller_or_no_least_gain_does(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy(*THIRTY, LARGE)).study
    finish(database, study, 20)
    assert not has_work(database, study)

    assert create_study(database, toy(*THIRTY, LARGE)).changes == ()
    less = create_study(database, toy(*THIRTY, "budget.min_gain=0.4"))
    assert less.changes == ("changed budget.min_gain: 0.5 -> 0.4",)
    assert "less than budget.min_gain = 0.4" in progress(database, study).message
    assert not has_work(database, study)

    tiny = create_study(database, toy(*THIRTY, "budget.min_gain=1e-6"))
    assert tiny.changes == (
        "changed budget.min_gain: 0.4 -> 1e-06",
        "goes on again: it had ended by its min_gain",
    )
    assert has_work(database, study)


@on_one_database
def test_a_study_whose_least_gain_was_taken_out_goes_on(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy(*THIRTY, LARGE)).study
    finish(database, study, 20)
    assert not has_work(database, study)

    create_study(database, toy(*THIRTY))

    assert has_work(database, study)
    assert progress(database, study).ended is None


def test_a_least_gain_that_comes_later_holds_for_workers_that_run(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy(*THIRTY)).study
    finish(database, study, 20)
    assert has_work(database, study)

    create_study(database, toy(*THIRTY, LARGE))

    assert not has_work(database, study)  # asked as the study was before


def test_an_extended_study_goes_on_and_is_judged_again_after_as_many_trials_as_a_new_one(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy(*THIRTY, LARGE)).study
    finish(database, study, 20)
    assert not has_work(database, study)

    extend_study(database, study, 20)

    finish(database, study, 19)
    assert has_work(database, study)
    finish(database, study, 1)
    assert not has_work(database, study)
    assert "after 40 of 50 trials" in progress(database, study).message


@on_one_database
def test_what_ended_a_study_first_stays(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy(*THIRTY, LARGE)).study
    finish(database, study, 20)
    stop_study(database, study)

    assert not has_work(database, study)
    assert progress(database, study).ended == "stopped"


def test_a_study_without_a_least_gain_costs_no_statement_more(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy(*THIRTY)).study
    asked: list[str] = []

    @sqlalchemy.event.listens_for(database.engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        asked.append(statement)

    assert slots_of(database, study).claim(new_token()) is not None

    assert not [statement for statement in asked if STATES.c.resumed_at.name in statement]


def test_worker_processes_end_a_study_once_and_close_all_that_they_began(
    storage_url: str, toy: StudyMaker
) -> None:
    with Database.open(storage_url) as database:
        settings = ("budget.trials=60", "budget.min_gain=0.5", "pruner.name=none")
        study = create_study(database, toy(*settings)).study
        processes = [
            PROCESSES.Process(target=work, args=(storage_url, "quadratic")) for _ in range(2)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()

        assert [process.exitcode for process in processes] == [0, 0]
        now = progress(database, study)
        assert (now.ended, now.slots.held, now.is_over) == ("gain", 0, True)
        assert 20 <= now.slots.done < 60
        assert now.trials == {"complete": now.slots.done}
        status = ask("status", "toy", storage=storage_url)
        assert f"{now.slots.done} of 60 trials done" in status.stdout
        assert "ended: gain" in status.stdout
        assert "why: after " in status.stdout
        assert "ended: gain" in ask("list", storage=storage_url).stdout
        best = ask("best", "toy", storage=storage_url)
        assert best.returncode == 0, best.stderr
