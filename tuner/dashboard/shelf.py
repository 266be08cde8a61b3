"""The studies of a database that somebody looks at, each read once for all who look."""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.study.study import _SYSTEM_ATTR_METRIC_NAMES
from sqlalchemy import select
from sqlalchemy.orm import Session

from tuner.dashboard.trials import StudyTrials
from tuner.storage import Database, SlotCounts
from tuner.storage.remaining import count_slots
from tuner.storage.schema import CONFIGS, STATES

#: Trials that are kept in memory; of studies beyond that nothing is kept between two looks.
MAX_TRIALS = 100_000


@dataclass(frozen=True, kw_only=True)
class OurStudy:
    """What tuner knows of a study that it made."""

    #: Its name.
    name: str
    #: What it is judged by, the most important first.
    objectives: tuple[str, ...]
    #: Sizes that a model may not exceed.
    limits: tuple[str, ...]
    #: Slots by state.
    slots: SlotCounts
    #: ``stopped``, ``hours``, ``gain`` or ``bug`` where it ended before its budget was used up.
    ended: str | None


class Seen:
    """One study, as it was read last; to be used by one thread at a time.

    Args:
        study_id: Optuna's id of it.
    """

    def __init__(self, study_id: int) -> None:
        self.study_id = study_id
        #: Name, directions and attributes.
        self.study: FrozenStudy
        #: Its trials.
        self.trials = StudyTrials(study_id)
        #: None for a study that tuner did not make.
        self.ours: OurStudy | None = None
        #: What others keep beside it, for as long as it is the same study.
        self.kept: dict[str, Any] = {}
        self.lock = threading.RLock()
        self._identity: object = None

    def renew(self, database: Database) -> None:
        """Read what changed.

        Raises:
            KeyError: The study is gone.
        """
        with database.transaction() as session:
            found = read_studies(session, self.study_id)
            if found:
                self.study = found[0]
                self.ours = _read_ours(session, self.study)
            directions = self.study.directions if found else ()
            limits = self.ours.limits if self.ours is not None else ()
            if not self.trials.renew(session, directions, limits):
                raise KeyError(self.study_id)
        if self._identity != self.trials.identity:
            self._identity = self.trials.identity
            self.kept.clear()


class Shelf:
    """The studies that are looked at.

    Args:
        database: Where they are.
        replaced: Called where an id belongs to another study than before, or to none any more.
    """

    def __init__(self, database: Database, replaced: Callable[[], None]) -> None:
        self.database = database
        self._replaced = replaced
        self._lock = threading.Lock()
        self._seen: OrderedDict[int, Seen] = OrderedDict()
        self._identities: dict[int, object] = {}

    @contextmanager
    def look(self, study_id: int) -> Iterator[Seen]:
        """Give a study as it is now; others who look at it wait.

        Raises:
            KeyError: There is none.
        """
        with self._lock:
            seen = self._seen.setdefault(study_id, Seen(study_id))
            self._seen.move_to_end(study_id)
        with seen.lock:
            try:
                seen.renew(self.database)
            except KeyError:
                with self._lock:
                    self._seen.pop(study_id, None)
                raise
            finally:
                self._compare(study_id, seen.trials.identity)
            self._tidy(study_id)
            yield seen

    def _compare(self, study_id: int, identity: object) -> None:
        with self._lock:
            before = self._identities.pop(study_id, None)
            if identity is not None:
                self._identities[study_id] = identity
        if before is not None and before != identity:
            self._replaced()

    def _tidy(self, newest: int) -> None:
        """Put back what was looked at longest ago, where there is too much of it."""
        with self._lock:
            n_trials = sum(len(seen.trials.trials) for seen in self._seen.values())
            for study_id in list(self._seen):
                if n_trials <= MAX_TRIALS:
                    break
                if study_id != newest:
                    n_trials -= len(self._seen.pop(study_id).trials.trials)


def read_studies(session: Session, study_id: int | None = None) -> list[FrozenStudy]:
    """Read names, directions and attributes of all studies, or of one, by id."""
    tables = (
        models.StudyDirectionModel.__table__,
        models.StudyUserAttributeModel.__table__,
        models.StudySystemAttributeModel.__table__,
    )
    found: list[dict[int, list[Any]]] = [{}, {}, {}]
    columns = ("objective", "direction"), ("key", "value_json"), ("key", "value_json")
    for rows, table, names in zip(found, tables, columns, strict=True):
        statement = select(table.c.study_id, *(table.c[name] for name in names))
        if study_id is not None:
            statement = statement.where(table.c.study_id == study_id)
        for owner, *cells in session.execute(statement):
            rows.setdefault(owner, []).append(tuple(cells))
    study = models.StudyModel
    named = select(study.study_id, study.study_name).order_by(study.study_id)
    if study_id is not None:
        named = named.where(study.study_id == study_id)
    directions, user, system = found
    return [
        FrozenStudy(
            study_name=row.study_name,
            direction=None,
            directions=_directions(directions.get(row.study_id, ())),
            user_attrs={key: json.loads(text) for key, text in user.get(row.study_id, ())},
            system_attrs={key: json.loads(text) for key, text in system.get(row.study_id, ())},
            study_id=row.study_id,
        )
        for row in session.execute(named)
    ]


def _directions(rows: Sequence[tuple[int, StudyDirection]]) -> list[StudyDirection]:
    return [direction for _, direction in sorted(rows, key=lambda row: row[0])]


def _read_ours(session: Session, study: FrozenStudy) -> OurStudy | None:
    """Read what only tuner knows, and let the plots name what is judged."""
    newest = (
        select(CONFIGS.c.config, STATES.c.ended)
        .join(STATES, STATES.c.study_id == CONFIGS.c.study_id)
        .where(CONFIGS.c.study_id == study._study_id)
        .order_by(CONFIGS.c.version.desc())
        .limit(1)
    )
    row = session.execute(newest).one_or_none()
    if row is None:
        return None
    config = json.loads(row.config)
    objectives = config.get("metrics") or [config["metric"]]
    study.system_attrs.setdefault(_SYSTEM_ATTR_METRIC_NAMES, objectives)
    return OurStudy(
        name=study.study_name,
        objectives=tuple(objectives),
        limits=tuple(config.get("constraints", ())),
        slots=count_slots(session, study._study_id),
        ended=row.ended,
    )
