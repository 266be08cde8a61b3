"""Studies that a machine's standing workers cannot serve, and why."""

from dataclasses import dataclass

from sqlalchemy import Float, cast, literal, select, update
from sqlalchemy.orm import Session

from tuner.storage.database import Database
from tuner.storage.openings import Opening
from tuner.storage.schema import REFUSALS, STATES, epoch_seconds
from tuner.storage.trial_rows import insert_or_else

#: Seconds until a standing worker tries a study again that it could not serve.
REFUSED_SECONDS = 300.0
#: Seconds after which what a worker said is no news: it has gone, or it works for others.
_STALE_SECONDS = 4 * REFUSED_SECONDS


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A machine that cannot serve a study."""

    #: Its name.
    host: str
    #: Why, for people.
    reason: str
    #: Since a worker there last tried, by the database's clock.
    seconds_ago: float


def refuse(database: Database, study: Opening, *, host: str, reason: str) -> None:
    """Note that a machine cannot serve a study; of a deleted study nothing is noted.

    Args:
        database: Where it is.
        study: Which one.
        host: Name of the machine.
        reason: Why, for people.
    """
    row = {
        "study_id": STATES.c.study_id,
        "host": literal(host),
        "reason": literal(reason),
        "refused_at": epoch_seconds(),
    }
    there = STATES.c.study_id == study.study_id, STATES.c.key == study.key
    with database.transaction() as session:
        noted = insert_or_else(session, REFUSALS).from_select(
            list(row), select(*row.values()).where(*there)
        )
        news = {name: noted.excluded[name] for name in ("reason", "refused_at")}
        session.execute(noted.on_conflict_do_update(index_elements=["study_id", "host"], set_=news))


def accept(database: Database, study: Opening, *, host: str) -> None:
    """Note that a machine serves a study, whatever its workers said before."""
    said = REFUSALS.c.study_id == study.study_id, REFUSALS.c.host == host
    with database.transaction() as session:
        session.execute(
            update(REFUSALS).where(*said, REFUSALS.c.reason.is_not(None)).values(reason=None)
        )


def read_refusals(session: Session, study_id: int) -> tuple[Refusal, ...]:
    """List the machines that lately could not serve a study, by name."""
    seconds_ago = cast(epoch_seconds() - REFUSALS.c.refused_at, Float)
    rows = session.execute(
        select(REFUSALS.c.host, REFUSALS.c.reason, seconds_ago.label("seconds_ago"))
        .where(
            REFUSALS.c.study_id == study_id,
            REFUSALS.c.reason.is_not(None),
            seconds_ago < _STALE_SECONDS,
        )
        .order_by(REFUSALS.c.host)
    )
    return tuple(
        Refusal(host=row.host, reason=row.reason, seconds_ago=row.seconds_ago) for row in rows
    )
