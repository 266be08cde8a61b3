"""The database goes away, or somebody changes what is in it, while workers train."""

import contextlib
import logging
import os
import resource
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import optuna
import psutil
import pytest
import sqlalchemy
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState

from tests import postgres
from tests.conftest import StudyMaker
from tests.forked import PROCESSES
from tests.integration.test_storage import let_study_go_on, slots_of
from tests.workers import make_worker, trainers, work_with_log
from tuner.errors import StudyNotFoundError
from tuner.results import progress, show_trial, trials
from tuner.storage import (
    Database,
    SlotCounts,
    StoredStudy,
    create_study,
    delete_study,
    end_study,
    find_study,
    study_names,
)
from tuner.storage.schema import SLOTS
from tuner.worker.worker import Worker, WorkerOptions

#: Seconds of the workers' leases, and of an outage that is longer.
LEASE, OUTAGE = 1.5, 4.0
#: Settings of studies with one long trial.
ONE = ("budget.trials=1", "pruner.name=none")
#: What an outage says in the log.
AWAY, BACK = "Waiting up to", "The database is back"


def wait_for(what: Callable[[], object], *, seconds: float = 60.0) -> None:
    """Ask until it is so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


# --- workers in processes of their own -----------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class WorkerProcess:
    """A worker, from outside."""

    process: BaseProcess
    log: Path

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def words(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def trainer(self) -> int:
        (child,) = psutil.Process(self.pid).children()
        return child.pid

    def end(self) -> int | None:
        self.process.join(90)
        return self.process.exitcode


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A trial in the midst of its training, and a worker that would like to have it."""

    url: str
    study: StoredStudy
    owner: WorkerProcess
    idle: WorkerProcess
    trainer: int


@contextlib.contextmanager
def scene(
    url: str, study: StoredStudy, folder: Path, *, patience: float = 600.0, lock_timeout: float = 1
) -> Iterator[Scene]:
    options = WorkerOptions(
        threads=1, objective="tests.objectives:slow_reporting", lease=LEASE, patience=patience
    )
    workers: list[WorkerProcess] = []
    try:
        for n in range(2):
            log = folder / f"{n}.log"
            process = PROCESSES.Process(
                target=work_with_log, args=(url, log, options, lock_timeout)
            )
            process.start()
            workers.append(WorkerProcess(process=process, log=log))
        with Database.open(url) as database:
            wait_for(lambda: any(row.last_step for row in trials(database, study)))
            wait_for(lambda: all("the trainer is ready" in w.words() for w in workers))
            with database.transaction() as session:
                holder = session.scalar(
                    sqlalchemy.select(SLOTS.c.pid).where(SLOTS.c.study_id == study.study_id)
                )
            assert progress(database, study).slots == SlotCounts(free=0, held=1, done=0)
        owner, idle = sorted(workers, key=lambda worker: worker.pid != holder)
        assert owner.pid == holder
        yield Scene(url=url, study=study, owner=owner, idle=idle, trainer=owner.trainer())
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()


def check_nobody_noticed(scene: Scene) -> None:
    """Check that the trial went on as if nothing had been, and that the log says what was."""
    assert (scene.owner.end(), scene.idle.end()) == (0, 0)
    with Database.open(scene.url) as database:
        (trial,) = stored(database, scene.study)
    assert trial.state == TrialState.COMPLETE
    assert trial.intermediate_values == {step: step / 40 for step in range(1, 41)}
    assert trial.user_attrs["trainer"] == scene.trainer
    assert trial.user_attrs["pid"] == scene.owner.pid
    words = scene.owner.words()
    assert (words.count(AWAY), words.count(BACK)) == (1, 1)
    assert "again" not in words
    assert "Traceback" not in words + scene.idle.words()
    assert "trial 0" not in scene.idle.words()


def stored(database: Database, study: StoredStudy) -> list[FrozenTrial]:
    return database.storage.get_all_trials(study.study_id)


# --- Postgres ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_server() -> Iterator[postgres.Server]:
    """A server that may be stopped."""
    try:
        with postgres.own_server() as server:
            yield server
    except LookupError as error:
        if os.environ.get("CI"):
            pytest.fail(f"{error}: CI must test Postgres")
        pytest.skip(f"{error}: install Postgres")


@pytest.fixture
def server(own_server: postgres.Server) -> Iterator[postgres.Server]:
    """A running server, without studies."""
    yield own_server
    own_server.stop()
    own_server.start()
    set_read_only(own_server.url, "RESET default_transaction_read_only", cut=False)
    with Database.open(own_server.url, create=True) as database:
        delete_study(database, find_study(database, "toy"))


def study_on(url: str, toy: StudyMaker) -> StoredStudy:
    with Database.open(url, create=True) as database:
        return create_study(database, toy(*ONE)).study


