"""Look at a database from outside, whatever is in it: how fast, whose, how safe."""

import statistics
import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, select, text

from tuner.errors import InputError
from tuner.storage.address import parse_url
from tuner.storage.database import Database
from tuner.storage.engines import LOCK_TIMEOUT, temporary_engine
from tuner.storage.schema import SLOTS, STUDIES, TRIALS, VERSION, epoch_seconds
from tuner.storage.trouble import translated
from tuner.storage.versions import check_versions, optuna_version, our_version

#: Round trips that are measured.
N_ROUND_TRIPS = 7


@dataclass(frozen=True, kw_only=True)
class Rights:
    """What a Postgres role may do."""

    #: The role.
    user: str
    #: Whether tuner's tables are there.
    has_tables: bool
    #: Whether it may make tables.
    may_create: bool
    #: Whether it may read studies.
    may_read: bool
    #: Whether it may run trials.
    may_write: bool
    #: Whether it may delete studies.
    may_delete: bool


@dataclass(frozen=True, kw_only=True)
class Server:
    """A Postgres server, and the connection to it."""

    #: Its version, such as ``15.8``.
    version: str
    #: What the connected role may do.
    rights: Rights
    #: Where it was reached: a host, an address, or the folder of a socket on this machine.
    host: str
    #: Whether the connection is encrypted.
    is_encrypted: bool
    #: How much of that was asked for, as ``sslmode``.
    ssl_mode: str
    #: Clients at this moment, in all databases of the server.
    n_connections: int
    #: Clients that ordinary roles can be at once.
    max_connections: int


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What there is to know of a database."""

    #: Median seconds from a question to its answer.
    round_trip: float
    #: Seconds by which its clock is ahead of ours, half a round trip corrected.
    clock_ahead: float
    #: The server; None for a file.
    server: Server | None
    #: Version of tuner's tables; None where there are none, or they cannot be read.
    schema: int | None
    #: Version of Optuna's tables; None likewise.
    optuna: str | None
    #: Why this tuner cannot use these versions, and what to do; empty where it can.
    misfit: str


def inspect_database(url: str) -> Inspection:
    """Connect by the URL, with none of tuner's settings, and look; nothing is changed.

    Args:
        url: Of a server, or of a file that is there: SQLite would make it.

    Raises:
        InputError: The URL is none, or what is there lets nobody look.
        StorageUnavailableError: It does not answer.
    """
    parsed = parse_url(url)
    is_server = parsed.get_backend_name() == "postgresql"
    with translated(url), temporary_engine(parsed, LOCK_TIMEOUT) as engine:
        with engine.connect() as connection:
            trips = [_ask_the_time(connection) for _ in range(N_ROUND_TRIPS)]
            server = _server(connection) if is_server else None
        schema, optuna, misfit = None, None, ""
        if server is None or server.rights.may_read:
            schema, optuna, misfit = _versions(engine)
    return Inspection(
        round_trip=statistics.median(seconds for seconds, _ in trips),
        clock_ahead=min(trips)[1],  # the quickest one leaves the least doubt
        server=server,
        schema=schema,
        optuna=optuna,
        misfit=misfit,
    )


def _versions(engine: Engine) -> tuple[int | None, str | None, str]:
    try:
        check_versions(engine)
    except InputError as error:
        misfit = str(error)
    else:
        misfit = ""
    return our_version(engine), optuna_version(engine), misfit


def _ask_the_time(connection: Connection) -> tuple[float, float]:
    """Give the seconds that it took, and those by which the database's clock is ahead."""
    wall, begin = time.time(), time.monotonic()
    theirs: float = connection.execute(select(epoch_seconds())).scalar_one()
    seconds = time.monotonic() - begin
    return seconds, theirs - (wall + seconds / 2)


def _server(connection: Connection) -> Server:
    driver: Any = connection.connection.driver_connection  # psycopg's own
    row = connection.execute(
        text(
            "SELECT current_setting('server_version') AS version,"
            " (SELECT count(*) FROM pg_stat_activity"
            "  WHERE backend_type = 'client backend') AS clients,"
            " current_setting('max_connections')::int"
            " - current_setting('superuser_reserved_connections')::int"
            " - coalesce(current_setting('reserved_connections', true)::int, 0) AS most"
        )
    ).one()
    options = {option.keyword: option.val for option in driver.pgconn.info}
    return Server(
        version=row.version.partition(" ")[0],
        rights=_rights(connection),
        host=driver.info.host,
        is_encrypted=bool(driver.pgconn.ssl_in_use),
        ssl_mode=(options.get(b"sslmode") or b"prefer").decode(),
        n_connections=row.clients,
        max_connections=row.most,
    )


def _rights(connection: Connection) -> Rights:
    def may(right: str, *tables: sqlalchemy.Table) -> str:
        # A table that is not there has no oid, and the right to it is NULL.
        each = (f"has_table_privilege(to_regclass('{table.name}'), '{right}')" for table in tables)
        return f"coalesce({' AND '.join(each)}, false)"

    read = may("SELECT", VERSION, SLOTS, STUDIES, TRIALS)
    write = f"{may('INSERT', TRIALS, SLOTS)} AND {may('UPDATE', TRIALS, SLOTS)}"
    row = connection.execute(
        text(
            f"SELECT current_user, to_regclass('{VERSION.name}') IS NOT NULL,"
            f" coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),"
            f" {read}, {write}, {may('DELETE', STUDIES)}"
        )
    ).one()
    user, has_tables, may_create, may_read, may_write, may_delete = row
    return Rights(
        user=user,
        has_tables=has_tables,
        may_create=may_create,
        may_read=may_read,
        may_write=may_write,
        may_delete=may_delete,
    )


def journal_mode(database: Database) -> str:
    """Read how SQLite keeps a file whole: ``wal``, where it could do what tuner asked for."""
    with database.transaction() as session:
        return str(session.execute(text("PRAGMA journal_mode")).scalar_one())


def machines(database: Database) -> set[str]:
    """List the machines whose workers have held slots, as `tuner.host` names them."""
    with database.transaction() as session:
        return set(session.scalars(select(SLOTS.c.machine).where(SLOTS.c.machine.is_not(None))))
