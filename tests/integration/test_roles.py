"""Who may only read reads everything, with tuner's own commands too, and changes nothing."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy
from click.testing import CliRunner
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from tests import postgres
from tests.every_kind import fill_own
from tests.integration.test_views import COLUMNS
from tests.objectives import TOY_STUDY
from tuner.cli import main
from tuner.errors import InputError
from tuner.storage import Database
from tuner.storage.roles import READER, reader_statements
from tuner.study_file import load_study_file


class Server:
    """A server of its own: roles belong to a whole server."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)

    def run(self, *statements: str, database: str = "postgres") -> None:
        """Do something as the administrator."""
        engine = sqlalchemy.create_engine(
            self.url.set(database=database), isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
        engine.dispose()

    def seen_by(self, user: str, database: str) -> str:
        """Name a database as somebody sees it."""
        url = self.url.set(username=user, database=database)
        return url.render_as_string(hide_password=False)

    def roles(self) -> set[str]:
        """List everybody whom the server knows."""
        engine = sqlalchemy.create_engine(self.url)
        with engine.connect() as connection:
            found = set(connection.execute(text("SELECT rolname FROM pg_roles")).scalars())
        engine.dispose()
        return found


def started() -> Iterator[Server]:
    try:
        with postgres.own_server() as running:
            yield Server(running.url)
    except LookupError as error:
        if os.environ.get("CI"):
            pytest.fail(f"{error}: CI must test Postgres")
        pytest.skip(f"{error}: install Postgres")


#: For a test that makes the role.
server = pytest.fixture(started)
#: For all tests that leave it as it was.
shared_server = pytest.fixture(started, scope="module")


@pytest.fixture(scope="module")
def reader_url(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
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


def test_where_the_user_may_make_no_role_the_rest_is_made_and_an_administrator_can_add_it(
    server: Server,
) -> None:
    server.run("CREATE ROLE maker LOGIN", "CREATE DATABASE made OWNER maker")
    Database.open(server.seen_by("maker", "made"), create=True).close()
    assert READER not in server.roles()

    server.run(*reader_statements("made", "public"), database="made")
    server.run(f"CREATE ROLE ana LOGIN IN ROLE {READER}")

    with (
        Database.open(server.seen_by("ana", "made")) as database,
        database.transaction() as session,
    ):
        assert session.execute(text("SELECT * FROM tuner_trials")).all() == []


def test_where_a_table_is_somebody_elses_the_rest_is_made(server: Server) -> None:
    server.run("CREATE ROLE maker LOGIN CREATEROLE", "CREATE DATABASE made OWNER maker")
    server.run("CREATE TABLE theirs (x int)", database="made")

    Database.open(server.seen_by("maker", "made"), create=True).close()

    Database.open(server.seen_by("maker", "made")).close()


def test_databases_of_one_server_that_are_made_at_once_share_the_role(server: Server) -> None:
    names = [f"made_{n}" for n in range(4)]
    server.run(*(f"CREATE DATABASE {name}" for name in names))

    def make(name: str) -> None:
        Database.open(server.seen_by("tuner", name), create=True).close()

    with ThreadPoolExecutor(max_workers=4) as threads:
        list(threads.map(make, names))

    server.run(f"CREATE ROLE ana LOGIN IN ROLE {READER}")
    for name in names:
        Database.open(server.seen_by("ana", name)).close()


def test_what_an_administrator_took_away_stays_away(server: Server) -> None:
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
