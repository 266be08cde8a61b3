"""Who may only read changes nothing, who may only run runs whole studies and no more."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy
from click.testing import CliRunner, Result
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests import postgres
from tests.every_kind import fill_own
from tests.integration.test_views import COLUMNS
from tests.objectives import TOY_STUDY
from tests.postgres import Administrator
from tests.workers import make_worker
from tuner.cli import main
from tuner.errors import InputError
from tuner.results import progress, trials
from tuner.storage import Database, find_study
from tuner.storage.roles import OWNER, READER, WORKER, role_statements
from tuner.study_file import load_study_file


@pytest.fixture(scope="module")
def shared_server() -> Iterator[Administrator]:
    """For all tests that leave the groups as they are."""
    with postgres.administered() as administrator:
        yield administrator


@pytest.fixture(scope="module")
def _other_server() -> Iterator[Administrator]:
    with postgres.administered() as administrator:
        yield administrator


@pytest.fixture
def server(_other_server: Administrator) -> Iterator[Administrator]:
    """For a test that makes the groups."""
    yield _other_server
    _other_server.forget()


@pytest.fixture(scope="module")
def reader_url(shared_server: Administrator, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with a study, as a person sees it who may only read."""
    path = tmp_path_factory.mktemp("reader") / "toy.toml"
    path.write_text(TOY_STUDY)
    with Database.open(shared_server.seen_by("tuner", "postgres"), create=True) as database:
        fill_own(database, lambda *settings: load_study_file(path, settings)[0])
    shared_server.run(
        f"CREATE ROLE ana LOGIN IN ROLE {READER}",
        "CREATE TABLE later AS SELECT 1 AS x",
    )
    return shared_server.seen_by("ana", "postgres")


@pytest.mark.parametrize(
    "words",
    ["list", "status toy", "best toy", "best toy --top 2", "trials toy", "show toy 0"],
)
def test_reading_commands_work_for_a_reader(reader_url: str, words: str) -> None:
    done = CliRunner().invoke(main, words.split(), env={"TUNER_STORAGE": reader_url})

    assert done.exit_code == 0, done.output
    assert done.stdout


@pytest.mark.parametrize("name", [*COLUMNS, "trials", "tuner_slots", "later"])
def test_a_reader_reads_every_view_and_table_and_those_made_later(
    reader_url: str, name: str
) -> None:
    with Database.open(reader_url) as database, database.transaction() as session:
        assert session.execute(text(f"SELECT * FROM {name}")).first() is not None  # noqa: S608


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO tuner_schema VALUES (9)",
        "UPDATE tuner_slots SET worker = 'me'",
        "UPDATE tuner_trials SET value = 1",
        "DELETE FROM trials",
        "TRUNCATE trials",
        "SELECT * FROM trials FOR UPDATE",
        "LOCK TABLE trials IN EXCLUSIVE MODE",
        "DROP VIEW tuner_trials",
        "CREATE OR REPLACE VIEW tuner_trials AS SELECT 1",
        "CREATE TABLE mine (x int)",
        "CREATE TEMPORARY TABLE mine (x int)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE trials ADD COLUMN mine int",
        "CREATE INDEX mine ON trials (state)",
        "CREATE ROLE mine",
    ],
)
def test_a_reader_changes_nothing(reader_url: str, statement: str) -> None:
    engine = sqlalchemy.create_engine(reader_url)

    with (
        engine.connect() as connection,
        pytest.raises(DBAPIError, match=r"permission denied|must be owner|cannot update view"),
    ):
        connection.execute(text(statement))

    engine.dispose()


def test_where_the_user_may_make_no_groups_it_is_told_once_what_an_administrator_runs(
    server: Administrator, caplog: pytest.LogCaptureFixture
) -> None:
    server.run("CREATE ROLE maker LOGIN", "CREATE DATABASE made OWNER maker")
    url = server.seen_by("maker", "made")

    Database.open(url, create=True).close()

    assert not server.roles() & {OWNER, WORKER, READER}
    statements = role_statements("made", "public", "maker")
    assert "\n".join(f"{line};" for line in statements) in caplog.text
    assert "Then maker runs `tuner upgrade`" in caplog.text
    caplog.clear()
    Database.open(url, create=True).close()
    assert caplog.text == ""


