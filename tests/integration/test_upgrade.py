"""Databases of older versions become of this one with all their rows, or stay as they are."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy
from click.testing import CliRunner
from optuna.storages import RDBStorage
from sqlalchemy import select, text

from tests import postgres
from tests.conftest import StudyMaker
from tests.every_kind import copy, fill_own
from tests.integration.test_copy import told
from tests.integration.test_storage import open_slot, slots_of
from tests.integration.test_views import COLUMNS
from tests.postgres import Administrator
from tests.workers import make_worker
from tuner.cli import main
from tuner.errors import InputError, TunerError
from tuner.results import progress
from tuner.storage import Database, copy_study, create_study, delete_study, find_study, upgrade
from tuner.storage.address import parse_url
from tuner.storage.creation import all_names
from tuner.storage.roles import OWNER, READER, WORKER, role_statements
from tuner.storage.schema import METADATA, SCHEMA_VERSION, SLOTS, VERSION
from tuner.storage.upgrade import STEPS

#: Tuner's tables of version 2, as `tuner create` made them then. Version 3 had them, too.
VERSION_2 = """
CREATE TABLE tuner_configs (
    study_id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    config TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (study_id, version),
    FOREIGN KEY (study_id) REFERENCES studies (study_id) ON DELETE CASCADE
);
CREATE TABLE tuner_states (
    study_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT,
    versions TEXT,
    ended TEXT,
    message TEXT,
    resumed_at DOUBLE PRECISION NOT NULL,
    spent_seconds DOUBLE PRECISION NOT NULL,
    counted_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (study_id),
    FOREIGN KEY (study_id) REFERENCES studies (study_id) ON DELETE CASCADE,
    UNIQUE (key)
);
CREATE TABLE tuner_slots (
    study_id INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    state TEXT NOT NULL,
    trial_id INTEGER,
    planned TEXT,
    origin TEXT,
    point TEXT,
    params TEXT,
    token BIGINT,
    worker TEXT,
    machine TEXT,
    pid BIGINT,
    pid_started DOUBLE PRECISION,
    attempts INTEGER NOT NULL,
    micro_batches INTEGER NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    closed_at DOUBLE PRECISION,
    PRIMARY KEY (study_id, slot),
    FOREIGN KEY (study_id) REFERENCES studies (study_id) ON DELETE CASCADE,
    UNIQUE (trial_id),
    FOREIGN KEY (trial_id) REFERENCES trials (trial_id) ON DELETE SET NULL
);
CREATE UNIQUE INDEX tuner_slots_point ON tuner_slots (study_id, point);
CREATE INDEX tuner_slots_state ON tuner_slots (study_id, state);
CREATE TABLE tuner_schema (version INTEGER NOT NULL, PRIMARY KEY (version))
"""
#: Views were new in version 3; what they said then does not matter.
VERSION_3 = f"{VERSION_2};" + ";".join(f"CREATE VIEW {name} AS SELECT 1 AS old" for name in COLUMNS)
#: Undoes Optuna's last migration.
OPTUNA_BEFORE = "DROP INDEX ix_trials_study_id; UPDATE alembic_version SET version_num = 'v3.0.0.d'"


def run(url: str, script: str) -> None:
    engine = sqlalchemy.create_engine(parse_url(url))
    with engine.begin() as connection:
        for statement in script.split(";"):
            connection.execute(text(statement))
    engine.dispose()


def make_old(url: str, version: int, *, with_optuna_before: bool = False) -> str:
    """Make tables of an older version."""
    engine = sqlalchemy.create_engine(parse_url(url))
    theirs = [table for name, table in METADATA.tables.items() if not name.startswith("tuner_")]
    METADATA.create_all(engine, theirs)
    engine.dispose()
    plain = parse_url(url).render_as_string(hide_password=False)
    storage = RDBStorage(plain, skip_table_creation=True)  # writes its version
    storage.remove_session()
    storage.engine.dispose()
    run(url, VERSION_2 if version == 2 else VERSION_3)
    run(url, f"INSERT INTO tuner_schema VALUES ({version})")  # noqa: S608
    if with_optuna_before:
        run(url, OPTUNA_BEFORE)
    return url


@pytest.mark.parametrize(("version", "with_optuna_before"), [(2, True), (3, False)])
def test_an_old_database_is_refused_until_it_is_upgraded_and_then_goes_on(
    database: Database,
    empty_url: str,
    toy: StudyMaker,
    version: int,
    with_optuna_before: bool,
) -> None:
    study = fill_own(database, toy)
    with database.transaction() as session:
        session.execute(
            sqlalchemy.update(SLOTS).where(SLOTS.c.state == "held").values(state="free")
        )
    make_old(empty_url, version, with_optuna_before=with_optuna_before)
    with Database(parse_url(empty_url), 20.0) as old:
        copy_study(database, study, old, name="toy", key="the same study")
    for create in (False, True):
        with pytest.raises(InputError, match=f"version {version} of tuner's.*`tuner upgrade`"):
            Database.open(empty_url, create=create)

    done = CliRunner().invoke(main, ["upgrade"], env={"TUNER_STORAGE": empty_url})
    again = upgrade(empty_url)

    assert done.exit_code == 0, done.output
    assert f"tuner's tables: version {version} -> {SCHEMA_VERSION}" in done.stderr
    assert ("Optuna's tables: version v3.0.0.d -> v3.2.0.a" in done.stderr) == with_optuna_before
    assert (again.done, again.missing) == ((), ())
    with Database.open(empty_url) as upgraded:
        for view in COLUMNS:
            assert told(upgraded, view) == told(database, view)
        indexes = sqlalchemy.inspect(upgraded.engine).get_indexes("trials")
        assert [index["column_names"] for index in indexes] == [["study_id"]]
        study = find_study(upgraded, "toy")
        make_worker(upgraded, study, "reporting").run()
        assert progress(upgraded, study).is_over
        delete_study(upgraded, study)
        for table in METADATA.tables.values():
            if table.name not in {VERSION.name, "version_info"}:
                with upgraded.transaction() as session:
                    assert session.execute(select(table)).first() is None


def test_processes_that_upgrade_at_once_do_it_once(empty_url: str) -> None:
    make_old(empty_url, 2, with_optuna_before=True)

    with ThreadPoolExecutor(max_workers=3) as threads:
        results = list(threads.map(upgrade, [empty_url] * 3))

    versions = [line for result in results for line in result.done if " -> " in line]
    assert len(versions) == 2
    assert sorted(bool(result.done) for result in results) == [False, False, True]
    Database.open(empty_url).close()


def test_nothing_is_upgraded_while_a_worker_holds_a_trial(
    database: Database, empty_url: str, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    claim = open_slot(database, study, slots_of(database, study, "w1"))
    make_old(empty_url, 3)
    with Database(parse_url(empty_url), 20.0) as old:
        copy(database, old)

    with pytest.raises(InputError, match=r"1 trial is running in this database, by w1 \(toy\)"):
        upgrade(empty_url)

    with Database(parse_url(empty_url), 20.0) as old, old.transaction() as session:
        assert session.scalar(select(VERSION)) == 3
        # It has died: nobody has to wait for it.
        session.execute(sqlalchemy.update(SLOTS).values(expires_at=1.0))
    assert upgrade(empty_url).done[-1] == f"tuner's tables: version 3 -> {SCHEMA_VERSION}"
    with Database.open(empty_url) as upgraded:
        (trial,) = upgraded.storage.get_all_trials(find_study(upgraded, "toy").study_id)
        assert trial.params == database.storage.get_all_trials(study.study_id)[0].params
        assert trial.number == claim.number


def test_an_upgrade_that_fails_half_way_changes_nothing(empty_url: str) -> None:
    make_old(empty_url, 3)
    run(empty_url, "CREATE TABLE tuner_refusals (theirs INTEGER)")

    with pytest.raises(TunerError, match="already exists"):
        upgrade(empty_url)

    with Database(parse_url(empty_url), 20.0) as old, old.transaction() as session:
        assert session.scalar(select(VERSION)) == 3
        assert [session.scalar(text(f"SELECT old FROM {view}")) for view in COLUMNS] == [1] * 6  # noqa: S608


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("UPDATE tuner_schema SET version = 99", "99 of tuner's tables.*Install the tuner"),
        ("UPDATE tuner_schema SET version = 1", "version 1 of tuner's"),
        ("UPDATE alembic_version SET version_num = 'v99.0.0.a'", "v99.0.0.a of Optuna's.*Install"),
    ],
)
def test_a_database_that_cannot_be_upgraded_is_left_alone(
    storage_url: str, script: str, why: str
) -> None:
    run(storage_url, f"{script}; DROP VIEW tuner_params")

    for attempt in (upgrade, Database.open, lambda url: Database.open(url, create=True)):
        with pytest.raises(InputError, match=why):
            attempt(storage_url)

    with Database(parse_url(storage_url), 20.0) as still:
        assert "tuner_params" not in sqlalchemy.inspect(still.engine).get_view_names()


def test_older_tables_of_optunas_alone_are_told_at_opening_and_upgraded(storage_url: str) -> None:
    run(storage_url, OPTUNA_BEFORE)
    with pytest.raises(InputError, match=r"v3\.0\.0\.d of Optuna's tables.*`tuner upgrade`"):
        Database.open(storage_url)

    assert upgrade(storage_url).done == ("Optuna's tables: version v3.0.0.d -> v3.2.0.a",)

    with Database.open(storage_url) as database:
        there = sqlalchemy.inspect(database.engine)
        assert {*there.get_table_names(), *there.get_view_names()} >= {*all_names()}


def test_where_there_is_nothing_to_upgrade_it_is_said(storage_url: str, empty_url: str) -> None:
    current = CliRunner().invoke(main, ["upgrade"], env={"TUNER_STORAGE": storage_url})
    nothing = CliRunner().invoke(main, ["upgrade"], env={"TUNER_STORAGE": empty_url})

    assert (current.exit_code, nothing.exit_code) == (0, 2)
    assert "is of this version already" in current.stderr


def test_there_is_a_way_from_every_version_to_this_one() -> None:
    assert sorted(STEPS) == list(range(2, SCHEMA_VERSION))


@pytest.fixture(scope="module")
def _server() -> Iterator[Administrator]:
    with postgres.administered() as administrator:
        yield administrator


@pytest.fixture
def server(_server: Administrator) -> Iterator[Administrator]:
    yield _server
    _server.forget()


@pytest.mark.parametrize("maker_may_make_groups", [True, False])
def test_tables_from_before_the_groups_go_to_their_owner_and_any_member_upgrades_later(
    server: Administrator, toy: StudyMaker, maker_may_make_groups: bool
) -> None:
    more = "CREATEROLE" if maker_may_make_groups else ""
    server.run(f"CREATE ROLE maker LOGIN {more}", "CREATE DATABASE made OWNER maker")
    url = make_old(server.seen_by("maker", "made"), 3)
    first = upgrade(url)
    if not maker_may_make_groups:
        assert first.missing == role_statements("made", "public", "maker")
        server.run(*first.missing, database="made")
        first = upgrade(url)

    assert first.done[0].endswith(f"belong to the group {OWNER} now")
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert server.ask(owners, "made") == [OWNER]
    server.run(
        f"CREATE ROLE other LOGIN IN ROLE {OWNER}",
        f"CREATE ROLE w1 LOGIN IN ROLE {WORKER}",
        f"CREATE ROLE ana LOGIN IN ROLE {READER}",
    )
    with Database.open(server.seen_by("w1", "made"), create=True) as database:
        study = create_study(database, toy("budget.trials=1")).study
        make_worker(database, study, "reporting").run()
    with Database.open(server.seen_by("ana", "made")) as database:
        assert told(database, "tuner_trials").total() == 1
    # A later version comes.
    run(server.seen_by("other", "made"), "UPDATE tuner_schema SET version = 3")
    run(server.seen_by("other", "made"), "DROP TABLE tuner_refusals")
    run(server.seen_by("other", "made"), "DROP TABLE tuner_shapes, tuner_evaluations CASCADE")
    with pytest.raises(InputError, match=f"changing tables one in {OWNER}"):
        upgrade(server.seen_by("w1", "made"))
    assert upgrade(server.seen_by("other", "made")).done == (
        f"tuner's tables: version 3 -> {SCHEMA_VERSION}",
    )
    assert server.ask(owners, "made") == [OWNER]
    with Database.open(server.seen_by("ana", "made")) as database:
        assert told(database, "tuner_trials").total() == 1
    assert upgrade(server.seen_by("w1", "made")).done == ()
