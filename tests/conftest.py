"""What all tests share: no settings from outside, real databases, small studies."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy
from playwright.sync_api import Browser

from tests import postgres
from tests.browser import chromium
from tests.objectives import TOY_STUDY
from tuner.config import StudyConfig
from tuner.processor import usable_cores
from tuner.storage import Database
from tuner.study_file import load_study_file

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

_NUMBERS = itertools.count()


def pytest_xdist_auto_num_workers() -> int:
    """Let `-n auto` start two processes a core: tests often wait for processes."""
    return 2 * usable_cores()


@pytest.fixture(scope="session")
def _tests_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of tests that need none of their own: not the user's."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(_tests_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("TUNER_") and not name.startswith("TUNER_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TUNER_CACHE", str(_tests_cache))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a running server; without one a laptop skips and CI fails."""
    try:
        with postgres.server() as url:
            yield url
    except LookupError as error:
        if os.environ.get("CI"):
            pytest.fail(f"{error}: CI must test Postgres")
        pytest.skip(f"{error}: install Postgres, or set TUNER_TEST_POSTGRES_URL")


@pytest.fixture
def own_server() -> Iterator[postgres.Server]:
    """A server that may be stopped."""
    try:
        with postgres.own_server() as server:
            yield server
    except LookupError as error:
        if os.environ.get("CI"):
            pytest.fail(f"{error}: CI must test Postgres")
        pytest.skip(f"{error}: install Postgres")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser without a window; without Chromium a laptop skips and CI fails."""
    try:
        with chromium() as running:
            yield running
    except LookupError as error:
        if os.environ.get("CI"):
            pytest.fail(f"{error}: CI must look at the pages")
        pytest.skip(f"{error}: install chromium")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of a running server that answers as S3 does."""
    from tests import s3

    with s3.server() as address:
        yield address


@pytest.fixture
def bucket_url(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty folder in an object store; this process and its children have the credentials."""
    from tests import s3

    for name, value in {**s3.CREDENTIALS, "AWS_ENDPOINT_URL": s3_server}.items():
        monkeypatch.setenv(name, value)
    return s3.new_bucket()


@pytest.fixture
def machine_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of a machine of its own, still empty."""
    monkeypatch.setenv("TUNER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Databases:
    """Makes empty databases of one kind, and copies of one that has the tables already."""

    def __init__(self, folder: Path, server: str | None) -> None:
        self.folder = folder
        self.server = sqlalchemy.make_url(server) if server else None
        self.made: list[str] = []
        self._template: str | None = None
        self._engine: sqlalchemy.Engine | None = None

    def empty(self) -> str:
        """Give the URL of a database without tables; a SQLite file is not even there."""
        return self._make(template=None)

    def with_tables(self) -> str:
        """Give the URL of a database with all tables: copying is quicker than creating."""
        if self._template is None:
            self._template = self.empty()
            del self.made[-1:]  # stays until the end
            Database.open(self._template, create=True).close()
        return self._make(template=self._template)

    def _make(self, *, template: str | None) -> str:
        name = f"tuner_test_{os.getpid()}_{next(_NUMBERS)}"
        if self.server is None:
            path = self.folder / f"{name}.db"
            if template is not None:
                shutil.copyfile(template.removeprefix("sqlite:///"), path)
            return f"sqlite:///{path}"
        source = f" TEMPLATE {sqlalchemy.make_url(template).database}" if template else ""
        self._run(f"CREATE DATABASE {name}{source}")
        self.made.append(name)
        return self.server.set(database=name).render_as_string(hide_password=False)

    def drop(self) -> None:
        """Remove from a server what was made; what others are copied from stays."""
        while self.made:
            self._run(f"DROP DATABASE IF EXISTS {self.made.pop()} WITH (FORCE)")

    def close(self) -> None:
        """Remove all."""
        if self._template is not None and self.server is not None:
            self.made.append(str(sqlalchemy.make_url(self._template).database))
        self.drop()
        if self._engine is not None:
            self._engine.dispose()

    def _run(self, statement: str) -> None:
        if self._engine is None:
            self._engine = sqlalchemy.create_engine(self.server or "", isolation_level="AUTOCOMMIT")
        with self._engine.connect() as connection:
            version = getattr(connection.dialect, "server_version_info", ())
            if "TEMPLATE" in statement and version >= (15,):
                statement += " STRATEGY FILE_COPY"  # quicker where a server does not sync
            connection.execute(sqlalchemy.text(statement))


#: Those whose databases take room on a server until they are dropped.
_ON_SERVERS: list[Databases] = []


@pytest.fixture(autouse=True)
def _databases_go_with_their_test() -> Iterator[None]:
    """Drop databases at once: thousands of files at the end would take minutes."""
    yield
    for made in _ON_SERVERS:
        made.drop()


@pytest.fixture(scope="session")
def sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """SQLite files."""
    return Databases(tmp_path_factory.mktemp("databases"), None)


@pytest.fixture(scope="session")
def postgres_databases(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: str
) -> Iterator[Databases]:
    """Databases of a Postgres server."""
    made = Databases(tmp_path_factory.mktemp("databases"), postgres_server)
    _ON_SERVERS.append(made)
    yield made
    made.close()


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def databases(request: pytest.FixtureRequest) -> Databases:
    """Each kind of database that tuner promises to support."""
    made: Databases = request.getfixturevalue(f"{request.param}_databases")
    return made


@pytest.fixture
def empty_url(databases: Databases) -> str:
    """A fresh, empty database of each kind."""
    return databases.empty()


@pytest.fixture
def storage_url(databases: Databases) -> str:
    """A fresh database of each kind with the tables in it."""
    return databases.with_tables()


@pytest.fixture
def database(storage_url: str) -> Iterator[Database]:
    """An open database of each kind."""
    with Database.open(storage_url) as opened:
        yield opened


#: For tests of what follows after all has been read, where databases cannot differ any more.
on_one_database = pytest.mark.parametrize("databases", ["sqlite"], indirect=True)

StudyMaker = Callable[..., StudyConfig]


@pytest.fixture
def toy_file(tmp_path: Path) -> Path:
    """A study file that tunes a toy."""
    path = tmp_path / "toy.toml"
    path.write_text(TOY_STUDY)
    return path


@pytest.fixture
def toy(toy_file: Path) -> StudyMaker:
    """Makes toy studies, with settings as `--set` takes them."""

    def make(*settings: str) -> StudyConfig:
        return load_study_file(toy_file, settings)[0]

    return make