def test_rights_that_postgres_refuses_with_a_warning_alone_are_not_taken_for_given(
    server: Administrator,
) -> None:
    server.run("CREATE ROLE maker LOGIN CREATEROLE", "CREATE DATABASE made")

    with pytest.raises(InputError, match="'maker' may not create tables") as caught:
        Database.open(server.seen_by("maker", "made"), create=True)

    assert "GRANT USAGE, CREATE ON SCHEMA public TO tuner_owner;" in str(caught.value)
    assert not server.roles() & {OWNER, WORKER, READER}


def test_tables_beside_somebody_elses_get_their_rights_and_the_others_stay_private(
    server: Administrator,
) -> None:
    server.run("CREATE ROLE maker LOGIN CREATEROLE", "CREATE DATABASE made OWNER maker")
    server.run("CREATE TABLE theirs AS SELECT 1 AS x", database="made")

    Database.open(server.seen_by("maker", "made"), create=True).close()

    server.run(f"CREATE ROLE ana LOGIN IN ROLE {READER}")
    with Database.open(server.seen_by("ana", "made")) as database:
        with database.transaction() as session:
            assert session.execute(text("SELECT * FROM tuner_trials")).all() == []
        with pytest.raises(InputError, match="theirs"), database.transaction() as session:
            session.execute(text("SELECT * FROM theirs"))


def test_databases_of_one_server_that_are_made_at_once_share_the_role(
    server: Administrator,
) -> None:
    names = [f"made_{n}" for n in range(4)]
    server.run(*(f"CREATE DATABASE {name}" for name in names))

    def make(name: str) -> None:
        Database.open(server.seen_by("tuner", name), create=True).close()

    with ThreadPoolExecutor(max_workers=4) as threads:
        list(threads.map(make, names))

    server.run(f"CREATE ROLE ana LOGIN IN ROLE {READER}")
    for name in names:
        Database.open(server.seen_by("ana", name)).close()


def test_an_owner_who_is_let_in_by_an_administrator_makes_tables_that_belong_to_the_group(
    server: Administrator,
) -> None:
    _, _, _, *rights = role_statements("made", "public", "maker")
    server.run("CREATE DATABASE made", *(f"CREATE ROLE {name}" for name in (OWNER, WORKER, READER)))
    server.run("CREATE ROLE maker LOGIN", *rights, database="made")

    Database.open(server.seen_by("maker", "made"), create=True).close()

    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert server.ask(owners, "made") == [OWNER]
    server.run(f"CREATE ROLE w1 LOGIN IN ROLE {WORKER}")
    Database.open(server.seen_by("w1", "made"), create=True).close()


def test_what_an_administrator_took_away_stays_away(server: Administrator) -> None:
    url = server.seen_by("tuner", "postgres")
    Database.open(url, create=True).close()
    server.run(
        f"CREATE ROLE ana LOGIN IN ROLE {READER}", "REVOKE SELECT ON trials FROM tuner_reader"
    )

    Database.open(url, create=True).close()

    with (
        Database.open(server.seen_by("ana", "postgres")) as database,
        pytest.raises(InputError, match="permission denied for table trials"),
        database.transaction() as session,
    ):
        session.execute(text("SELECT * FROM trials"))


@pytest.fixture(scope="module")
def worker_url(reader_url: str, shared_server: Administrator) -> str:
    """The same database, as somebody sees it who may run studies."""
    shared_server.run(f"CREATE ROLE w1 LOGIN IN ROLE {WORKER}")
    return shared_server.seen_by("w1")


def tuner(url: str, *words: str) -> Result:
    return CliRunner().invoke(main, words, env={"TUNER_STORAGE": url})


