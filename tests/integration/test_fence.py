"""A worker may die, freeze or lose its connection at any moment: no slot is done twice or never.

Real processes do one operation each; they are killed or stopped before every one of its
statements, before its commit and right after it.
"""

import contextlib
import itertools
import json
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState

from tests.conftest import StudyMaker
from tests.fence import COMPLETE, OPERATIONS, PRUNED, Ended, Puppet, Reached, Task, puppets
from tests.integration.test_storage import new_token, slots_of
from tuner.errors import LostSlotError, StorageUnavailableError
from tuner.host import this_process
from tuner.storage import (
    Claim,
    Database,
    Ending,
    Proposal,
    Slots,
    StoredStudy,
    create_study,
)
from tuner.storage.history import History
from tuner.storage.schema import SLOTS
from tuner.strategy import propose

#: Settings of the studies.
SMALL = ("budget.trials=2", "sampler.name=random")
#: How whoever comes after ends a trial.
AFTERWARDS = Ending(
    state=TrialState.COMPLETE, value=0.75, attributes={"host": "ours"}, constraints={}
)


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What the database has of the first slot."""

    #: free, held or done.
    slot: str
    #: Its trial; None where there is none.
    trial: TrialState | None = None
    #: The trial's.
    reports: tuple[int, ...] = ()


_RUNNING = TrialState.RUNNING
#: Operation to what is there before and after it: nothing else may ever be seen.
SIGHTS = {
    "claim": (Sight(slot="free"), Sight(slot="held")),
    "claim again": (
        Sight(slot="free", trial=_RUNNING, reports=(1,)),
        Sight(slot="held", trial=_RUNNING, reports=(1,)),
    ),
    "open": (Sight(slot="held"), Sight(slot="held", trial=_RUNNING)),
    "report": (
        Sight(slot="held", trial=_RUNNING, reports=(1,)),
        Sight(slot="held", trial=_RUNNING, reports=(1, 2)),
    ),
    "prune": (
        Sight(slot="held", trial=_RUNNING, reports=(1,)),
        Sight(slot="done", trial=TrialState.PRUNED, reports=(1, 2)),
    ),
    "renew": (
        Sight(slot="held", trial=_RUNNING, reports=(1,)),
        Sight(slot="held", trial=_RUNNING, reports=(1,)),
    ),
    "close": (
        Sight(slot="held", trial=_RUNNING, reports=(1,)),
        Sight(slot="done", trial=TrialState.COMPLETE, reports=(1,)),
    ),
    "release": (
        Sight(slot="held", trial=_RUNNING, reports=(1,)),
        Sight(slot="free", trial=_RUNNING, reports=(1,)),
    ),
}


@pytest.fixture
def puppet_theatre(storage_url: str) -> Iterator[Any]:
    with puppets(storage_url) as take:
        yield take


def proposal_of(database: Database, study: StoredStudy, claim: Claim) -> Proposal:
    trial, params = propose(
        History(database, study.study_id).read,
        study.config,
        slot=claim.slot,
        planned=claim.planned,
        taken=(),
    )
    return Proposal(trial=trial, params=params.model_dump(), unique=False)


def prepare(
    database: Database,
    study: StoredStudy,
    operation: str,
    slots: Slots,
    *,
    at: int = 0,
    signal_number: int = signal.SIGKILL,
) -> Task:
    """Bring the first slot to where the operation begins."""
    claim: Claim | None = None
    proposal: Proposal | None = None
    if operation != "claim":
        claim = slots.claim(new_token())
        assert claim is not None
        proposal = proposal_of(database, study, claim)
    if claim is not None and proposal is not None and operation != "open":
        claim = slots.open(claim, proposal)
        slots.report(claim, 1, 0.1)
    if claim is not None and operation == "claim again":
        slots.release(claim)
        claim = None
    return Task(
        operation=operation,
        study=study,
        token=claim.token if claim else new_token(),
        claim=claim,
        proposal=proposal,
        lease=slots.lease,
        at=at,
        signal_number=signal_number,
    )


def stored_trials(database: Database, study: StoredStudy) -> dict[int, FrozenTrial]:
    """Read all trials as Optuna does, by id."""
    return {trial._trial_id: trial for trial in database.storage.get_all_trials(study.study_id)}


def stored_slots(database: Database, study: StoredStudy) -> list[Any]:
    with database.transaction() as session:
        statement = sqlalchemy.select(SLOTS).where(SLOTS.c.study_id == study.study_id)
        return list(session.execute(statement.order_by(SLOTS.c.slot)).all())


def sight(database: Database, study: StoredStudy) -> Sight:
    row = stored_slots(database, study)[0]
    if row.trial_id is None:
        return Sight(slot=row.state)
    trial = stored_trials(database, study)[row.trial_id]
    return Sight(
        slot=row.state, trial=trial.state, reports=tuple(sorted(trial.intermediate_values))
    )


def everything(database: Database) -> dict[str, list[Any]]:
    """Read every row that belongs to a trial or a slot."""
    tables = [
        SLOTS,
        *(
            model.__table__
            for model in (
                models.TrialModel,
                models.TrialValueModel,
                models.TrialParamModel,
                models.TrialIntermediateValueModel,
                models.TrialUserAttributeModel,
                models.TrialSystemAttributeModel,
            )
        ),
    ]
    with database.transaction() as session:
        return {
            table.name: sorted(map(repr, session.execute(sqlalchemy.select(table)).all()))
            for table in tables
        }


def finish_one(database: Database, study: StoredStudy, slots: Slots) -> bool:
    """Take a slot and do the rest of its trial; say whether there was one to take."""
    claim = slots.claim(new_token())
    if claim is None:
        return False
    row = stored_slots(database, study)[claim.slot]
    assert (row.state, row.token, row.trial_id) == ("held", claim.token, claim.trial_id)
    if claim.trial_id is None:
        assert claim.reports == {}
        claim = slots.open(claim, proposal_of(database, study, claim))
    else:
        trial = stored_trials(database, study)[claim.trial_id]
        assert claim.number == trial.number
        assert claim.reports == trial.intermediate_values
        assert trial.params.items() <= claim.params.items()
    slots.report(claim, 9, 0.9)
    slots.close(claim, AFTERWARDS)
    return True


def check_whole(database: Database, study: StoredStudy) -> None:
    """Check what must hold of a study that is over."""
    rows, trials = stored_slots(database, study), stored_trials(database, study)
    assert {row.state for row in rows} == {"done"}
    assert sorted(row.trial_id for row in rows) == sorted(trials)
    assert sorted(trial.number for trial in trials.values()) == list(range(len(rows)))
    for trial in trials.values():
        assert trial.state.is_finished()
        assert set(trial.params) == {"learning_rate", "dropout"}
        host = trial.user_attrs.get("host")
        if host == "ours":
            assert (trial.value, trial.intermediate_values[9]) == (0.75, 0.9)
        else:  # all that its ending has, and nothing of another one
            ending = COMPLETE if trial.state == TrialState.COMPLETE else PRUNED
            assert trial.user_attrs == ending.attributes
            assert (trial.value, trial.constraints) == (ending.value, ending.constraints)
            assert 9 not in trial.intermediate_values
        for step, value in trial.intermediate_values.items():
            assert value == step / 10


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_worker_that_dies_at_any_moment_leaves_all_or_nothing_and_the_study_is_finished(
    database: Database, toy: StudyMaker, puppet_theatre: Any, operation: str
) -> None:
    before, after = SIGHTS[operation]
    for at in itertools.count(1):
        study = create_study(database, toy(f"name=crash-{at}", *SMALL)).study
        puppet: Puppet = puppet_theatre()
        slots = Slots(database, study, holder=puppet.holder)
        task = prepare(database, study, operation, slots, at=at)
        assert sight(database, study) == before

        answer = puppet.perform(task)

        done = isinstance(answer, Ended) or answer.is_committed
        assert sight(database, study) == (after if done else before)
        puppet.end()
        while finish_one(database, study, Slots(database, study, holder=this_process())):
            pass
        check_whole(database, study)
        reports = sight(database, study).reports
        finished_by_us = after.trial is None or after.trial is _RUNNING or not done
        assert reports == ((after if done else before).reports + ((9,) if finished_by_us else ()))
        if isinstance(answer, Ended):
            break
    assert at > 3  # a statement, the commit and what follows it


def finish_elsewhere(database: Database, study: StoredStudy) -> None:
    """Let workers on other machines do all that is left."""
    for n in itertools.count():
        others = slots_of(database, study, f"other {n}", lease=0.0)
        if others.counts().done == len(stored_slots(database, study)):
            return
        if not finish_one(database, study, others):
            # Postgres has yet to notice that a frozen worker sits on the row.
            time.sleep(0.02)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_worker_that_was_frozen_at_any_moment_writes_nothing_once_its_slot_is_taken(
    database: Database,
    storage_url: str,
    toy: StudyMaker,
    puppet_theatre: Any,
    operation: str,
) -> None:
    _, after = SIGHTS[operation]
    puppet: Puppet = puppet_theatre()
    one_writer = database.engine.dialect.name == "sqlite"
    for at in itertools.count(1):
        study = create_study(database, toy(f"name=freeze-{at}", *SMALL)).study
        slots = Slots(database, study, holder=puppet.holder, lease=0.0)  # it runs out at once
        task = prepare(database, study, operation, slots, at=at, signal_number=signal.SIGSTOP)
        answer = puppet.perform(task)
        if isinstance(answer, Ended):
            assert not answer.is_lost
            break

        if one_writer and answer.has_written:
            with Database.open(storage_url, lock_timeout=0.02) as impatient:
                others = slots_of(impatient, study, "other", lease=0.0)
                with pytest.raises(StorageUnavailableError, match="database is locked"):
                    others.claim(new_token())
            ended = puppet.go_on()
            assert not ended.is_lost  # nobody could take the slot meanwhile
            assert sight(database, study) == after
            finish_elsewhere(database, study)
        else:
            finish_elsewhere(database, study)
            left = everything(database)
            ended = puppet.go_on()
            assert everything(database) == left
            check_frozen(slots, operation, answer, ended)
        check_whole(database, study)
    assert at > 3


def check_frozen(slots: Slots, operation: str, reached: Reached, ended: Ended) -> None:
    """Check what a worker learns that goes on after others have done its work."""
    if reached.is_committed:
        assert not ended.is_lost
        if isinstance(ended.result, Claim):  # it finds out at its next word
            with pytest.raises(LostSlotError):
                slots.renew(ended.result)
    elif operation.startswith("claim"):
        assert not ended.is_lost
        assert ended.result is None  # nothing is left to take
    else:
        assert ended.is_lost


def test_a_slot_that_somebody_has_frozen_on_keeps_nobody_from_the_others(
    database: Database, storage_url: str, toy: StudyMaker
) -> None:
    if database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one write lock for all")
    study = create_study(database, toy(*SMALL)).study
    slots = slots_of(database, study, lease=0.0)
    held = slots.claim(new_token())
    assert held is not None
    row = sqlalchemy.select(SLOTS.c.slot).where(SLOTS.c.slot == held.slot).with_for_update()
    with Database.open(storage_url) as elsewhere, database.transaction() as session:
        session.execute(row)  # until the end of this block: waiting for it would never end

        claim = slots_of(elsewhere, study, "other", lease=0.0).claim(new_token())

    assert claim is not None
    assert claim.slot == 1


@contextlib.contextmanager
def answer_of_next_commit_lost(database: Database) -> Iterator[None]:
    """Cut the connection after the database has committed and before anybody hears of it."""
    dialect = database.engine.dialect
    commit = dialect.do_commit

    def commit_and_cut(connection: Any) -> None:
        commit(connection)
        monkey.undo()
        if dialect.name == "postgresql":  # SQLite has no connection that could be cut
            connection.dbapi_connection.close()
        raise dialect.loaded_dbapi.OperationalError("the connection is lost")

    with pytest.MonkeyPatch.context() as monkey:
        monkey.setattr(dialect, "do_commit", commit_and_cut)
        yield


@pytest.mark.parametrize("operation", OPERATIONS)
def test_asking_again_after_a_commit_whose_answer_got_lost_does_it_once(
    database: Database, toy: StudyMaker, operation: str
) -> None:
    _, after = SIGHTS[operation]
    study = create_study(database, toy(*SMALL)).study
    slots = Slots(database, study, holder=this_process())
    task = prepare(database, study, operation, slots)
    with (
        answer_of_next_commit_lost(database),
        pytest.raises(StorageUnavailableError, match="the connection is lost"),
    ):
        OPERATIONS[operation](slots, task)
    assert sight(database, study) == after  # it was done, and nobody knows
    first = everything(database)

    result = OPERATIONS[operation](slots, task)

    assert sight(database, study) == after
    again = everything(database)
    times = re.compile(r"\d{10}\.\d+")  # renewing again is as good
    assert {name: [times.sub("", row) for row in rows] for name, rows in again.items()} == {
        name: [times.sub("", row) for row in rows] for name, rows in first.items()
    }
    row = stored_slots(database, study)[0]
    if isinstance(result, Claim):
        assert (result.slot, result.token, result.trial_id) == (0, row.token, row.trial_id)
        assert result.params == ({} if row.trial_id is None else json.loads(row.params))
        assert result.reports == {step: step / 10 for step in after.reports}
    while finish_one(database, study, slots):
        pass
    check_whole(database, study)


def test_handing_back_again_takes_nothing_from_whoever_has_the_slot_now(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy(*SMALL)).study
    slots, others = slots_of(database, study), slots_of(database, study, "other")
    task = prepare(database, study, "release", slots)
    with answer_of_next_commit_lost(database), pytest.raises(StorageUnavailableError):
        OPERATIONS["release"](slots, task)
    taken = others.claim(new_token())
    assert taken is not None

    with pytest.raises(LostSlotError):
        OPERATIONS["release"](slots, task)

    others.renew(taken)
