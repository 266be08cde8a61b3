"""What standing workers see of a database with many studies, and what they say in it."""

import dataclasses

import sqlalchemy
from sqlalchemy import event, update

from tests.conftest import StudyMaker
from tests.integration.test_storage import expire, new_token, open_slot, slots_of
from tuner.host import Holder
from tuner.results import progress
from tuner.storage import (
    Database,
    StoredStudy,
    create_study,
    delete_study,
    rename_study,
    stop_study,
)
from tuner.storage.adoption import Watch
from tuner.storage.openings import Opening, find_opened, read_opening, read_openings
from tuner.storage.refusals import accept, refuse
from tuner.storage.schema import REFUSALS

#: Somebody who looks, from another machine than the workers'.
LOOKER = Holder(name="looker", machine="looker's", pid=1, started=0.0)


def seen(database: Database) -> dict[str, tuple[int, int]]:
    """Read free and held slots of all studies that are open."""
    return {found.name: (found.n_free, found.n_held) for found in read_openings(database, LOOKER)}


def opening_of(database: Database, study: StoredStudy) -> Opening:
    found = read_opening(database, study, LOOKER)
    assert found is not None
    return found


def test_studies_are_seen_with_what_is_free_and_held_until_they_are_over(
    database: Database, toy: StudyMaker
) -> None:
    first = create_study(database, toy("budget.trials=2")).study
    create_study(database, toy("name=second", "budget.trials=3"))
    assert seen(database) == {"toy": (2, 0), "second": (3, 0)}

    slots = slots_of(database, first)
    claim = open_slot(database, first, slots)
    assert seen(database)["toy"] == (1, 1)

    stop_study(database, first)
    assert seen(database)["toy"] == (0, 1)  # the free one stays free

    slots.release(claim)
    assert seen(database)["toy"] == (1, 0)  # begun, so it is finished

    delete_study(database, first)
    assert seen(database) == {"second": (3, 0)}
    assert read_opening(database, first, LOOKER) is None


def test_only_silent_holders_and_those_of_ones_own_machine_are_suspect(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    silent = slots_of(database, study, "silent").claim(new_token())
    slots_of(database, study, "alive").claim(new_token())
    assert silent is not None
    expire(database, silent)

    (suspect,) = opening_of(database, study).suspects
    near = read_opening(database, study, dataclasses.replace(LOOKER, machine="alive's"))

    assert (suspect.holder.name, suspect.expired) == ("silent", True)
    assert near is not None
    assert [(s.holder.name, s.expired) for s in near.suspects] == [
        ("silent", True),
        ("alive", False),
    ]


def test_a_held_slot_is_something_to_do_once_its_holder_was_silent_for_long(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("budget.trials=1")).study
    claim = slots_of(database, study, "silent").claim(new_token())
    assert claim is not None
    now = 0.0
    watch = Watch(LOOKER, lease=60.0, clock=lambda: now)
    assert not opening_of(database, study).has_something(watch)

    expire(database, claim)

    assert opening_of(database, study).has_silent_holder
    assert not opening_of(database, study).has_something(watch)
    now = 20.0
    assert opening_of(database, study).has_something(watch)


def test_a_look_is_one_statement_and_leaves_no_transaction_open(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    create_study(database, toy("name=second"))
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))

    for look in (lambda: read_openings(database, LOOKER), lambda: opening_of(database, study)):
        statements.clear()
        look()
        assert len(statements) == 1
    assert isinstance(database.engine.pool, sqlalchemy.pool.QueuePool)
    assert database.engine.pool.checkedout() == 0


def test_a_study_is_found_by_its_opening_whatever_its_name_is_now(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    (opening,) = read_openings(database, LOOKER)
    rename_study(database, study, "renamed")

    assert find_opened(database, opening).config.name == "renamed"


def test_a_refusal_is_told_until_the_machine_serves_the_study(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    opening = opening_of(database, study)

    for host, reason in (("b", "no such file"), ("a", "other data"), ("b", "too old")):
        refuse(database, opening, host=host, reason=reason)

    told = progress(database, study).refusals
    assert [(refusal.host, refusal.reason) for refusal in told] == [
        ("a", "other data"),
        ("b", "too old"),
    ]
    assert all(0 <= refusal.seconds_ago < 60 for refusal in told)
    accept(database, opening, host="b")
    assert [refusal.host for refusal in progress(database, study).refusals] == ["a"]


def test_an_old_refusal_is_no_news(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    refuse(database, opening_of(database, study), host="gone", reason="no such file")

    with database.transaction() as session:
        session.execute(update(REFUSALS).values(refused_at=REFUSALS.c.refused_at - 3600))

    assert progress(database, study).refusals == ()


def test_a_deleted_study_is_not_refused_and_leaves_no_refusal_to_its_namesake(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    opening = opening_of(database, study)
    refuse(database, opening, host="a", reason="no such file")

    delete_study(database, study)
    refuse(database, opening, host="b", reason="no such file")

    again = create_study(database, toy()).study
    assert progress(database, again).refusals == ()