def test_a_worker_submits_runs_and_steers_a_whole_study_and_cannot_delete_it(
    worker_url: str, shared_server: Administrator, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TOY_STUDY.replace('"toy"', '"mine"'))

    def do(*words: str) -> None:
        done = tuner(worker_url, *words)
        assert done.exit_code == 0, done.output

    do("create", str(path))
    do("enqueue", "mine", "learning_rate=0.5", "dropout=0.5")
    with Database.open(worker_url) as database:
        for number, objective in enumerate(("reporting", "diverging")):
            study = find_study(database, "mine")
            make_worker(database, study, objective).run()
            assert progress(database, study).is_over
            do("retry", "mine")
            do("extend", "mine", "--trials", str(2 + number))
        # A trial that fails is tried again; points that a narrowed space has not are given up.
        finite = "--set", "space={learning_rate=0.1,dropout={low=0.0,high=0.6,step=0.2}}"
        do("create", str(path), "--set", "name=small", *finite)
        narrower = *finite, "--set", "space.dropout.high=0.2"
        do("create", str(path), "--set", "name=small", *narrower)
        study = find_study(database, "small")
        make_worker(database, study, "not_a_number").run()
        assert progress(database, study).trials == {"failed": 2}
        do("retry", "small")
        make_worker(database, study, "reporting").run()
        assert progress(database, study).is_over
        assert len([row for row in trials(database, study) if row.state != "failed"]) == 2
        do("stop", "mine")
        do("rename", "mine", "ours")
        ended = trials(database, find_study(database, "ours"))
        assert {row.state for row in ended} >= {"complete"}

    refused = tuner(worker_url, "delete", "ours", "--yes")
    assert refused.exit_code == 2
    assert "deleting them or changing tables one in tuner_owner" in refused.output
    do("status", "ours")
    owner = tuner(shared_server.seen_by("tuner"), "delete", "ours", "--yes")
    assert owner.exit_code == 0, owner.output


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM trials",
        "TRUNCATE trials",
        "DROP VIEW tuner_trials",
        "CREATE TABLE mine (x int)",
        "CREATE TEMPORARY TABLE mine (x int)",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE trials ADD COLUMN mine int",
        "CREATE INDEX mine ON trials (state)",
        "CREATE ROLE mine",
        "SET ROLE tuner_owner",
    ],
)
def test_a_worker_deletes_nothing_and_changes_no_table(worker_url: str, statement: str) -> None:
    engine = sqlalchemy.create_engine(worker_url)

    with (
        engine.connect() as connection,
        pytest.raises(DBAPIError, match=r"permission denied|must be owner"),
    ):
        connection.execute(text(statement))

    engine.dispose()


def test_a_worker_is_told_that_the_owner_makes_the_tables(
    worker_url: str, shared_server: Administrator, tmp_path: Path
) -> None:
    path = tmp_path / "toy.toml"
    path.write_text(TOY_STUDY)
    shared_server.run("CREATE DATABASE empty")

    done = tuner(shared_server.seen_by("w1", "empty"), "create", str(path))

    assert done.exit_code == 2
    assert "Tables are made once, by a login in the group tuner_owner" in done.output


def test_a_login_in_no_group_is_told_which_ones_there_are(shared_server: Administrator) -> None:
    shared_server.run("CREATE ROLE stranger LOGIN")

    with pytest.raises(InputError, match="one in the group tuner_worker"):
        Database.open(shared_server.seen_by("stranger"))


def test_the_logins_of_the_containers_are_let_in_by_the_first_create(
    server: Administrator,
) -> None:
    """What makes them in an empty database has given the groups no rights yet."""
    sql = (Path(__file__).parents[2] / "deploy" / "postgres" / "logins.sql").read_text()
    plain = re.sub(r"^(--|\\).*\n", "", sql, flags=re.MULTILINE)
    server.run("CREATE DATABASE tuner", *re.sub(r":'(\w+)'", r"'\1'", plain).split(";\n"))

    Database.open(server.seen_by("tuner_create", "tuner"), create=True).close()

    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert server.ask(owners, "tuner") == [OWNER]
    Database.open(server.seen_by("tuner_work", "tuner"), create=True).close()
    Database.open(server.seen_by("tuner_view", "tuner")).close()
