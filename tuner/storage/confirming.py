"""Studies that confirm another one: what a slot is for, the second stage, and the result."""

from collections.abc import Sequence
from dataclasses import replace

from tuner.confirmation import Rehearsal, Task
from tuner.storage.attributes import read_note, write_note
from tuner.storage.configuration import (
    Version,
    check_there,
    lock_study,
    newest_version,
    store_version,
)
from tuner.storage.database import Database
from tuner.storage.values import Plan, StoredStudy

#: Name of the note with the result.
CONFIRMED = "tuner:confirmed"


def read_task(database: Database, study: StoredStudy, slot: int) -> Task | None:
    """Say what a slot's training is to do; None in a search.

    It looks at what is in force now: what the second stage trains is decided while workers run.

    Args:
        database: Where the study is.
        study: The study.
        slot: A slot of it.

    Raises:
        StudyNotFoundError: The study was deleted.
    """
    if study.config.confirms is None:
        return None
    with database.transaction() as session:
        check_there(session, study)
        newest = newest_version(session, study.study_id).config.confirms
    return None if newest is None else newest.task(slot)


def begin_rehearsals(
    database: Database,
    study: StoredStudy,
    rehearsals: Sequence[Rehearsal],
    plans: Sequence[Plan],
) -> StoredStudy:
    """Let the second stage begin, once; of two that ask at once the first decides.

    Args:
        database: Where the study is.
        study: A study that confirms.
        rehearsals: What is trained.
        plans: The points of its slots.

    Returns:
        The study as it is stored now.

    Raises:
        StudyNotFoundError: The study was deleted.
    """
    with database.transaction() as session:
        lock_study(session, study)
        newest = newest_version(session, study.study_id)
        config, before = newest.config, newest.config.confirms
        if before is not None and not before.rehearsals:
            budget = config.budget.model_copy(update={"trials": before.n_first + len(plans)})
            confirms = before.model_copy(update={"rehearsals": tuple(rehearsals)})
            config = config.model_copy(update={"budget": budget, "confirms": confirms})
            version = Version(number=newest.number + 1, config=config)
            store_version(session, study.study_id, version, begin_with=plans)
    return replace(study, config=config)


def write_confirmed(database: Database, study: StoredStudy, text: str) -> None:
    """Keep what came of a study that confirms.

    Args:
        database: Where the study is.
        study: The study.
        text: JSON.

    Raises:
        StudyNotFoundError: The study was deleted.
    """
    with database.transaction() as session:
        lock_study(session, study)
        write_note(session, study.study_id, CONFIRMED, text)


def read_confirmed(database: Database, study: StoredStudy) -> str | None:
    """Read what `write_confirmed` kept; None where it is not over yet."""
    with database.transaction() as session:
        return read_note(session, study.study_id, CONFIRMED)
