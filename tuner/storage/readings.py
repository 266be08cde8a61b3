"""Who has read a study's test set: noted before it is read, so that nobody reads it unseen.

The note is an attribute of the study, ``tuner:test_readings``, and goes where the study goes.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from tuner.errors import InputError
from tuner.storage.attributes import read_note, write_note
from tuner.storage.configuration import lock_study
from tuner.storage.database import Database
from tuner.storage.values import StoredStudy

#: Name of the attribute.
TEST_READINGS = "tuner:test_readings"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One reading of the test set."""

    #: From 1; what is chosen after the first one is no honest measurement any more.
    number: int
    #: When, UTC, ISO 8601.
    time: str
    #: The trial whose hyperparameters the models had.
    trial: int
    #: Models that were judged together.
    n_models: int
    #: What was found, by metric; empty where the reading did not come to its end.
    metrics: Mapping[str, float] = field(default_factory=dict)


def list_readings(database: Database, study: StoredStudy) -> tuple[Reading, ...]:
    """List the readings of a study's test set, oldest first."""
    with database.transaction() as session:
        return _read(session, study)


def check_unread(database: Database, study: StoredStudy, *, again: bool) -> None:
    """See whether the test set may be read.

    Args:
        database: Where the study is.
        study: The study.
        again: Whether it may have been read before.

    Raises:
        InputError: It was.
    """
    _check(list_readings(database, study), study, again=again)


def begin_reading(
    database: Database, study: StoredStudy, *, trial: int, n_models: int, again: bool
) -> Reading:
    """Note that the test set is about to be read.

    Args:
        database: Where the study is.
        study: The study.
        trial: The trial whose hyperparameters the models have.
        n_models: Models that are judged together.
        again: Whether it may have been read before.

    Raises:
        InputError: It was.
        StudyNotFoundError: The study was deleted.
    """
    with database.transaction() as session:
        lock_study(session, study)  # two that ask at once read one after the other
        before = _read(session, study)
        _check(before, study, again=again)
        reading = Reading(
            number=len(before) + 1,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            trial=trial,
            n_models=n_models,
        )
        _write(session, study, (*before, reading))
    return reading


def end_reading(
    database: Database, study: StoredStudy, reading: Reading, metrics: Mapping[str, float]
) -> None:
    """Note what a reading has found.

    Args:
        database: Where the study is.
        study: The study.
        reading: As `begin_reading` gave it.
        metrics: By name.

    Raises:
        StudyNotFoundError: The study was deleted.
    """
    found = replace(reading, metrics=dict(metrics))
    with database.transaction() as session:
        lock_study(session, study)
        _write(
            session,
            study,
            tuple(found if r.number == reading.number else r for r in _read(session, study)),
        )


def _check(before: tuple[Reading, ...], study: StoredStudy, *, again: bool) -> None:
    if before and not again:
        last = before[-1]
        raise InputError(
            f"The test set of study {study.config.name!r} was read already, at {last.time} for "
            f"trial {last.trial}. What is chosen after looking at it looks better than it is. "
            f"Leave it alone with --no-test, or read it once more with --again: study and "
            f"artifact will say so."
        )


def _read(session: Session, study: StoredStudy) -> tuple[Reading, ...]:
    text = read_note(session, study.study_id, TEST_READINGS)
    return tuple(Reading(**each) for each in json.loads(text)) if text else ()


def _write(session: Session, study: StoredStudy, readings: tuple[Reading, ...]) -> None:
    text = json.dumps([asdict(reading) for reading in readings])
    write_note(session, study.study_id, TEST_READINGS, text)
