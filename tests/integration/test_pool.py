"""Standing workers over each database: real processes, studies of different data and spaces."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests import postgres
from tests.conftest import StudyMaker
from tests.forked import PROCESSES
from tests.integration.test_outage import wait_for
from tests.workers import serve_with_log, trainers
from tuner.cli import main
from tuner.config import StudyConfig
from tuner.results import TrialRow, progress, show_trial, trials
from tuner.storage import Database, StoredStudy, agree_on_data, create_study, delete_study
from tuner.worker.interruption import InterruptedWorkerError, Interruption
from tuner.worker.pool import Pool
from tuner.worker.worker import WorkerOptions

#: Short enough that nobody waits long, for a new study or a dead worker.
OPTIONS = WorkerOptions(threads=1, objective="tests.objectives:following_its_data", lease=3.0)


@contextlib.contextmanager
def pools(url: str, folder: Path, n_workers: int) -> Iterator[list[BaseProcess]]:
    """Run standing workers as processes; what they log is in the folder, by number."""
    started: list[BaseProcess] = []
    try:
        for n in range(n_workers):
            log = folder / f"{n}.log"
            started.append(PROCESSES.Process(target=serve_with_log, args=(url, log, OPTIONS)))
            started[-1].start()
        yield started
    finally:
        for process in started:
            process.kill()
            process.join()


@contextlib.contextmanager
def pool_here(database: Database, **more: float) -> Iterator[None]:
    """Run a standing worker in a thread of this process, and see that it ends only by a signal."""
    interruption = Interruption()
    ends: list[BaseException] = []

    def work() -> None:
        try:
            Pool(
                database,
                options=OPTIONS,
                environment=os.environ,
                interruption=interruption,
                **more,
            ).run()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
            ends.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
        assert thread.is_alive()
    finally:
        interruption.request(signal.SIGTERM)
        thread.join(30)
    assert [type(end) for end in ends] == [InterruptedWorkerError]
    assert not trainers()


@pytest.fixture
def with_data(toy: StudyMaker, tmp_path: Path) -> Callable[..., StudyConfig]:
    """Makes toy studies with data of their own."""

    def make(name: str, data: str | None, *settings: str) -> StudyConfig:
        path = tmp_path / f"{name}.csv"
        if data is not None:
            path.write_text(data)
        return toy(f"name={name}", f"data.source={path}", "pruner.name=none", *settings)

    return make


WithData = Callable[..., StudyConfig]


def is_done(database: Database, *studies: StoredStudy) -> bool:
    return all(progress(database, study).is_over for study in studies)


def data_of(database: Database, study: StoredStudy) -> set[str]:
    """Read which data the trials of a study saw."""
    rows = trials(database, study)
    return {show_trial(database, study, row.number).attributes["data"] for row in rows}


def running(database: Database, study: StoredStudy) -> TrialRow | None:
    """Give the trial that somebody trains."""
    rows = [row for row in trials(database, study) if row.worker and row.last_step]
    return rows[0] if rows else None


def test_two_workers_serve_studies_of_other_data_and_spaces_also_one_that_comes_later(
    storage_url: str, with_data: WithData, tmp_path: Path
) -> None:
    with Database.open(storage_url) as database:
        reviews = create_study(database, with_data("reviews", "good and bad")).study
        mails = create_study(
            database, with_data("mails", "spam and ham", "space.dropout=0.5", "space.units=[4,8]")
        ).study
        with pools(storage_url, tmp_path, 2) as workers:
            wait_for(lambda: is_done(database, reviews, mails))
            late = create_study(database, with_data("late", "news", "budget.trials=2")).study
            wait_for(lambda: is_done(database, late))
            os.kill(workers[0].pid or 0, signal.SIGTERM)
            os.kill(workers[1].pid or 0, signal.SIGINT)
            for worker in workers:
                worker.join(30)

        assert [worker.exitcode for worker in workers] == [143, 130]  # idle, and they end
        assert data_of(database, reviews) == {"good and bad"}
        assert data_of(database, mails) == {"spam and ham"}
        assert data_of(database, late) == {"news"}
        assert {row.params["dropout"] for row in trials(database, mails)} == {0.5}
        assert {row.params["units"] for row in trials(database, mails)} <= {4, 8}
        for study, n_trials in ((reviews, 6), (mails, 6), (late, 2)):
            rows = trials(database, study)
            assert [row.state for row in rows] == ["complete"] * n_trials
            assert sorted(row.slot for row in rows if row.slot is not None) == list(range(n_trials))


def test_a_killed_workers_trial_goes_on_and_one_that_is_stopped_is_handed_back(
    storage_url: str, with_data: WithData, tmp_path: Path
) -> None:
    with Database.open(storage_url) as database:
        study = create_study(database, with_data("long", "patience", "budget.trials=1")).study
        with pools(storage_url, tmp_path, 2) as workers:
            wait_for(lambda: running(database, study))
            first = running(database, study)
            assert first is not None
            by_name = {str(worker.pid): worker for worker in workers}
            killed = by_name[str(first.worker).rpartition(":")[2]]
            killed.kill()

            def is_taken_over() -> bool:
                row = running(database, study)
                return row is not None and row.worker != first.worker

            wait_for(is_taken_over)
            (survivor,) = [worker for worker in workers if worker is not killed]
            os.kill(survivor.pid or 0, signal.SIGTERM)
            survivor.join(30)

        assert survivor.exitcode == 143
        (row,) = trials(database, study)  # the same one all the time
        assert (row.number, row.state, row.worker) == (0, "waiting", None)
        assert progress(database, study).slots.free == 1


def test_a_study_that_cannot_be_served_here_is_passed_over_and_its_status_says_why(
    storage_url: str, database: Database, with_data: WithData, tmp_path: Path
) -> None:
    missing = create_study(database, with_data("missing", None, "budget.trials=1")).study
    other = create_study(database, with_data("other", "new data", "budget.trials=2")).study
    agree_on_data(database, other, "old data")
    good = create_study(database, with_data("good", "good data", "budget.trials=2")).study

    def refused(study: StoredStudy) -> str:
        return "".join(refusal.reason for refusal in progress(database, study).refusals)

    with pool_here(database, refused_seconds=1.0):
        wait_for(lambda: is_done(database, good))
        wait_for(lambda: refused(missing) and refused(other))
        environment = {"TUNER_STORAGE": storage_url}
        table = CliRunner(env=environment).invoke(main, ["status", "missing"])
        listed = CliRunner(env=environment).invoke(main, ["list"])
        document = CliRunner(env=environment).invoke(main, ["status", "other", "--format", "json"])
        (tmp_path / "missing.csv").write_text("it is there now")
        wait_for(lambda: is_done(database, missing))

        assert data_of(database, missing) == {"it is there now"}
        assert refused(missing) == ""
        assert "old data in the study" in refused(other)
    assert f"{tmp_path / 'missing.csv'}: no such file" in table.stdout
    assert "not served on" in table.stdout
    assert listed.stdout.count("see `tuner status missing`") == 1
    (told,) = json.loads(document.stdout)["refusals"]
    assert "fingerprint new data here" in told["reason"]
    assert progress(database, other).slots.free == 2


def test_studies_that_are_deleted_or_stopped_for_a_bug_do_not_end_a_worker(
    database: Database, with_data: WithData
) -> None:
    deleted = create_study(database, with_data("deleted", "patience")).study
    with pool_here(database):
        wait_for(lambda: running(database, deleted))
        delete_study(database, deleted)
        buggy = create_study(database, with_data("buggy", "a bug")).study
        wait_for(lambda: progress(database, buggy).ended == "bug")
        good = create_study(database, with_data("good", "good data", "budget.trials=1")).study
        wait_for(lambda: is_done(database, good))

    assert progress(database, buggy).refusals == ()


def test_one_worker_alone_serves_two_studies_in_turn(
    database: Database, with_data: WithData
) -> None:
    studies = [
        create_study(database, with_data(name, name, "budget.trials=200")).study
        for name in ("first", "second")
    ]
    random.seed(5)  # whether it leaves after a trial is drawn
    with pool_here(database, turn_seconds=0.0):
        wait_for(lambda: all(progress(database, study).slots.done for study in studies))

    assert all(progress(database, study).slots.free for study in studies)


def test_an_idle_worker_bridges_a_restart_of_the_server_and_ends_in_the_midst_of_one(
    with_data: WithData, tmp_path: Path, own_server: postgres.Server
) -> None:
    log = tmp_path / "0.log"
    with Database.open(own_server.url, create=True) as database:
        with pools(own_server.url, tmp_path, 1) as (worker,):
            wait_for(lambda: log.exists() and "serving every study" in log.read_text())
            own_server.stop()
            wait_for(lambda: log.read_text().count("Waiting up to") == 1)
            own_server.start()
            study = create_study(database, with_data("late", "news", "budget.trials=1")).study
            wait_for(lambda: is_done(database, study))
            own_server.stop()
            wait_for(lambda: log.read_text().count("Waiting up to") == 2)
            os.kill(worker.pid or 0, signal.SIGTERM)
            worker.join(30)
        own_server.start()

        assert worker.exitcode == 143
        assert data_of(database, study) == {"news"}


def test_several_standing_workers_of_one_machine_are_one_command(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    Database.open(url, create=True).close()
    command = [sys.executable, "-m", "tuner", "work", "--workers", "2"]
    with subprocess.Popen(
        command, env=os.environ | {"TUNER_STORAGE": url}, stderr=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stderr is not None
        n_serving = 0
        for line in supervisor.stderr:
            n_serving += "serving every study in" in line
            if n_serving == 2:
                break
        supervisor.send_signal(signal.SIGTERM)
        assert supervisor.wait(30) == 143
        talk = supervisor.stderr.read()
        assert "Traceback" not in talk
        assert talk.count("] Stopped by SIGTERM.\n") == 2  # they had no trial, which is no error
        assert talk.endswith("\nStopped by SIGTERM.\n")
        assert "error: " not in talk
