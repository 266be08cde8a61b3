"""One contract for every database: slots are done once, and only their holder writes."""

import dataclasses
import json
import math
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.storages._rdb import models
from optuna.trial import TrialState

from tests.conftest import StudyMaker
from tests.forked import PROCESSES
from tests.workers import create
from tuner.config import StudyConfig
from tuner.domain import point_key
from tuner.errors import (
    DataError,
    FrozenStudyError,
    InputError,
    LostSlotError,
    StorageUnavailableError,
    StudyNotFoundError,
)
from tuner.first_points import first_points
from tuner.host import Holder
from tuner.storage import (
    Claim,
    Database,
    Ending,
    Plan,
    PointTakenError,
    Proposal,
    SlotCounts,
    Slots,
    Standing,
    StoredStudy,
    TrialEndedOutsideError,
    agree_on_data,
    create_study,
    delete_study,
    end_study,
    enqueue,
    extend_study,
    find_study,
    other_versions,
    rename_study,
    study_names,
)
from tuner.storage.history import History
from tuner.storage.schema import CONFIGS, SLOTS
from tuner.storage.states import let_go_on
from tuner.strategy import propose

DONE = Ending(state=TrialState.COMPLETE, value=0.5, attributes={"host": "here"}, constraints={})


def slots_of(
    database: Database, study: StoredStudy, worker: str = "me", *, lease: float = 60.0
) -> Slots:
    holder = Holder(name=worker, machine=f"{worker}'s", pid=1, started=0.0)
    return Slots(database, study, holder=holder, lease=lease)


def let_study_go_on(database: Database, study: StoredStudy) -> Standing:
    with database.transaction() as session:
        return let_go_on(session, study, {"stopped", "bug", "hours", "gain"})


def new_token() -> int:
    return secrets.randbits(63)


