"""Checkpoints in an object store: another machine goes on where one was killed."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import psutil
import pytest
from sqlalchemy import text

from tests import s3
from tests.conftest import StudyMaker
from tests.workers import make_worker
from tuner.bucket import Bucket, BucketFiles
from tuner.checkpoints import Checkpoints, Snapshot
from tuner.errors import InputError, StorageUnavailableError
from tuner.mirror import MAX_AGE, MirroredStore, check_artifacts, open_store
from tuner.results import show_trial, trials
from tuner.storage import Database, create_study, find_study
from tuner.worker.interruption import InterruptedWorkerError

ROOT = Path(__file__).parents[2]


def wait_until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def checkpoint(store: MirroredStore, slot: int, token: int, n_batches: int) -> Path:
    """Write a checkpoint as a trainer does; give its path."""
    folder = store.folder(slot, token)
    Checkpoints(folder, identity={"slot": str(slot)}).write(
        Snapshot(n_batches=n_batches, seconds=1.0, reports=(), best_step=None, arrays={})
    )
    return max(folder.glob("*.ckpt"))


def newest(store: MirroredStore, slot: int) -> int | None:
    """Batches of the checkpoint that a new holder of a slot would go on from."""
    snapshot = Checkpoints(store.folder(slot, 999), identity={"slot": str(slot)}).newest()
    return snapshot.n_batches if snapshot else None


@pytest.fixture
def machines(bucket_url: str, tmp_path: Path) -> Callable[[str], MirroredStore]:
    """Gives the checkpoints of a study as a machine sees them, by its name."""

    def make(name: str) -> MirroredStore:
        return MirroredStore(tmp_path / name, "study", BucketFiles(Bucket(url=bucket_url)))

    return make


# --- the store ---------------------------------------------------------------------------------


def test_another_machine_finds_the_newest_checkpoint_and_the_store_keeps_two(
    machines: Callable[[str], MirroredStore], bucket_url: str
) -> None:
    here, there = machines("here"), machines("there")
    for n_batches in (10, 20, 30):
        checkpoint(here, 3, 7, n_batches)
        here.saved(3, 7)
        assert here.settle(10)
    there.bring(3)
    assert there.settle(10)

    assert newest(there, 3) == 30
    kept = [name[:31] for name in s3.names(bucket_url)]
    assert kept == ["study/slot-000003/7/0000000020-", "study/slot-000003/7/0000000030-"]


def test_of_several_checkpoints_that_wait_only_the_newest_is_copied(
    machines: Callable[[str], MirroredStore], bucket_url: str
) -> None:
    here = machines("here")
    for n_batches in (10, 20):
        checkpoint(here, 0, 7, n_batches)
    for _ in range(5):
        here.saved(0, 7)
    assert here.settle(10)

    (name,) = s3.names(bucket_url)
    assert "/0000000020-" in name


def test_a_damaged_checkpoint_in_the_store_is_skipped_for_an_older_one(
    machines: Callable[[str], MirroredStore], bucket_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = machines("here"), machines("there")
    for n_batches in (10, 20):
        path = checkpoint(here, 0, 7, n_batches)
        here.saved(0, 7)
        assert here.settle(10)
    system, folder = fsspec.core.url_to_fs(bucket_url)
    name = f"{folder}/study/slot-000000/7/{path.name}"
    system.pipe_file(name, b"torn" + system.cat_file(name)[4:])

    there.bring(0)
    assert there.settle(10)

    assert newest(there, 0) == 10
    assert "is damaged and skipped" in caplog.text
    assert [path.suffix for path in there.folder(0, 7).iterdir()] == [".ckpt"]


def test_nothing_but_checkpoints_of_the_slot_is_fetched(
    machines: Callable[[str], MirroredStore], bucket_url: str, tmp_path: Path
) -> None:
    system, folder = fsspec.core.url_to_fs(bucket_url)
    fitting = f"{1:010d}-{'0' * 64}.ckpt"
    for name in (
        f"slot-000000/not-a-token/{fitting}",
        f"slot-000000/7/deeper/{fitting}",
        "slot-000000/7/model.keras",
        f"slot-000000/../../../{fitting}",
        f"slot-000001/7/{fitting}",
    ):
        system.pipe_file(f"{folder}/study/{name}", b"harm")

    there = machines("there")
    there.bring(0)
    assert there.settle(10)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_newer_checkpoint_of_this_machine_is_not_fetched_again(
    machines: Callable[[str], MirroredStore],
) -> None:
    here = machines("here")
    checkpoint(here, 0, 7, 10)
    here.saved(0, 7)
    assert here.settle(10)
    checkpoint(here, 0, 7, 20)

    here.bring(0)
    assert here.settle(10)

    assert len(list(here.folder(0, 7).iterdir())) == 2
    assert newest(here, 0) == 20


def test_what_is_forgotten_swept_or_removed_is_gone_here_and_in_the_store(
    machines: Callable[[str], MirroredStore], bucket_url: str
) -> None:
    here = machines("here")
    for slot in range(4):
        checkpoint(here, slot, 7, 10)
        here.saved(slot, 7)
    assert here.settle(10)
    assert len(s3.names(bucket_url)) == 4

    here.forget(0)
    here.sweep({1, 2})
    assert here.settle(10)
    assert [name[:17] for name in s3.names(bucket_url)] == [
        "study/slot-000001",
        "study/slot-000002",
    ]
    assert [newest(here, slot) for slot in range(4)] == [None, 10, 10, None]

    here.remove()
    assert s3.names(bucket_url) == []
    assert newest(here, 1) is None


def test_what_studies_left_here_that_ended_elsewhere_is_removed_after_a_week(
    machines: Callable[[str], MirroredStore], tmp_path: Path
) -> None:
    old, young = (tmp_path / "here" / name / "slot-000000" for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir(parents=True)
    long_ago = time.time() - MAX_AGE - 60
    for path in (old, old.parent):
        os.utime(path, (long_ago, long_ago))

    machines("here").sweep(())

    assert not old.parent.exists()
    assert young.exists()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes the library for S3 give up soon, with connections of its own."""
    system = fsspec.get_filesystem_class("s3")
    monkeypatch.setattr(system, "retries", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    system.clear_instance_cache()
    yield
    system.clear_instance_cache()


def test_trouble_with_the_store_is_logged_once_and_mends_itself(
    machines: Callable[[str], MirroredStore], bucket_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    here = machines("here")
    system, folder = fsspec.core.url_to_fs(bucket_url)
    name = folder.partition("/")[0]
    system.rmdir(name)
    for n_batches in (10, 20):
        checkpoint(here, 0, 7, n_batches)
        here.saved(0, 7)
        assert here.settle(30)
    assert caplog.text.count("Checkpoints cannot be kept in s3://") == 1
    assert "Training goes on" in caplog.text

    system.mkdir(name)
    checkpoint(here, 0, 7, 30)
    here.saved(0, 7)
    assert here.settle(10)

    assert len(s3.names(bucket_url)) == 1


# --- a bad store is told at the start ----------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("s3://nobodys-bucket/folder", "bucket.*does not exist"),
        ("gs://bucket/folder", "gcsfs"),
        ("nothing://bucket/folder", "Protocol not known"),
        ("http://127.0.0.1:9/folder", "cannot be written"),
    ],
)
def test_a_store_that_takes_nothing_is_refused(
    bucket_url: str, machine_cache: Path, url: str, what: str
) -> None:
    del bucket_url  # for its credentials
    with pytest.raises((InputError, StorageUnavailableError), match=f"{url}.*{what}"):
        check_artifacts(Bucket(url=url))


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("s3://id:hidden@bucket/folder", "the URL holds a password"),
        ("s3://bucket/folder?key=hidden", "the URL holds a secret"),
        ("file:///tmp/folder", "give a plain path"),
        ("memory://folder", "give a plain path"),
    ],
)
def test_a_url_that_is_no_place_for_all_machines_is_refused(url: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        Bucket(url=url)
    assert "hidden" not in str(caught.value)


def test_a_store_that_does_not_answer_is_worth_another_start(
    bucket_url: str, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageUnavailableError, match=r"s3://.*127\.0\.0\.1:9"):
        check_artifacts(Bucket(url=bucket_url))


def test_a_store_that_takes_checkpoints_is_left_as_it_was(
    bucket_url: str, machine_cache: Path
) -> None:
    check_artifacts(Bucket(url=bucket_url))

    assert s3.names(bucket_url) == []
    assert list(machine_cache.glob("checkpoints/*"))


def test_a_cache_that_cannot_be_written_is_told(
    bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TUNER_CACHE", str(tmp_path / "file"))

    with pytest.raises(InputError, match="TUNER_CACHE"):
        check_artifacts(Bucket(url=bucket_url))


def call(*words: object, storage: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tuner", *map(str, words)],
        env=os.environ | {"TUNER_STORAGE": storage} | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def sqlite(tmp_path: Path, toy: StudyMaker) -> str:
    """A database with the toy study in it."""
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    with Database.open(url, create=True) as database:
        create_study(database, toy("budget.trials=1"))
    return url


@pytest.mark.parametrize(
    ("lack", "what"),
    [
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "Unable to locate credentials"),
        ({"PYTHONPATH": "{without_fsspec}"}, r"pip install '\.\[remote\]'"),
    ],
)
def test_a_worker_that_cannot_keep_checkpoints_ends_before_any_training(
    sqlite: str,
    bucket_url: str,
    machine_cache: Path,
    tmp_path: Path,
    lack: dict[str, str],
    what: str,
) -> None:
    (tmp_path / "fsspec").mkdir()
    (tmp_path / "fsspec" / "__init__.py").write_text("raise ImportError('not installed')")
    settings = {name: value.format(without_fsspec=tmp_path) for name, value in lack.items()}
    settings |= {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}

    done = call("work", "toy", "--artifacts", bucket_url, storage=sqlite, **settings)

    assert done.returncode == 2, done.stderr
    assert done.stderr.count("error:") == 1
    assert re.search(what, done.stderr), done.stderr


def test_deleting_a_study_empties_its_folder_in_the_store(
    sqlite: str, bucket_url: str, machine_cache: Path
) -> None:
    with Database.open(sqlite) as database:
        key = find_study(database, "toy").key
    store = open_store(Bucket(url=bucket_url), key)
    assert isinstance(store, MirroredStore)
    checkpoint(store, 0, 7, 10)
    store.saved(0, 7)
    assert store.settle(10)

    done = call("delete", "toy", "--yes", "--artifacts", bucket_url, storage=sqlite)

    assert done.returncode == 0, done.stderr
    assert s3.names(bucket_url) == []
    assert newest(store, 0) is None


# --- workers -----------------------------------------------------------------------------------


#: A worker of the toy study, in a process of its own.
WORKER = """
import sys
from tests.workers import make_worker
from tuner.bucket import Bucket
from tuner.storage import Database, find_study

with Database.open(sys.argv[1]) as database:
    artifacts = Bucket(url=sys.argv[2])
    make_worker(database, find_study(database, "toy"), "counting", artifacts=artifacts).run()
"""


def start_worker(storage: str, bucket_url: str, cache: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, storage, bucket_url],
        cwd=ROOT,
        env=os.environ | {"TUNER_CACHE": str(cache)},
    )


def value_without_interruption() -> float:
    total = 0.0
    for batch in range(1, 41):
        total = 0.9 * total + batch**0.5
    return total


def test_another_machine_goes_on_with_the_trial_of_a_killed_one_and_comes_to_the_same_value(
    sqlite: str, bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Database.open(sqlite) as database:
        study = find_study(database, "toy")
        with start_worker(sqlite, bucket_url, tmp_path / "machine-a") as first:
            wait_until(lambda: len(s3.names(bucket_url)) == 2)
            (trainer,) = psutil.Process(first.pid).children()
            seen = trainer.environ()
            first.kill()
        wait_until(lambda: not trainer.is_running() or trainer.status() == "zombie")

        monkeypatch.setenv("TUNER_CACHE", str(tmp_path / "machine-b"))
        make_worker(database, study, "counting", artifacts=Bucket(url=bucket_url)).run()

        (row,) = trials(database, study)
        facts = show_trial(database, study, 0).attributes
    assert s3.CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in str(seen)
    assert not [name for name in seen if name.startswith("AWS_")]
    assert (row.number, row.state) == (0, "complete")
    assert facts["resumed_batches"] >= 4
    assert row.value == pytest.approx(value_without_interruption(), abs=1e-12)
    assert s3.names(bucket_url) == []  # nobody needs them any more
    assert [path for path in (tmp_path / "machine-b").rglob("*") if path.is_file()] == []


def test_a_trial_that_is_handed_back_leaves_its_very_last_batch_to_another_machine(
    database: Database,
    toy: StudyMaker,
    bucket_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = create_study(database, toy("budget.trials=1")).study
    monkeypatch.setenv("TUNER_CACHE", str(tmp_path / "machine-a"))
    worker = make_worker(database, study, "counting", artifacts=Bucket(url=bucket_url))

    def interrupt_when_it_has_saved() -> None:
        wait_until(lambda: s3.names(bucket_url))
        worker.interruption.request(signal.SIGTERM)

    thread = threading.Thread(target=interrupt_when_it_has_saved)
    thread.start()
    with pytest.raises(InterruptedWorkerError):
        worker.run()
    thread.join()
    here = [path.name for path in (tmp_path / "machine-a").rglob("*.ckpt")]

    monkeypatch.setenv("TUNER_CACHE", str(tmp_path / "machine-b"))
    make_worker(database, study, "counting", artifacts=Bucket(url=bucket_url)).run()

    (row,) = trials(database, study)
    assert row.value == pytest.approx(value_without_interruption(), abs=1e-12)
    resumed = show_trial(database, study, 0).attributes["resumed_batches"]
    assert resumed == int(max(here)[:10])


def test_training_goes_on_when_the_store_goes_away(
    sqlite: str,
    bucket_url: str,
    machine_cache: Path,
    impatient: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Database.open(sqlite) as database:
        study = find_study(database, "toy")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

        make_worker(database, study, "counting", artifacts=Bucket(url=bucket_url)).run()

        assert {row.state for row in trials(database, study)} == {"complete"}
        assert caplog.text.count("Checkpoints cannot be kept in") == 1


def test_leases_are_renewed_while_the_store_is_silent(
    sqlite: str,
    bucket_url: str,
    machine_cache: Path,
    impatient: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Database.open(sqlite) as database:
        study = find_study(database, "toy")
        monkeypatch.setattr("tuner.worker.worker.CLOSE_SECONDS", 0.1)
        leases: list[float] = []

        def look() -> None:
            while worker_thread.is_alive():
                with database.transaction() as session:
                    rows = session.execute(text("SELECT held, lease_seconds FROM tuner_workers"))
                    leases.extend(row.lease_seconds for row in rows if row.held)
                time.sleep(0.1)

        with socket.create_server(("127.0.0.1", 0)) as silent:  # takes calls and never answers
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
            artifacts = Bucket(url=bucket_url)
            worker = make_worker(database, study, "counting", artifacts=artifacts, lease=6.0)
            worker_thread = threading.Thread(target=worker.run)
            worker_thread.start()
            look()

        assert {row.state for row in trials(database, study)} == {"complete"}
        assert len(leases) > 3
        assert min(leases) > 0  # the store is given much longer for an answer
