"""Reading a study, over each database."""

import json
import math

import optuna
import pytest
from optuna.trial import TrialState

from tests.conftest import StudyMaker
from tests.integration.test_storage import open_slot, slots_of
from tuner.errors import InputError, NoUsableTrialError
from tuner.results import best_trials, progress, show_trial, trials
from tuner.storage import Claim, Database, Ending, StoredStudy, create_study


def ending(value: float | None, state: TrialState = TrialState.COMPLETE) -> Ending:
    return Ending(state=state, value=value, attributes={"note": "für später"}, constraints={})


def run(database: Database, study: StoredStudy, *values: float | None) -> list[Claim]:
    """Run trials side by side: all are open before the first one ends."""
    workers = [slots_of(database, study, f"worker {n}") for n in range(len(values))]
    claims = [open_slot(database, study, slots) for slots in workers]
    for slots, claim, value in zip(workers, claims, values, strict=True):
        slots.close(claim, ending(value, TrialState.FAIL if value is None else TrialState.COMPLETE))
    return claims


def test_the_best_come_first_and_of_equals_the_earlier(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    run(database, study, 0.5, 0.9, None, 0.9, math.inf, 0.1)

    best = best_trials(database, study, top=3)

    assert [row.number for row in best] == [1, 3, 0]


def test_a_loss_is_best_where_it_is_smallest(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy("metric=val_loss")).study
    run(database, study, 0.5, 0.2, 0.9)

    assert best_trials(database, study, top=1)[0].value == 0.2


def test_a_study_without_a_value_says_how_far_it_is(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy("budget.trials=2")).study
    run(database, study, None)

    with pytest.raises(NoUsableTrialError, match=r"1 of 2 slots are done.*tuner work toy"):
        best_trials(database, study, top=1)
    run(database, study, None)
    with pytest.raises(NoUsableTrialError, match="Look at why with `tuner trials toy`"):
        best_trials(database, study, top=1)


def test_trials_are_read_as_json_whatever_their_values(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    slots = slots_of(database, study)
    claim = open_slot(database, study, slots)
    slots.report(claim, 1, math.nan)
    slots.report(claim, 2, -math.inf)
    slots.close(claim, ending(math.inf))
    open_slot(database, study, slots)

    done, running = trials(database, study)

    assert (done.state, done.value, done.last_step, done.last_value) == (
        "complete",
        math.inf,
        2,
        -math.inf,
    )
    assert (running.state, running.value, running.worker) == ("running", None, "me")
    assert running.lease_seconds is not None
    assert 0 < running.lease_seconds <= 60
    for row in (done, running):
        json.dumps(row.to_json(), allow_nan=False)
    details = show_trial(database, study, 0)
    assert math.isnan(details.reports[1])
    assert details.attributes == {"note": "für später"}
    json.dumps(details.to_json(), allow_nan=False)


def test_times_are_utc(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    run(database, study, 0.5)

    (row,) = trials(database, study)

    assert row.started is not None
    assert row.started.utcoffset() is not None
    theirs = optuna.load_study(study_name="toy", storage=database.storage).trials[0]
    assert theirs.datetime_start is not None
    assert row.started == theirs.datetime_start.astimezone()


def test_somebodys_own_trials_are_listed_but_never_counted(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    run(database, study, 0.5)
    optuna.load_study(study_name="toy", storage=database.storage).ask()

    now = progress(database, study)

    assert [row.slot for row in trials(database, study)] == [0, None]
    assert now.trials == {"complete": 1}
    assert (now.slots.done, now.slots.total) == (1, 6)


def test_an_unknown_trial_is_told(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study

    with pytest.raises(InputError, match="has no trial 7"):
        show_trial(database, study, 7)


def test_the_pace_tells_when_the_budget_is_done(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    run(database, study, 0.5, 0.6)
    assert progress(database, study).eta_seconds is None  # nobody works on it

    open_slot(database, study, slots_of(database, study))

    now = progress(database, study)
    assert now.eta_seconds is not None
    assert now.per_hour is not None
    assert now.eta_seconds == pytest.approx(4 * 3600 / now.per_hour)
    json.dumps(now.to_json(), allow_nan=False)