def open_slot(database: Database, study: StoredStudy, slots: Slots) -> Claim:
    claim = slots.claim(new_token())
    assert claim is not None
    trial, params = propose(
        History(database, study.study_id).read,
        study.config,
        slot=claim.slot,
        planned=claim.planned,
        taken=(),
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

    assert grown.changes == (
        "changed budget.trials: 6 -> 9",
        'changed sampler.name: "tpe" -> "random"',
    )
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


def test_a_study_file_with_fewer_trials_takes_none_away_and_says_so(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study

    again = create_study(database, toy("budget.trials=5"))

    assert again.changes == (
        "budget.trials stays 6, though the study file says 5: `tuner stop toy` ends a study early",
    )
    assert again.study == study
    assert slots_of(database, study).counts().total == 6


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
    workers = [slots_of(database, study, f"worker {n}") for n in range(7)]

    claims = [worker.claim(new_token()) for worker in workers]

    assert [claim.slot for claim in claims if claim] == [0, 1, 2, 3, 4, 5]
    assert claims[-1] is None
    assert workers[0].counts() == SlotCounts(free=0, held=6, done=0)


def test_a_trial_is_opened_running_with_all_its_params(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    slots = slots_of(database, study)

    claim = open_slot(database, study, slots)

    (trial,) = optuna.load_study(study_name="toy", storage=database.storage).trials
    assert trial.state == TrialState.RUNNING
    assert trial.number == claim.number == 0
    assert set(trial.params) == {"learning_rate", "dropout"}
    assert claim.params["units"] == 64  # what is not tuned is stored too
    assert claim.params["dropout"] == trial.params["dropout"]


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
    assert slots.counts().done == 1


def test_rivals_are_what_the_other_trials_of_the_study_were_worth_at_that_step(
    database: Database, toy: StudyMaker
) -> None:
    other = create_study(database, toy("name=other")).study
    slots = slots_of(database, other)
    slots.report(open_slot(database, other, slots), 4, 0.9)
    study = create_study(database, toy()).study
    slots = slots_of(database, study)
    claims = [open_slot(database, study, slots_of(database, study, name)) for name in "abc"]
    for claim, value in zip(claims, (0.1, math.nan, 0.3), strict=True):
        slots.report(claim, 1, 0.98)  # a part of the validation set is no measure
        slots.report(claim, 4, value)
        slots.report(claim, 8, 0.2)
    slots.report(claims[1], 12, 0.99)

    assert slots.rivals(claims[0], 4) == [0.3]
    assert sorted(slots.rivals(claims[0], 8)) == [0.2, 0.3]
    assert slots.rivals(claims[0], 12) == [0.99]
    assert slots.rivals(claims[0], 16) == []


def test_whoever_lost_the_slot_can_write_nothing(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    old, new = slots_of(database, study, "old"), slots_of(database, study, "new", lease=0.0)
    claim = open_slot(database, study, old)
    old.report(claim, 1, 0.1)
    expire(database, claim)
    taken = new.claim(new_token())
    assert taken is not None
    assert (taken.slot, taken.trial_id) == (claim.slot, claim.trial_id)
    assert taken.params == claim.params
    assert taken.reports == {1: 0.1}

    writes: list[Callable[[], object]] = [
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
    claim = slots.claim(new_token())
    assert claim is not None
    lost = dataclasses.replace(claim, token=claim.token ^ 1)
    trial, params = propose(
        History(database, study.study_id).read, study.config, slot=0, planned={}, taken=()
    )

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

    other = slots_of(database, study, "other").claim(new_token())
    assert other is not None
    assert other.slot != claim.slot


def test_a_slot_that_was_handed_back_goes_on_with_the_same_trial(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    slots = slots_of(database, study)
    claim = open_slot(database, study, slots)
    slots.report(claim, 1, 0.5)
    slots.release(dataclasses.replace(claim, attempts=3, micro_batches=2))

    again = slots_of(database, study, "other").claim(new_token())

    assert again is not None
    assert (again.slot, again.trial_id, again.number) == (claim.slot, claim.trial_id, 0)
    assert (again.attempts, again.micro_batches) == (3, 2)
    assert (again.params, again.reports) == (claim.params, {1: 0.5})


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


def test_a_trial_whose_row_was_deleted_frees_its_slot_and_nobody_writes_to_its_successor(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("budget.trials=2")).study
    old, new = slots_of(database, study, "old"), slots_of(database, study, "new")
    lost = open_slot(database, study, old)
    with database.transaction() as session:
        session.delete(session.get_one(models.TrialModel, lost.open_trial_id))
    successor = open_slot(database, study, new)  # on SQLite with the very same id

    with pytest.raises(TrialEndedOutsideError, match="deleted from outside"):
        old.report(lost, 1, 0.5)

    assert new.counts() == SlotCounts(free=1, held=1, done=0)
    new.close(successor, DONE)
    again = open_slot(database, study, new)
    assert (again.slot, again.reports) == (lost.slot, {})
    (trial, _) = database.storage.get_all_trials(study.study_id)
    assert trial.intermediate_values == {}


@pytest.mark.parametrize("reason", ["stopped", "hours", "gain", "bug"])
def test_an_ended_study_gives_out_open_trials_only(
    database: Database, toy: StudyMaker, reason: str
) -> None:
    study = create_study(database, toy("budget.trials=3")).study
    begun, not_begun = (slots_of(database, study, name, lease=0.0) for name in ("a", "b"))
    left = open_slot(database, study, begun)
    assert not_begun.claim(new_token()) is not None  # dies before it has opened its trial
    end_study(database, study, reason=reason, message="enough")
    rest = slots_of(database, study, "c", lease=0.0)

    claim = rest.claim(new_token())

    assert claim is not None
    assert (claim.slot, claim.trial_id, claim.standing.ended) == (left.slot, left.trial_id, reason)
    rest.close(claim, DONE)
    assert rest.claim(new_token()) is None
    assert rest.counts() == SlotCounts(free=2, held=0, done=1)
    assert rest.is_over()
    let_study_go_on(database, study)
    assert not rest.is_over()
    assert rest.claim(new_token()) is not None


def test_who_knows_a_deleted_study_writes_nothing_to_its_namesake(
    database: Database, toy: StudyMaker
) -> None:
    old = create_study(database, toy()).study
    slots = slots_of(database, old)
    claim = open_slot(database, old, slots)
    delete_study(database, old)
    new = create_study(database, toy()).study  # on SQLite with the very same ids
    open_slot(database, new, slots_of(database, new, "other"))
    lost: list[Callable[[], object]] = [
        lambda: slots.report(claim, 1, 0.5),
        lambda: slots.close(claim, DONE),
        lambda: slots.release(claim),
    ]
    gone: list[Callable[[], object]] = [
        lambda: slots.claim(new_token()),
        lambda: slots.renew(claim),
        lambda: agree_on_data(database, old, "old data"),
        lambda: other_versions(database, old, {"tuner": "old"}),
        lambda: let_study_go_on(database, old),
    ]

    for write in lost:
        with pytest.raises(LostSlotError):
            write()
    for write in gone:
        with pytest.raises(StudyNotFoundError, match="somebody deleted it"):
            write()
    end_study(database, old, reason="bug", message="of the old one")

    now = slots_of(database, new, "other")
    assert now.counts() == SlotCounts(free=5, held=1, done=0)
    assert now.standing().ended is None
    agree_on_data(database, new, "new data")
    assert other_versions(database, new, {"tuner": "new"}) == {}
    (trial,) = database.storage.get_all_trials(new.study_id)
    assert (trial.state, trial.intermediate_values) == (TrialState.RUNNING, {})


def test_no_two_slots_get_the_same_point_of_a_finite_space(
    database: Database, toy: StudyMaker
) -> None:
    config = toy("space.learning_rate=[0.1,0.2]", "space.dropout=[0.0,0.5]")
    study = create_study(database, config).study
    slots = slots_of(database, study)
    claims = [slots_of(database, study, name).claim(new_token()) for name in "ab"]
    trial, params = propose(
        History(database, study.study_id).read, config, slot=0, planned={}, taken=()
    )
    proposal = Proposal(trial=trial, params=params.model_dump(), unique=True)
    assert claims[0] is not None
    assert claims[1] is not None
    slots.open(claims[0], proposal)

    with pytest.raises(PointTakenError):
        slots.open(claims[1], proposal)

    taken = slots.taken_points(except_slot=1)
    other, _ = propose(
        History(database, study.study_id).read, config, slot=1, planned={}, taken=taken
    )
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

    claims = [slots_of(database, study, name).claim(new_token()) for name in "abcdef"]

    planned = [claim.planned for claim in claims if claim]
    assert planned == list(config.space.points())


def test_the_first_slot_has_the_default_point(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy("space.units={low=8,high=64,step=8}")).study

    claim = slots_of(database, study).claim(new_token())

    assert claim is not None
    assert claim.planned == {"learning_rate": 2e-3, "dropout": 0.4, "units": 64}


def planned_points(database: Database, study: StoredStudy) -> list[tuple[str | None, Any]]:
    columns = SLOTS.c.origin, SLOTS.c.planned
    mine = SLOTS.c.study_id == study.study_id
    with database.transaction() as session:
        rows = session.execute(sqlalchemy.select(*columns).where(mine).order_by(SLOTS.c.slot))
        return [(row.origin, json.loads(row.planned) if row.planned else None) for row in rows]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_study_opens_with_points_that_fill_its_space_and_only_once(
    database: Database, toy: StudyMaker, sampler: str
) -> None:
    config = toy("budget.trials=20", f"sampler.name={sampler}")
    study = create_study(database, config).study
    expected = first_points(config.space, n=8, seed=config.seed)

    planned = planned_points(database, study)

    assert [point for _, point in planned] == [*expected, *[None] * 12]
    assert [origin for origin, _ in planned] == ["default", *["start"] * 7, *[None] * 12]
    extend_study(database, study, 30)
    assert planned_points(database, study) == [*planned, *[(None, None)] * 30]


def test_what_was_planned_outside_a_narrower_range_is_left_to_the_sampler(
    database: Database, toy: StudyMaker
) -> None:
    before = planned_points(database, create_study(database, toy("budget.trials=30")).study)

    created = create_study(database, toy("budget.trials=30", "space.dropout.high=0.4"))

    n_outside = sum(point is not None and point["dropout"] > 0.4 for _, point in before)
    assert n_outside > 1
    assert created.changes[-1] == f"{n_outside} planned points lie outside the space now: left out"
    assert planned_points(database, created.study) == [
        (None, None) if point is not None and point["dropout"] > 0.4 else (origin, point)
        for origin, point in before
    ]


def test_points_to_begin_with_take_the_place_of_others_that_fill_the_space(
    database: Database, toy: StudyMaker
) -> None:
    config = toy("budget.trials=20")
    default, *others = first_points(config.space, n=8, seed=config.seed)
    begin_with = [Plan(point={"dropout": 0.2}, origin="like a/3")]
    begin_with.append(Plan(point=others[0], origin="like a/5"))

    study = create_study(database, config, begin_with=begin_with).study

    planned = planned_points(database, study)
    assert planned[:3] == [
        ("default", default),
        ("like a/3", {"dropout": 0.2}),
        ("like a/5", others[0]),
    ]
    assert planned[3:] == [*(("start", point) for point in others[1:6]), *[(None, None)] * 12]


def test_a_sampler_that_learns_nothing_opens_with_no_points(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("sampler.name=random")).study
    assert planned_points(database, study) == [(None, None)] * 6
    create_study(database, toy("sampler.name=tpe"))
    assert planned_points(database, study) == [(None, None)] * 6


def test_the_first_points_of_a_small_space_are_taken(database: Database, toy: StudyMaker) -> None:
    settings = "budget.trials=6", "space.learning_rate=[0.1,0.2,0.3]", "space.dropout=[0.0,0.5]"
    config = toy(*settings)
    study = create_study(database, config).study
    slots, history = slots_of(database, study), History(database, study.study_id)

    for _ in range(6):
        claim = slots.claim(new_token())
        assert claim is not None
        trial, params = propose(
            history.read,
            config,
            slot=claim.slot,
            planned=claim.planned,
            taken=slots.taken_points(except_slot=claim.slot),
        )
        proposal = Proposal(trial=trial, params=params.model_dump(), unique=True)
        slots.close(slots.open(claim, proposal), DONE)

    drawn = [trial.params for trial in history.read()]
    assert sorted(map(point_key, drawn)) == sorted(map(point_key, config.space.points()))


def test_a_point_of_ones_own_is_the_next_trial(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    slots = slots_of(database, study)

    assert enqueue(database, study, {"dropout": 0.25}) == 2  # slots 0 and 1 have the first points

    claim = open_slot(database, study, slots)
    assert claim.params["dropout"] == 0.25
    (trial,) = optuna.load_study(study_name="toy", storage=database.storage).trials
    assert trial.system_attrs["fixed_params"] == {"dropout": 0.25}


def test_a_full_study_takes_no_point_and_says_what_to_do(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("budget.trials=2")).study
    enqueue(database, study, {"dropout": 0.25})

    with pytest.raises(InputError, match=r"no free slot.*tuner extend toy"):
        enqueue(database, study, {"dropout": 0.5})


def test_a_slot_is_not_given_up_for_a_space_that_was_widened_meanwhile(
    database: Database, toy: StudyMaker
) -> None:
    def config(high: float) -> StudyConfig:
        choices = f"space.dropout={{low=0.0,high={high},step=0.1}}"
        return toy(choices, "space.learning_rate=0.1", "budget.trials=2", "sampler.name=random")

    study = create_study(database, config(0.1)).study
    slots, others = slots_of(database, study, "one"), slots_of(database, study, "other")
    claim, other = slots.claim(new_token()), others.claim(new_token())
    assert claim is not None
    assert other is not None
    others.give_up(other)
    others.give_up(other)  # whose answer got lost
    assert slots.counts() == SlotCounts(free=0, held=1, done=1)
    create_study(database, config(0.3))

    slots.give_up(claim)

    assert slots.counts() == SlotCounts(free=2, held=0, done=0)


def test_values_of_which_every_point_was_taken_cannot_be_planned(
    database: Database, toy: StudyMaker
) -> None:
    config = toy("space.learning_rate=[0.1,0.2]", "space.dropout=[0.0,0.5]", "sampler.name=random")
    study = create_study(database, config).study
    enqueue(database, study, {"learning_rate": 0.1, "dropout": 0.0})
    enqueue(database, study, {"learning_rate": 0.1})
    enqueue(database, study, {"learning_rate": 0.1, "dropout": 0.5})

    with pytest.raises(InputError, match=r"Every point with \{'learning_rate': 0\.1\} is a trial"):
        enqueue(database, study, {"learning_rate": 0.1})
    with pytest.raises(InputError, match=r"The point .*0\.5.* is a trial of 'toy' already"):
        enqueue(database, study, {"learning_rate": 0.1, "dropout": 0.5})


def test_the_first_fingerprint_is_the_studys(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    agree_on_data(database, study, "abc")
    create_study(database, toy("budget.trials=8"))  # another version keeps it

    agree_on_data(database, study, "abc")
    with pytest.raises(DataError, match="abc in the study"):
        agree_on_data(database, study, "xyz")


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


def test_many_processes_may_create_the_same_study_on_an_empty_database(
    empty_url: str, toy: StudyMaker
) -> None:
    with ProcessPoolExecutor(4, mp_context=PROCESSES) as pool:
        existed = list(pool.map(create, [empty_url] * 4, [toy().to_json()] * 4))

    assert sorted(existed) == [False, True, True, True]
    with Database.open(empty_url) as database:
        assert slots_of(database, find_study(database, "toy")).counts().total == 6


def test_tables_that_are_there_are_neither_locked_nor_changed(
    storage_url: str, toy: StudyMaker
) -> None:
    done: list[str] = []

    def note(*event: Any) -> None:
        done.append(event[2].split()[0].upper())

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    try:
        with Database.open(storage_url, create=True) as database:
            create_study(database, toy())
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", note)

    assert {"SELECT", "INSERT"} <= set(done) <= {"SELECT", "INSERT", "PRAGMA"}


def test_reading_commands_never_create_a_database(empty_url: str) -> None:
    with pytest.raises(InputError, match="tuner run FILE"):
        Database.open(empty_url)


def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    with pytest.raises(StorageUnavailableError) as caught:
        Database.open("postgresql://tuner:hidden@localhost:1/tuner")

    assert "hidden" not in str(caught.value)
    assert "localhost" in str(caught.value)


def test_a_study_is_renamed_in_place_and_its_workers_go_on(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    slots = slots_of(database, study)
    claim = open_slot(database, study, slots)

    renamed = rename_study(database, study, "monday")

    assert renamed == find_study(database, "monday")
    assert (renamed.study_id, renamed.config.name) == (study.study_id, "monday")
    assert study_names(database) == ["monday"]
    slots.report(claim, 1, 0.5)
    assert optuna.load_study(study_name="monday", storage=database.storage).trials[0].last_step == 1
    again = create_study(database, toy("name=monday", "budget.trials=7"))
    assert again.existed
    assert "budget.trials: 6 -> 7" in again.changes[0]
    assert not create_study(database, toy()).existed  # the old name is free


@pytest.mark.parametrize("name", ["other", "", "a b", "-x", "é", "x\n", "x" * 129])
def test_a_study_gets_no_name_that_is_none_or_taken(
    database: Database, toy: StudyMaker, name: str
) -> None:
    study = create_study(database, toy()).study
    create_study(database, toy("name=other"))
    with pytest.raises(InputError, match="name: "):
        rename_study(database, study, name)
    assert study_names(database) == ["toy", "other"]
    assert find_study(database, "toy").config == study.config
