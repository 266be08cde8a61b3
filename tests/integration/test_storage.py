"""One contract for every database: slots are done once, and only their holder writes."""

import dataclasses
import math
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from tests.conftest import StudyMaker
from tuner.config import StudyConfig
from tuner.errors import (
    DataError,
    FrozenStudyError,
    InputError,
    LostSlotError,
    StorageUnavailableError,
    StudyNotFoundError,
)
from tuner.storage import (
    Claim,
    Database,
    Ending,
    PointTakenError,
    Proposal,
    SlotCounts,
    Slots,
    StoredStudy,
    TrialEndedOutsideError,
    agree_on_data,
    create_study,
    delete_study,
    enqueue,
    find_study,
    study_names,
)
from tuner.storage.schema import CONFIGS, SLOTS
from tuner.strategy import propose

DONE = Ending(state=TrialState.COMPLETE, value=0.5, attributes={"host": "here"}, constraints={})


def slots_of(database: Database, study: StoredStudy, worker: str = "me") -> Slots:
    return Slots(database, study.study_id, worker=worker)


def open_slot(database: Database, study: StoredStudy, slots: Slots) -> Claim:
    claim = slots.claim()
    assert claim is not None
    trial, params = propose(
        database.storage, study.config, slot=claim.slot, planned=claim.planned, taken=()
    )
    return slots.open(claim, Proposal(trial=trial, params=params.model_dump(), unique=False))


def expire(database: Database, claim: Claim) -> None:
    with database.transaction() as session:
        session.execute(
            sqlalchemy.update(SLOTS).values(expires_at=1.0).where(SLOTS.c.slot == claim.slot)
        )


def test_a_created_study_has_one_free_slot_a_trial_and_is_read_back_whole(
    database: Database, toy: StudyMaker
) -> None:
    created = create_study(database, toy("budget.trials=7"))

    assert not created.existed
    assert slots_of(database, created.study).counts() == SlotCounts(free=7, held=0, done=0)
    assert find_study(database, "toy") == created.study
    assert study_names(database) == ["toy"]


