"""What is kept of how a study came about: its configurations, its data, its versions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select

from tuner.config import StudyConfig
from tuner.storage import Database, StoredStudy
from tuner.storage.schema import CONFIGS, STATES


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """A configuration that was in force for a time."""

    #: From 1.
    version: int
    #: Since when, UTC.
    since: datetime
    #: The whole study.
    config: StudyConfig


@dataclass(frozen=True, kw_only=True)
class Record:
    """How a study came about."""

    #: Its configurations, oldest first; the last one is in force.
    configurations: tuple[Configuration, ...]
    #: Of the prepared data; None before the first trial.
    fingerprint: str | None
    #: Package to version, of the first worker.
    versions: Mapping[str, str]


def read_record(database: Database, study: StoredStudy) -> Record:
    """Read how a study came about."""
    configs = (
        select(CONFIGS.c.version, CONFIGS.c.created_at, CONFIGS.c.config)
        .where(CONFIGS.c.study_id == study.study_id)
        .order_by(CONFIGS.c.version)
    )
    states = select(STATES.c.fingerprint, STATES.c.versions).where(
        STATES.c.study_id == study.study_id
    )
    with database.transaction() as session:
        found = session.execute(configs).all()
        state = session.execute(states).one_or_none()
    return Record(
        configurations=tuple(
            Configuration(
                version=row.version,
                since=datetime.fromtimestamp(row.created_at, UTC),
                config=StudyConfig.from_json(row.config),
            )
            for row in found
        ),
        fingerprint=state.fingerprint if state else None,
        versions=json.loads(state.versions) if state and state.versions else {},
    )
