"""Which studies have something to do, asked with one narrow statement, however many there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, case, func, or_, select

from tuner.errors import StudyNotFoundError
from tuner.host import Holder
from tuner.storage.adoption import HeldSlot, Watch
from tuner.storage.claiming import held_columns, held_slot, is_suspect
from tuner.storage.configuration import newest_version, read_shape
from tuner.storage.database import Database
from tuner.storage.schema import SLOTS, STATES, STUDIES
from tuner.storage.trouble import translated
from tuner.storage.values import StoredStudy


@dataclass(frozen=True, kw_only=True)
class Opening:
    """A study that is not over, as a worker sees it that holds none of its slots."""

    #: Optuna's id of the study; older studies have smaller ones.
    study_id: int
    #: Random: SQLite gives the ids of deleted studies anew.
    key: str
    #: Its name at the moment.
    name: str
    #: Slots that may be claimed.
    n_free: int
    #: Slots that workers hold, also those who died over it.
    n_held: int
    #: Of these, those whose lease has run out or whose holder is on this machine.
    suspects: tuple[HeldSlot, ...]

    @property
    def has_silent_holder(self) -> bool:
        """Whether a lease has run out that nobody has taken over yet."""
        return any(slot.expired for slot in self.suspects)

    def has_something(self, watch: Watch) -> bool:
        """Say whether there is a slot to claim.

        Args:
            watch: What was seen of the study's leases; gets to know what is seen now.
        """
        abandoned = watch.adoptable(self.suspects)
        return self.n_free > 0 or bool(abandoned)


def read_opening(database: Database, study: StoredStudy, holder: Holder) -> Opening | None:
    """Look at one study; None where nothing is left to do in it.

    Args:
        database: Where it is.
        study: Which one.
        holder: Who asks.
    """
    same = STATES.c.study_id == study.study_id, STATES.c.key == study.key
    return next(iter(_read(database, _select(holder, *same))), None)


def read_openings(database: Database, holder: Holder) -> tuple[Opening, ...]:
    """Look at all studies in which something is left to do, oldest first.

    Args:
        database: Where they are.
        holder: Who asks.
    """
    return _read(database, _select(holder))


def find_opened(database: Database, opening: Opening) -> StoredStudy:
    """Read the study of an opening, whatever its name is now.

    Raises:
        StudyNotFoundError: Somebody has deleted it.
        InputError: It was made by a tuner that knows more than this one.
    """
    same = STATES.c.study_id == opening.study_id, STATES.c.key == opening.key
    with database.transaction() as session:
        if session.execute(select(STATES.c.key).where(*same)).one_or_none() is None:
            raise StudyNotFoundError("The study is not in the database any more.")
        config = newest_version(session, opening.study_id).config
        shape = read_shape(session, opening.study_id)
    return StoredStudy(study_id=opening.study_id, key=opening.key, config=config, shape=shape)


def _select(holder: Holder, *which: ColumnElement[bool]) -> Select[Any]:
    """Count each study's slots, and join to it the held ones that have to be looked at."""
    is_held = SLOTS.c.state == "held"
    is_free = and_(
        SLOTS.c.state == "free", or_(SLOTS.c.trial_id.is_not(None), STATES.c.ended.is_(None))
    )
    counts = (
        select(
            STATES.c.study_id,
            STATES.c.key,
            STUDIES.c.study_name.label("name"),
            func.count(case((is_free, 1))).label("n_free"),
            func.count(case((is_held, 1))).label("n_held"),
        )
        .join(SLOTS, SLOTS.c.study_id == STATES.c.study_id)
        .join(STUDIES, STUDIES.c.study_id == STATES.c.study_id)
        .where(SLOTS.c.state.in_(("free", "held")), or_(is_held, is_free), *which)
        .group_by(STATES.c.study_id, STATES.c.key, STUDIES.c.study_name)
        .subquery()
    )
    held = SLOTS.alias("suspects")
    is_its = and_(held.c.study_id == counts.c.study_id, is_suspect(held, holder))
    return (
        select(counts, *held_columns(held))
        .join(held, is_its, isouter=True)
        .order_by(counts.c.study_id, held.c.slot)
    )


def _read(database: Database, statement: Select[Any]) -> tuple[Opening, ...]:
    # One statement needs no transaction around it.
    with translated(database.name), database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        rows = connection.execute(statement).all()
    return tuple(_opening(list(found)) for _, found in groupby(rows, key=lambda row: row.study_id))


def _opening(rows: Sequence[Row[Any]]) -> Opening:
    first = rows[0]
    return Opening(
        study_id=first.study_id,
        key=first.key,
        name=first.name,
        n_free=first.n_free,
        n_held=first.n_held,
        suspects=tuple(held_slot(row) for row in rows if row.slot is not None),
    )