def test_creating_again_keeps_the_trials_and_changes_nothing(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    slots = slots_of(database, study)
    slots.close(open_slot(database, study, slots), DONE)

    again = create_study(database, toy())

    assert again.existed
    assert again.changes == ()
    assert slots.counts() == SlotCounts(free=5, held=0, done=1)


def test_more_trials_add_slots_and_are_logged_with_their_time(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study

    grown = create_study(database, toy("budget.trials=9", "sampler.name=random"))

    assert grown.changes == ("budget.trials: 6 -> 9", 'sampler.name: "tpe" -> "random"')
    assert slots_of(database, study).counts().free == 9
    assert find_study(database, "toy").config.budget.trials == 9
    with database.transaction() as session:
        versions = session.execute(sqlalchemy.select(CONFIGS.c.version, CONFIGS.c.created_at)).all()
    assert [version for version, _ in versions] == [1, 2]
    assert all(abs(created - time.time()) < 60 for _, created in versions)


@pytest.mark.parametrize(
    "change",
    [
        "seed=1",
        "metric=val_loss",
        "budget.epochs=9",
        "data.vocabulary=99",
        "space.dropout=0.5",
        "space.units=[1,2]",
        "budget.trials=5",
    ],
)
def test_a_stored_study_does_not_become_another_one(
    database: Database, toy: StudyMaker, change: str
) -> None:
    create_study(database, toy())

    with pytest.raises(FrozenStudyError) as caught:
        create_study(database, toy(change))

    key = change.partition("=")[0]
    assert key in str(caught.value)
    assert "--set name=toy-2" in str(caught.value)
    assert "tuner delete toy" in str(caught.value)


def test_an_unknown_study_is_told_with_the_nearest_name(
    database: Database, toy: StudyMaker
) -> None:
    create_study(database, toy())

    with pytest.raises(StudyNotFoundError, match="Did you mean `toy`"):
        find_study(database, "toi")


def test_a_study_of_plain_optuna_is_left_alone(database: Database, toy: StudyMaker) -> None:
    optuna.create_study(study_name="toy", storage=database.storage)

    with pytest.raises(StudyNotFoundError, match="did not create it"):
        create_study(database, toy())
    assert study_names(database) == []


def test_each_slot_is_claimed_once(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    one, two = slots_of(database, study, "one"), slots_of(database, study, "two")

    claims = [slots.claim() for _ in range(3) for slots in (one, two)]

    assert sorted(claim.slot for claim in claims if claim) == [0, 1, 2, 3, 4, 5]
    assert one.claim() is None
    assert one.counts() == SlotCounts(free=0, held=6, done=0)


def test_a_trial_is_opened_running_with_all_its_params(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    slots = slots_of(database, study)

    claim = open_slot(database, study, slots)

    (trial,) = optuna.load_study(study_name="toy", storage=database.storage).trials
    assert trial.state == TrialState.RUNNING
    assert trial.number == claim.number == 0
    assert set(trial.params) == {"learning_rate", "dropout"}
    assert slots.params(claim)["units"] == 128  # what is not tuned is stored too
    assert slots.params(claim)["dropout"] == trial.params["dropout"]


def test_reports_and_the_end_are_read_back_as_optuna_has_them(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    slots = slots_of(database, study)
    claim = open_slot(database, study, slots)

    slots.report(claim, 1, 0.25)
    slots.report(claim, 2, math.inf)
    ending = Ending(
        state=TrialState.PRUNED,
        value=0.75,
        attributes={"reason": "pruned", "threads": 2},
        constraints={"diverged": 1.0},
    )
    slots.report(claim, 4, 0.75, ending)

    (trial,) = optuna.load_study(study_name="toy", storage=database.storage).trials
    assert trial.state == TrialState.PRUNED
    assert trial.value == 0.75
    assert trial.intermediate_values == {1: 0.25, 2: math.inf, 4: 0.75}
    assert trial.user_attrs == {"reason": "pruned", "threads": 2}
    assert trial.constraints == {"diverged": 1.0}
    assert trial.datetime_complete is not None
    assert slots.reported_steps(claim.open_trial_id) == {1, 2, 4}
    assert slots.counts().done == 1


def test_rivals_are_the_other_trials_of_the_study_at_that_step(
    database: Database, toy: StudyMaker
) -> None:
    other = create_study(database, toy("name=other")).study
    slots = slots_of(database, other)
    slots.report(open_slot(database, other, slots), 4, 0.9)
    study = create_study(database, toy()).study
    slots = slots_of(database, study)
    claims = [open_slot(database, study, slots) for _ in range(3)]
    for claim, value in zip(claims, (0.1, math.nan, 0.3), strict=True):
        slots.report(claim, 4, value)
        slots.report(claim, 8, 0.99)

    assert slots.rivals(claims[0], 4) == [0.3]


def test_whoever_lost_the_slot_can_write_nothing(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    old, new = slots_of(database, study, "old"), slots_of(database, study, "new")
    claim = open_slot(database, study, old)
    old.report(claim, 1, 0.1)
    expire(database, claim)
    taken = new.claim()
    assert taken is not None
    assert (taken.slot, taken.trial_id) == (claim.slot, claim.trial_id)
    assert taken.attempts == 2

    writes: list[Callable[[], None]] = [
        lambda: old.renew(claim),
        lambda: old.report(claim, 2, 0.2),
        lambda: old.close(claim, DONE),
        lambda: old.release(claim),
    ]
    for write in writes:
        with pytest.raises(LostSlotError):
            write()

    (trial,) = optuna.load_study(study_name="toy", storage=database.storage).trials
    assert trial.state == TrialState.RUNNING
    assert trial.intermediate_values == {1: 0.1}
    new.close(taken, DONE)
    assert new.counts() == SlotCounts(free=5, held=0, done=1)


def test_a_lost_slot_opens_no_trial(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    slots = slots_of(database, study)
    claim = slots.claim()
    assert claim is not None
    lost = dataclasses.replace(claim, token=claim.token ^ 1)
    trial, params = propose(database.storage, study.config, slot=0, planned={}, taken=())

    with pytest.raises(LostSlotError):
        slots.open(lost, Proposal(trial=trial, params=params.model_dump(), unique=False))

    assert optuna.load_study(study_name="toy", storage=database.storage).trials == []


def test_an_expired_lease_is_its_holders_until_somebody_takes_it(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    slots = slots_of(database, study)
    claim = open_slot(database, study, slots)
    expire(database, claim)

    slots.renew(claim)

    other = slots_of(database, study, "other").claim()
    assert other is not None
    assert other.slot != claim.slot


def test_a_slot_that_was_handed_back_goes_on_with_the_same_trial(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    slots = slots_of(database, study)
    claim = open_slot(database, study, slots)
    params = slots.params(claim)
    slots.release(claim)

    again = slots_of(database, study, "other").claim()

    assert again is not None
    assert (again.slot, again.trial_id, again.number) == (claim.slot, claim.trial_id, 0)
    assert again.attempts == 1  # handing back is no failed attempt
    assert slots.params(again) == params


def test_a_trial_that_was_ended_from_outside_is_noticed_and_its_slot_is_done(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    slots = slots_of(database, study)
    claim = open_slot(database, study, slots)
    database.storage.set_trial_state_values(claim.open_trial_id, TrialState.FAIL)

    with pytest.raises(TrialEndedOutsideError):
        slots.report(claim, 1, 0.5)

    assert slots.counts() == SlotCounts(free=5, held=0, done=1)
    (trial,) = optuna.load_study(study_name="toy", storage=database.storage).trials
    assert trial.state == TrialState.FAIL
    assert trial.intermediate_values == {}


def test_no_two_slots_get_the_same_point_of_a_finite_space(
    database: Database, toy: StudyMaker
) -> None:
    config = toy("space.learning_rate=[0.1,0.2]", "space.dropout=[0.0,0.5]")
    study = create_study(database, config).study
    slots = slots_of(database, study)
    claims = [slots.claim(), slots.claim()]
    trial, params = propose(database.storage, config, slot=0, planned={}, taken=())
    proposal = Proposal(trial=trial, params=params.model_dump(), unique=True)
    assert claims[0] is not None
    assert claims[1] is not None
    slots.open(claims[0], proposal)

    with pytest.raises(PointTakenError):
        slots.open(claims[1], proposal)

    taken = slots.taken_points(except_slot=1)
    other, _ = propose(database.storage, config, slot=1, planned={}, taken=taken)
    assert other.params != trial.params
    assert len(optuna.load_study(study_name="toy", storage=database.storage).trials) == 1


def test_a_finite_space_has_no_more_slots_than_points(database: Database, toy: StudyMaker) -> None:
    config = toy("space.learning_rate=[0.1,0.2]", "space.dropout=[0.0,0.5]")
    study = create_study(database, config).study

    assert slots_of(database, study).counts().total == 4
    assert "ends after 4 trials" in config.notes()[0]


def test_a_grid_is_planned_into_the_slots(database: Database, toy: StudyMaker) -> None:
    config = toy(
        "space.learning_rate=[0.1,0.2]", "space.dropout=[0.0,0.5,0.8]", "sampler.name=grid"
    )
    study = create_study(database, config).study
    slots = slots_of(database, study)

    planned = [claim.planned for _ in range(6) if (claim := slots.claim())]

    assert planned == list(config.space.points())


def test_the_first_slot_has_the_default_point(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy("space.units={low=8,high=64,step=8}")).study

    claim = slots_of(database, study).claim()

    assert claim is not None
    assert claim.planned == {"learning_rate": 2e-3, "dropout": 0.4, "units": 40}


def test_a_point_of_ones_own_is_the_next_trial(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    slots = slots_of(database, study)

    assert enqueue(database, study, {"dropout": 0.25}) == 1  # slot 0 has the default point

    claim = open_slot(database, study, slots)
    assert slots.params(claim)["dropout"] == 0.25
    (trial,) = optuna.load_study(study_name="toy", storage=database.storage).trials
    assert trial.system_attrs["fixed_params"] == {"dropout": 0.25}


def test_a_full_study_takes_no_point_and_says_what_to_do(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("budget.trials=2")).study
    enqueue(database, study, {"dropout": 0.25})

    with pytest.raises(InputError, match=r"no free slot.*budget\.trials"):
        enqueue(database, study, {"dropout": 0.5})


def test_the_first_fingerprint_is_the_studys(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    agree_on_data(database, study.study_id, "abc")
    create_study(database, toy("budget.trials=8"))  # another version keeps it

    agree_on_data(database, study.study_id, "abc")
    with pytest.raises(DataError, match="abc in the study"):
        agree_on_data(database, study.study_id, "xyz")


@pytest.mark.parametrize("by", ["us", "optuna"])
def test_deleting_a_study_leaves_no_row_of_ours(
    database: Database, toy: StudyMaker, by: str
) -> None:
    study = create_study(database, toy()).study
    slots = slots_of(database, study)
    open_slot(database, study, slots)
    kept = create_study(database, toy("name=kept")).study

    if by == "us":
        delete_study(database, study)
    else:
        optuna.delete_study(study_name="toy", storage=database.storage)

    assert study_names(database) == ["kept"]
    assert slots.counts().total == 0
    assert slots_of(database, kept).counts().total == 6
    fresh = create_study(database, toy()).study  # SQLite gives its old ids again
    assert slots_of(database, fresh).counts() == SlotCounts(free=6, held=0, done=0)


def _create(url: str, config: str) -> bool:
    with Database.open(url, create=True) as database:
        return create_study(database, StudyConfig.from_json(config)).existed


def test_many_processes_may_create_the_same_study_on_an_empty_database(
    empty_url: str, toy: StudyMaker
) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=context) as pool:
        existed = list(pool.map(_create, [empty_url] * 4, [toy().to_json()] * 4))

    assert sorted(existed) == [False, True, True, True]
    with Database.open(empty_url) as database:
        assert slots_of(database, find_study(database, "toy")).counts().total == 6


def test_reading_commands_never_create_a_database(empty_url: str) -> None:
    with pytest.raises(InputError, match="tuner run FILE"):
        Database.open(empty_url)


def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    with pytest.raises(StorageUnavailableError) as caught:
        Database.open("postgresql://tuner:hidden@localhost:1/tuner")

    assert "hidden" not in str(caught.value)
    assert "localhost" in str(caught.value)
