"""The password of the database comes from a file, and is nowhere else."""

import logging
import os
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import make_url, text

from tests import postgres
from tests.conftest import StudyMaker
from tests.objectives import TOY_STUDY
from tests.postgres import Administrator
from tests.workers import make_worker, trainers
from tuner.cli import main
from tuner.errors import InputError, TunerError
from tuner.storage import Database, create_study, parse_url, shown
from tuner.storage.roles import WORKER
from tuner.storage.schema import METADATA

#: With what shells, URLs and libpq's own files treat in their own ways, and a space at its end.
SECRET = "hid den%40:@/'\\ "  # noqa: S105 - what is looked for


def _refuse_without_password(server: postgres.Server) -> None:
    server.let_in("local all all scram-sha-256")


@pytest.fixture(scope="module")
def server() -> Iterator[Administrator]:
    """A server that asks everybody but its administrator for a password."""
    try:
        with postgres.own_server(prepare=_refuse_without_password) as running:
            administrator = Administrator(running.url)
            Database.open(running.url, create=True).close()
            quoted = SECRET.replace("'", "''")
            administrator.run(f"CREATE ROLE w1 LOGIN PASSWORD '{quoted}' IN ROLE {WORKER}")
            yield administrator
    except LookupError as error:
        if os.environ.get("CI"):
            pytest.fail(f"{error}: CI must test Postgres")
        pytest.skip(f"{error}: install Postgres")


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "w1's password"
    path.write_text(f"{SECRET}\n")
    return path


def with_file(server: Administrator, file: Path) -> str:
    url = make_url(server.seen_by("w1")).update_query_dict({"password_file": str(file)})
    return url.render_as_string(hide_password=False)


def test_a_password_from_a_file_is_in_no_process_log_or_table(
    server: Administrator,
    password_file: Path,
    toy: StudyMaker,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRET)  # a worker may have it, its trainer may not
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "sqlalchemy")
    url = with_file(server, password_file)
    seen: list[str] = [url, shown(url)]
    with Database.open(url, create=True) as database:
        study = create_study(database, toy("budget.trials=1")).study
        worker = make_worker(database, study, "unhurried")
        working = threading.Thread(target=worker.run)
        working.start()
        while working.is_alive() and not trainers():
            time.sleep(0.02)
        for trainer in trainers():
            seen += [*trainer.cmdline(), *map("=".join, trainer.environ().items())]
        working.join()
        assert len(seen) > 10  # a trainer has been looked at
        seen += [database.name, repr(database.engine), repr(database.storage.engine.url)]
        with database.transaction() as session:
            for table in METADATA.tables:
                rows = session.execute(text(f"SELECT CAST(t AS text) FROM {table} t"))  # noqa: S608
                seen += [row[0] for row in rows]
    assert "password_file=" in database.name
    # As it is, and as it would look in a URL or in the middle of a text.
    for written in (SECRET, SECRET.strip(), "hid den", "hid+den", "hid%20den"):
        assert written not in "\n".join([*seen, caplog.text])


@pytest.mark.parametrize("given", ["wr ong", "", "missing"])
def test_an_error_names_the_file_and_what_to_do_and_not_the_password(
    server: Administrator, tmp_path: Path, given: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "password"
    if given != "missing":
        file.write_text(given)

    with pytest.raises(InputError) as caught:
        Database.open(with_file(server, file))

    expected = {
        "wr ong": 'password authentication failed for user "w1"',
        "": f"{file}: expected a password, the file is empty",
        "missing": f"{file}: cannot be read: No such file or directory",
    }
    assert expected[given] in str(caught.value)
    assert "password_file" in str(caught.value)
    whole = "".join(traceback.format_exception(caught.value))
    assert "wr ong" not in whole + caplog.text


def test_a_new_password_in_the_file_holds_from_the_next_connection_on(
    server: Administrator, tmp_path: Path
) -> None:
    server.run(f"CREATE ROLE turning LOGIN PASSWORD 'first' IN ROLE {WORKER}")
    file = tmp_path / "password"
    file.write_text("first")
    url = make_url(server.seen_by("turning")).update_query_dict({"password_file": str(file)})

    with Database.open(url.render_as_string(hide_password=False)) as database:
        server.run("ALTER ROLE turning PASSWORD 'second'")
        file.write_text("second")
        database.engine.dispose()
        assert database.storage.get_all_studies() is not None


def test_libpqs_own_password_file_does_as_well(
    server: Administrator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.seen_by("w1")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    with pytest.raises(InputError, match="no password supplied"):
        Database.open(url)
    escaped = SECRET.replace("\\", "\\\\").replace(":", "\\:")
    (tmp_path / "pgpass").write_text(f"*:*:*:w1:{escaped}\n")
    (tmp_path / "pgpass").chmod(0o600)

    with Database.open(url) as database:
        assert database.storage.get_all_studies() is not None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://w1:hidden@host/db",
        "postgresql://w1@host/db?password=hidden",
        "postgresql://w1@host/db?sslmode=require&sslpassword=hidden",
        "postgresql://w1:hid@den@host/db",
        "postgres://w1:hidden@host/db?password_file=/run/secrets/w1",
        "oracle+x://w1:hidden@host/db",
    ],
)
@pytest.mark.parametrize("place", ["command line", "study file"])
def test_a_password_where_others_can_read_it_is_refused_and_not_repeated(
    url: str, place: str, tmp_path: Path
) -> None:
    path = tmp_path / "toy.toml"
    path.write_text(TOY_STUDY if place == "command line" else f'storage = "{url}"\n{TOY_STUDY}')
    flag = ("--storage", url) if place == "command line" else ()

    done = CliRunner().invoke(main, ["create", str(path), *flag])

    assert done.exit_code == 2, done.output
    assert "hid" not in done.output
    assert "den@" not in done.output


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///studies.db?password_file=secret",
        "postgresql://w1@host/db?password_file=one&password_file=two",
        "postgresql://w1:hidden@host/db?password_file=one",
    ],
)
def test_a_password_file_that_means_nothing_is_refused(url: str) -> None:
    with pytest.raises(TunerError, match="password_file") as caught:
        parse_url(url)

    assert "hidden" not in str(caught.value)