def test_training_goes_on_while_the_server_is_down_and_its_owner_keeps_the_trial(
    server: postgres.Server, toy: StudyMaker, tmp_path: Path
) -> None:
    with scene(server.url, study_on(server.url, toy), tmp_path) as now:
        server.stop()
        wait_for(lambda: all(AWAY in worker.words() for worker in (now.owner, now.idle)))
        time.sleep(OUTAGE)  # every lease has run out
        assert now.owner.trainer() == now.trainer
        server.start()

        check_nobody_noticed(now)


def test_a_worker_gives_up_when_the_server_stays_away_and_another_one_finishes_the_trial(
    server: postgres.Server, toy: StudyMaker, tmp_path: Path
) -> None:
    study = study_on(server.url, toy)
    with scene(server.url, study, tmp_path, patience=2.0) as now:
        server.stop()

        assert (now.owner.end(), now.idle.end()) == (3, 3)

        for worker in (now.owner, now.idle):
            assert "as long as this worker waits. Start it again" in worker.words()
            assert "Traceback" not in worker.words()
        assert not psutil.pid_exists(now.trainer)
    server.start()
    with Database.open(server.url) as database:
        (trial,) = stored(database, study)
        assert trial.state == TrialState.RUNNING
        options = WorkerOptions(threads=1, objective="tests.objectives:quadratic", lease=LEASE)
        Worker(database, study, options=options, environment=os.environ).run()
        assert [row.state for row in trials(database, study)] == ["complete"]


@pytest.mark.parametrize("cut", [True, False], ids=["and cuts connections", "and keeps them"])
def test_a_server_that_only_reads_for_a_while_is_waited_for(
    server: postgres.Server, toy: StudyMaker, tmp_path: Path, cut: bool
) -> None:
    with scene(server.url, study_on(server.url, toy), tmp_path) as now:
        set_read_only(server.url, "SET default_transaction_read_only = on", cut=True)
        wait_for(lambda: AWAY in now.owner.words())
        time.sleep(OUTAGE)  # every lease has run out
        set_read_only(server.url, "RESET default_transaction_read_only", cut=cut)

        check_nobody_noticed(now)


def set_read_only(url: str, change: str, *, cut: bool) -> None:
    """Change what new connections may do, and cut those that are there."""
    engine = sqlalchemy.create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        connect_args={"options": "-c default_transaction_read_only=off"},
    )
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"ALTER DATABASE postgres {change}"))
        if cut:
            connection.execute(
                sqlalchemy.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
            )
    engine.dispose()


# --- SQLite --------------------------------------------------------------------------------------


