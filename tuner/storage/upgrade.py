"""Tables of an older version become those of this one, with all their rows."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from optuna.storages import RDBStorage
from sqlalchemy import Connection, Engine, Enum, inspect, select, text, update

from tuner.errors import EmptyStorageError, InputError
from tuner.storage.address import parse_url, shown
from tuner.storage.creation import all_names, create_triggers, is_whole, one_at_a_time
from tuner.storage.dialects import DIALECTS
from tuner.storage.engines import (
    LOCK_TIMEOUT,
    check_file,
    configure,
    engine_kwargs,
    temporary_engine,
)
from tuner.storage.roles import (
    OWNER,
    apply_roles,
    as_owner,
    belongs_to_group,
    can_be_owner,
    hand_over,
)
from tuner.storage.schema import (
    EVALUATIONS,
    METADATA,
    REFUSALS,
    SCHEMA_VERSION,
    SHAPES,
    SLOTS,
    STUDIES,
    VERSION,
    epoch_seconds,
)
from tuner.storage.trouble import translated
from tuner.storage.versions import ages, our_version
from tuner.storage.views import create_views, queries


def _nothing(_connection: Connection) -> None:
    """Views alone are new: they are made again after every upgrade."""


def _tables_of_objectives(connection: Connection) -> None:
    for table in (SHAPES, EVALUATIONS):
        # The type of a column is there: it is Optuna's.
        table.create(connection, checkfirst=True)


#: From each version to the one after it. A table that is made here stays as that version had it,
#: whatever later ones add to it.
STEPS: dict[int, Callable[[Connection], None]] = {
    2: _nothing,
    3: REFUSALS.create,
    4: _tables_of_objectives,
}


@dataclass(frozen=True, kw_only=True)
class Upgraded:
    """What `upgrade` did."""

    #: For people, in order; empty where all was of this version.
    done: tuple[str, ...]
    #: SQL for an administrator, where the groups of users are missing; else empty.
    missing: tuple[str, ...]


def upgrade(url: str) -> Upgraded:
    """Bring a database to this version: tuner's tables, Optuna's, and whose they are.

    One process does it, however many ask. Ours change all or not at all; Optuna's before them do
    on Postgres.

    Args:
        url: The database's.

    Raises:
        EmptyStorageError: There is nothing there.
        InputError: It is newer, or workers are at it, or the user may not change the tables.
        StorageUnavailableError: The database does not answer.
    """
    parsed = parse_url(url)
    check_file(parsed, create=False)
    with translated(url), temporary_engine(parsed, LOCK_TIMEOUT) as engine:
        found = ages(engine)
        if not found:
            raise EmptyStorageError(f"{shown(url)} has no studies: there is nothing to upgrade.")
        for age in found:
            if age.is_newer:
                raise InputError(age.message)
            if age.maker == "tuner" and age.found not in {*STEPS, SCHEMA_VERSION}:
                raise InputError(
                    f"{shown(url)} holds version {age.found} of tuner's tables, from before there "
                    f"were upgrades. Begin with another storage."
                )
        configure(engine, LOCK_TIMEOUT)
        with one_at_a_time(engine):
            return _upgrade(engine)


def _upgrade(engine: Engine) -> Upgraded:
    done: list[str] = []
    missing: tuple[str, ...] = ()
    older = [age for age in ages(engine) if age.is_older]  # somebody else may have been first
    if older:
        with engine.begin() as connection:
            _refuse_while_held(connection)
    url = engine.url
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            given, missing = _give_to_group(connection)
            if can_be_owner(connection):
                url = as_owner(url)
        if given:
            done.append(f"{len(given)} tables, views and types belong to the group {OWNER} now")
    with temporary_engine(url, LOCK_TIMEOUT) as changing:
        configure(changing, LOCK_TIMEOUT)
        if any(age.maker == "Optuna" for age in older):
            _upgrade_optuna(changing)
        version = our_version(changing)
        if version is not None and not is_whole(changing):
            _upgrade_ours(changing, version)
    done += [f"{age.maker}'s tables: version {age.found} -> {age.needed}" for age in older]
    return Upgraded(done=tuple(done), missing=missing)


def _refuse_while_held(connection: Connection) -> None:
    if not inspect(connection).has_table(SLOTS.name):
        return
    held = connection.execute(
        select(STUDIES.c.study_name, SLOTS.c.worker)
        .join(SLOTS, SLOTS.c.study_id == STUDIES.c.study_id)
        .where(SLOTS.c.state == "held", SLOTS.c.expires_at > epoch_seconds())
        .order_by(STUDIES.c.study_name, SLOTS.c.slot)
    ).all()
    if held:
        listed = ", ".join(f"{worker} ({study})" for study, worker in held[:10])
        raise InputError(
            f"{len(held)} {'trial is' if len(held) == 1 else 'trials are'} running in this "
            f"database, by {listed}. Stop the workers first, with Ctrl-C or SIGTERM: they hand "
            f"their trials back, and newer ones go on with them."
        )


def _give_to_group(connection: Connection) -> tuple[Collection[str], tuple[str, ...]]:
    """Let the owner group have everything; give what it got, or what an administrator has to run.

    What belongs to it already stays as it is: what an administrator took away, stays away.
    """
    if belongs_to_group(connection, STUDIES.name):
        return (), ()
    missing = apply_roles(connection)
    if missing:
        return (), missing
    columns = (column for table in METADATA.tables.values() for column in table.columns)
    types = {column.type.name for column in columns if isinstance(column.type, Enum)}
    return hand_over(connection, [*all_names(), *(name for name in types if name)]), ()


def _upgrade_optuna(engine: Engine) -> None:
    with engine.begin() as connection:
        _drop_views(connection)  # tables that a view reads cannot be changed
    plain = engine.url.render_as_string(hide_password=False)
    storage = RDBStorage(
        plain,
        engine_kwargs=engine_kwargs(engine.url, LOCK_TIMEOUT),
        skip_compatibility_check=True,
        skip_table_creation=True,
    )
    try:
        storage.upgrade()
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _upgrade_ours(engine: Engine, version: int) -> None:
    """Change our tables and make the views anew, in one transaction."""
    is_file = engine.dialect.name == "sqlite"
    # Python's SQLite begins a transaction only at the first row that is written.
    alone = "BEGIN IMMEDIATE" if is_file else f"LOCK TABLE {SLOTS.name} IN ACCESS EXCLUSIVE MODE"
    with engine.begin() as connection:
        connection.execute(text(alone))
        if version < SCHEMA_VERSION:
            _refuse_while_held(connection)
        _drop_views(connection)
        for step in range(version, SCHEMA_VERSION):
            STEPS[step](connection)
        connection.execute(update(VERSION).values(version=SCHEMA_VERSION))
        create_views(connection)
        if is_file:
            create_triggers(connection)


def _drop_views(connection: Connection) -> None:
    there = set(inspect(connection).get_view_names())
    for name in queries(DIALECTS[connection.dialect.name]):
        if name in there:
            connection.execute(text(f"DROP VIEW {name}"))
