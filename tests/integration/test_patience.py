"""Commands that start before their database or their study is there."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy
from click.testing import CliRunner, Result

from tests import postgres
from tests.conftest import StudyMaker
from tuner.cli import main
from tuner.cli.patience import Patience
from tuner.cli.studies import open_study
from tuner.errors import EmptyStorageError, InputError, StorageUnavailableError, StudyNotFoundError
from tuner.storage import Database, create_study, study_names

#: Clients at a time that the small server lets in.
MAX_CONNECTIONS = 8


@pytest.fixture
def signals_stay() -> Iterator[None]:
    """What a command does at SIGTERM ends with the test."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def small_server() -> Iterator[postgres.Server]:
    """A server that may be stopped, and is full soon."""
    try:
        with postgres.own_server(max_connections=MAX_CONNECTIONS) as server:
            yield server
    except LookupError as error:
        if os.environ.get("CI"):
            pytest.fail(f"{error}: CI must test Postgres")
        pytest.skip(f"{error}: install Postgres")


def meanwhile(what: Callable[[], object]) -> threading.Thread:
    """Do something a little later."""
    thread = threading.Timer(1.0, what)
    thread.start()
    return thread


def create(file: Path, url: str, *more: str) -> Result:
    return CliRunner(env={"TUNER_STORAGE": url}).invoke(main, ["create", str(file), *more])


def test_a_study_is_created_once_the_server_is_there_and_lets_one_more_client_in(
    small_server: postgres.Server, toy_file: Path, signals_stay: None
) -> None:
    small_server.stop()
    assert create(toy_file, small_server.url).exit_code == 3  # at once, where nobody asks to wait

    thread = meanwhile(small_server.start)
    created = create(toy_file, small_server.url, "--patience", "5")
    thread.join()

    assert created.exit_code == 0, created.stderr
    assert created.stderr.count("Waiting for it, up to 5 min.") == 1
    engine = sqlalchemy.create_engine(small_server.url, pool_size=MAX_CONNECTIONS)
    with ExitStack() as others:
        clients = [others.enter_context(engine.connect()) for _ in range(MAX_CONNECTIONS)]
        refused = create(toy_file, small_server.url)
        thread = meanwhile(clients[0].invalidate)
        again = create(toy_file, small_server.url, "--patience", "5")
        thread.join()
    engine.dispose()
    assert refused.exit_code == 3
    assert "too many clients" in refused.stderr
    assert again.exit_code == 0, again.stderr
    assert "going on with it" in again.stderr


def test_a_worker_waits_for_the_tables_and_the_study_where_it_is_told_to(
    empty_url: str, toy: StudyMaker
) -> None:
    with (
        pytest.raises((EmptyStorageError, InputError)),
        open_study("toy", empty_url, Patience(1)),
    ):
        pass

    def submit() -> None:
        with Database.open(empty_url, create=True) as database:
            create_study(database, toy("name=another"))
            with pytest.raises(StudyNotFoundError), open_study("toy", empty_url, Patience(1)):
                pass
            create_study(database, toy())

    thread = meanwhile(submit)
    with open_study("toy", empty_url, Patience(1, for_study=True)) as (database, study):
        assert study.config.name == "toy"
        assert study_names(database) == ["another", "toy"]
    thread.join()


def test_patience_ends_and_mistakes_are_not_waited_for(tmp_path: Path) -> None:
    nowhere = f"sqlite:///{tmp_path}/none.db"
    with (
        pytest.raises(EmptyStorageError),
        open_study("toy", nowhere, Patience(0.01, for_study=True)),
    ):
        pass
    with (
        pytest.raises(InputError, match="postgresql"),
        open_study("toy", "mysql://db/tuner", Patience(60, for_study=True)),
    ):
        pass
    with pytest.raises(StorageUnavailableError):
        Patience(0.01).ask(lambda: Database.open("postgresql://tuner@127.0.0.1:1/tuner"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_waiting_ends_at_once_with_a_signal(tmp_path: Path, number: int, code: int) -> None:
    waiting = subprocess.Popen(
        [sys.executable, "-m", "tuner", "work", "--workers", "1", "--wait-for-study"],
        env=os.environ | {"TUNER_STORAGE": f"sqlite:///{tmp_path}/none.db"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stderr is not None
    with waiting:
        for line in waiting.stderr:
            if "Waiting for it" in line:
                break
        time.sleep(0.2)
        waiting.send_signal(number)
        assert waiting.wait(10) == code
        assert "Traceback" not in waiting.stderr.read()