def test_training_goes_on_while_somebody_else_locks_the_file(
    toy: StudyMaker, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/toy.db"
    with scene(url, study_on(url, toy), tmp_path, lock_timeout=0.2) as now:
        other = sqlite3.connect(tmp_path / "toy.db", isolation_level=None, timeout=60)
        other.execute("BEGIN EXCLUSIVE")
        wait_for(lambda: all(AWAY in worker.words() for worker in (now.owner, now.idle)))
        assert "database is locked" in now.owner.words()
        time.sleep(OUTAGE)  # every lease has run out
        assert now.owner.trainer() == now.trainer
        other.execute("COMMIT")
        other.close()

        check_nobody_noticed(now)


def test_a_worker_is_stopped_while_its_trainer_is_dead_and_the_file_is_locked(
    toy: StudyMaker, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/toy.db"
    with scene(url, study_on(url, toy), tmp_path, lock_timeout=0.2) as now:
        other = sqlite3.connect(tmp_path / "toy.db", isolation_level=None, timeout=60)
        other.execute("BEGIN EXCLUSIVE")
        wait_for(lambda: AWAY in now.owner.words())
        os.kill(now.trainer, signal.SIGKILL)
        wait_for(lambda: not psutil.pid_exists(now.trainer))
        os.kill(now.owner.pid, signal.SIGTERM)

        assert now.owner.end() == 143
        other.execute("COMMIT")
        other.close()

        assert now.idle.end() == 0
        assert "Traceback" not in now.owner.words() + now.idle.words()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits another process's files")
def test_training_goes_on_while_the_file_cannot_grow(toy: StudyMaker, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/toy.db"
    with scene(url, study_on(url, toy), tmp_path) as now:
        owner, unlimited = psutil.Process(now.owner.pid), (resource.RLIM_INFINITY,) * 2
        # As on a full disk, but for this process alone; its log is shorter than that.
        owner.rlimit(psutil.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
        wait_for(lambda: AWAY in now.owner.words())
        assert now.owner.trainer() == now.trainer
        owner.rlimit(psutil.RLIMIT_FSIZE, unlimited)

        check_nobody_noticed(now)


# --- somebody changes what is in it --------------------------------------------------------------


@contextlib.contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """Do something while a worker runs, and fail where that fails."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    thread.join(60)
    assert not errors, errors
    assert not thread.is_alive()


def wait_until_it_trains(database: Database, study: StoredStudy) -> FrozenTrial:
    found: list[FrozenTrial] = []

    def training() -> bool:
        now = stored(database, study)
        found[:] = [t for t in now if t.state == TrialState.RUNNING and t.intermediate_values]
        return bool(found)

    wait_for(training)
    return found[0]


@pytest.fixture
def outside(storage_url: str) -> Iterator[Database]:
    """The database as somebody else has it open."""
    with Database.open(storage_url) as opened:
        yield opened


@pytest.mark.parametrize("by", ["us", "optuna", "somebody who wants to begin anew"])
def test_a_worker_whose_study_is_deleted_ends_and_says_so_and_touches_no_namesake(
    database: Database,
    outside: Database,
    toy: StudyMaker,
    by: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    study = create_study(database, toy(*ONE)).study
    written = tmp_path / study.key / "slot-000000" / "some" / "late.ckpt"
    again: list[StoredStudy] = []

    def delete() -> None:
        wait_until_it_trains(outside, study)
        written.parent.mkdir(parents=True)
        written.touch()  # as a trainer does, that knows nothing of what follows
        if by == "optuna":
            # Where a report comes in between, Optuna does nothing and says nothing.
            while study_names(outside):
                optuna.delete_study(study_name="toy", storage=outside.storage)
            return
        delete_study(outside, study)
        if by != "us":  # on SQLite with the very same ids
            again.append(create_study(outside, toy(*ONE)).study)

    with (
        meanwhile(delete),
        caplog.at_level(logging.INFO),
        pytest.raises(StudyNotFoundError, match="somebody deleted it") as caught,
    ):
        make_worker(database, study, "sleeping", artifacts=tmp_path).run()

    assert caught.value.exit_code == 2
    assert "Traceback" not in caplog.text
    assert not (tmp_path / study.key).exists()
    assert trainers() == []
    for new in again:
        slots = slots_of(outside, new)
        assert slots.counts() == SlotCounts(free=1, held=0, done=0)
        assert slots.standing().ended is None
        assert stored(outside, new) == []


def test_a_worker_goes_on_when_its_study_is_renamed(
    database: Database, outside: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("budget.trials=3", "pruner.name=none")).study

    def rename() -> None:
        wait_until_it_trains(outside, study)
        with outside.transaction() as session:
            session.execute(sqlalchemy.text("UPDATE studies SET study_name = 'other'"))

    with meanwhile(rename):
        make_worker(database, study, "reporting").run()

    assert {trial.state for trial in stored(database, study)} == {TrialState.COMPLETE}
    assert slots_of(database, study).counts() == SlotCounts(free=0, held=0, done=3)


def test_a_trial_whose_row_is_deleted_is_run_anew(
    database: Database, outside: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy(*ONE)).study

    def delete_then_end() -> None:
        first = wait_until_it_trains(outside, study)
        with outside.transaction() as session:
            # Reports wait here: one between reading what hangs on the trial and deleting it would
            # keep the server from deleting it.
            session.execute(sqlalchemy.update(SLOTS).values(worker=SLOTS.c.worker))
            session.delete(session.get_one(models.TrialModel, first._trial_id))
        second = wait_until_it_trains(outside, study)
        assert second.datetime_start != first.datetime_start
        outside.storage.set_trial_state_values(second._trial_id, TrialState.FAIL)

    with meanwhile(delete_then_end):
        make_worker(database, study, "sleeping").run()

    (trial,) = stored(database, study)
    assert (trial.number, trial.state) == (0, TrialState.FAIL)
    assert slots_of(database, study).counts() == SlotCounts(free=0, held=0, done=1)


def test_a_stopped_study_finishes_what_runs_and_goes_on_where_it_was_left(
    database: Database, outside: Database, toy: StudyMaker, caplog: pytest.LogCaptureFixture
) -> None:
    study = create_study(database, toy("budget.trials=3", "pruner.name=none")).study

    def stop() -> None:
        wait_until_it_trains(outside, study)
        end_study(outside, study, reason="stopped", message="stopped by hand")

    with meanwhile(stop), caplog.at_level(logging.INFO):
        make_worker(database, study, "slow_reporting").run()

    assert "the study ended before its budget: stopped by hand" in caplog.messages
    (trial,) = stored(database, study)
    assert trial.state == TrialState.COMPLETE
    assert set(trial.intermediate_values) == set(range(1, 41))
    assert slots_of(database, study).counts() == SlotCounts(free=2, held=0, done=1)

    assert let_study_go_on(database, study).message == "stopped by hand"
    make_worker(database, study, "quadratic").run()

    assert slots_of(database, study).counts() == SlotCounts(free=0, held=0, done=3)
    assert show_trial(database, study, 2).attributes["off"] is not None
