"""Checkpoints come back whole or not at all, run no code, and stop no training."""

import hashlib
import io
import logging
import math
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tuner.checkpoint_store import CheckpointStore
from tuner.checkpoints import Array, Checkpoints, Report, Snapshot


def snapshot(n_batches: int = 7, size: int = 4) -> Snapshot:
    return Snapshot(
        n_batches=n_batches,
        seconds=0.1 + n_batches,
        reports=(
            Report(step=1, value=0.5, metrics={"val_loss": 0.1 + 0.2, "val_auc": 1.0}, loss=0.7),
            Report(step=4, value=0.6, metrics={"val_loss": 1 / 3, "val_auc": 0.25}, loss=1e-30),
        ),
        best_step=4,
        arrays={
            "model": (np.arange(size, dtype=np.float32) / 3, np.array([1, 2**32 - 1], np.uint32)),
            "optimizer": (np.array(12, np.int64), np.ones((2, 3), np.float32)),
            "best": (),
        },
    )


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "study" / "slot-000012" / "834"


def test_a_checkpoint_comes_back_to_the_last_bit(folder: Path) -> None:
    Checkpoints(folder).write(snapshot())

    read = Checkpoints(folder).newest()

    assert read is not None
    assert (read.n_batches, read.seconds, read.best_step) == (7, 7.1, 4)
    assert read.reports == snapshot().reports
    assert read.arrays.keys() == snapshot().arrays.keys()
    for name, arrays in snapshot().arrays.items():
        for before, after in zip(arrays, read.arrays[name], strict=True):
            assert (before.dtype, before.shape) == (after.dtype, after.shape)
            assert before.tobytes() == after.tobytes()


def test_a_metric_that_does_not_exist_comes_back_as_such(folder: Path) -> None:
    report = Report(step=1, value=0.5, metrics={"val_auc": math.nan}, loss=0.7)
    Checkpoints(folder).write(
        Snapshot(n_batches=1, seconds=1.0, reports=(report,), best_step=None, arrays={})
    )

    read = Checkpoints(folder).newest()

    assert read is not None
    assert math.isnan(read.reports[0].metrics["val_auc"])
    assert read.best_step is None


def test_the_newest_two_are_kept(folder: Path) -> None:
    checkpoints = Checkpoints(folder)
    for n_batches in (9, 99, 100, 1000):
        checkpoints.write(snapshot(n_batches))

    assert [name[:11] for name in files(folder)] == ["0000000100-", "0000001000-"]


def test_the_furthest_of_all_holders_of_the_slot_counts_and_no_other_slot(folder: Path) -> None:
    for token, n_batches in (("1", 5), ("2", 8), ("3", 6)):
        Checkpoints(folder.with_name(token)).write(snapshot(n_batches))
    Checkpoints(folder.parent.with_name("slot-000013") / "4").write(snapshot(50))

    read = Checkpoints(folder).newest()

    assert read is not None
    assert read.n_batches == 8


def test_without_a_checkpoint_there_is_none(folder: Path) -> None:
    assert Checkpoints(folder).newest() is None


def test_whoever_wants_to_know_is_told_of_each_checkpoint(folder: Path) -> None:
    told: list[Snapshot] = []
    written = snapshot()

    Checkpoints(folder, on_write=told.append).write(written)

    assert told == [written]


# --- what does not count -------------------------------------------------------------------------


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def turned_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def renamed_to_be_further(path: Path) -> None:
    path.rename(path.with_name("0000000099" + path.name[10:]))


def replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def never_finished(path: Path) -> None:
    path.rename(path.with_name(path.name + ".tmp"))


@pytest.mark.parametrize(
    "damage",
    [cut_short, emptied, turned_a_bit, renamed_to_be_further, replaced_by_a_folder, never_finished],
)
def test_a_damaged_checkpoint_is_skipped_for_the_one_before(
    folder: Path, damage: Callable[[Path], None]
) -> None:
    checkpoints = Checkpoints(folder)
    checkpoints.write(snapshot(7))
    checkpoints.write(snapshot(8))
    damage(max(folder.iterdir()))

    read = checkpoints.newest()

    assert read is not None
    assert read.n_batches == 7


def test_a_skipped_checkpoint_is_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    Checkpoints(folder).write(snapshot())
    cut_short(next(folder.iterdir()))

    assert Checkpoints(folder).newest() is None
    assert "is skipped: its checksum is wrong" in caplog.text


def test_a_checkpoint_of_another_identity_is_skipped_and_the_log_says_why(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Checkpoints(folder, identity={"data": "a", "device": "cpu"}).write(snapshot(7))
    Checkpoints(folder, identity={"data": "b", "device": "cpu"}).write(snapshot(8))
    mine = Checkpoints(folder, identity={"device": "cpu"})
    mine.identify(data="a")

    read = mine.newest()

    assert read is not None
    assert read.n_batches == 7
    assert "is skipped: other data" in caplog.text
    mine.identify(seed="1")
    assert mine.newest() is None


class Payload:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.trace),)


def pickled(objects: Array, _good: bytes) -> bytes:
    return pickle.dumps(objects)


def with_header(objects: Array, good: bytes) -> bytes:
    return with_array("header", objects, good)


def with_weights(objects: Array, good: bytes) -> bytes:
    return with_array("model.0", objects, good)


def with_array(name: str, objects: Array, good: bytes) -> bytes:
    file = io.BytesIO()
    with np.load(io.BytesIO(good)) as arrays:
        np.savez(file, allow_pickle=True, **{**arrays, name: objects})
    return file.getvalue()


@pytest.mark.parametrize("forge", [pickled, with_header, with_weights])
def test_code_in_a_checkpoint_is_not_run(
    folder: Path, tmp_path: Path, forge: Callable[[Array, bytes], bytes]
) -> None:
    Checkpoints(folder).write(snapshot(7))
    Checkpoints(folder).write(snapshot(8))
    newest = max(folder.iterdir())
    trace = tmp_path / "trace"
    forged = forge(np.array([Payload(trace)], object), newest.read_bytes())
    newest.unlink()
    (folder / f"0000000008-{hashlib.sha256(forged).hexdigest()}.ckpt").write_bytes(forged)

    read = Checkpoints(folder).newest()

    assert read is not None
    assert read.n_batches == 7
    assert not trace.exists()
    loaded = np.load(io.BytesIO(forged), allow_pickle=True)  # whereas this does run it
    assert trace.exists() or [loaded[name] for name in loaded.files]
    assert trace.exists()


# --- trouble with the disk -----------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    told: list[Snapshot] = []
    checkpoints = Checkpoints(tmp_path / "file" / "slot-000001" / "2", on_write=told.append)

    checkpoints.write(snapshot(1))
    checkpoints.write(snapshot(2))

    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "Training goes on" in caplog.text
    assert not told
    assert checkpoints.newest() is None


WITH_LITTLE_ROOM = """
import resource, sys
from pathlib import Path
from tests.unit.test_checkpoints import Checkpoints, snapshot
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
Checkpoints(Path(sys.argv[1])).write(snapshot(8, size=100_000))
"""


def test_a_disk_that_is_full_leaves_no_half_file_and_the_older_checkpoint(folder: Path) -> None:
    Checkpoints(folder).write(snapshot(7))
    before = files(folder)

    done = subprocess.run(
        [sys.executable, "-c", WITH_LITTLE_ROOM, str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "No checkpoint could be written" in done.stderr
    assert files(folder) == before


# --- the folders of a study ----------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    made = CheckpointStore(tmp_path, "study")
    for slot, token in ((3, 1), (3, 2), (4, 3), (1_234_567, 4)):
        Checkpoints(made.folder(slot, token)).write(snapshot())
    return made


def slots(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "study").iterdir())


def test_each_holder_of_a_slot_has_a_folder(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, "study")
    assert store.folder(12, 834) == tmp_path / "study" / "slot-000012" / "834"
    assert not (tmp_path / "study").exists()


def test_a_forgotten_slot_has_no_checkpoints_of_any_holder(
    store: CheckpointStore, tmp_path: Path
) -> None:
    store.forget(3)
    store.forget(3)
    store.forget(77)
    assert slots(tmp_path) == ["slot-000004", "slot-1234567"]


def test_a_sweep_leaves_open_slots_and_what_is_not_ours(
    store: CheckpointStore, tmp_path: Path
) -> None:
    (tmp_path / "study" / "notes").mkdir()
    store.sweep({4})
    assert slots(tmp_path) == ["notes", "slot-000004"]


def test_a_sweep_after_the_last_slot_removes_the_folder_of_the_study(
    store: CheckpointStore, tmp_path: Path
) -> None:
    store.sweep(())
    store.sweep(())
    assert not list(tmp_path.iterdir())


def test_a_removed_study_leaves_nothing(store: CheckpointStore, tmp_path: Path) -> None:
    store.remove()
    store.remove()
    assert not list(tmp_path.iterdir())


def test_several_workers_may_forget_the_same_slot_at_once(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, "study")
    for token in range(30):
        Checkpoints(store.folder(5, token)).write(snapshot())
    failed: list[BaseException] = []
    start = threading.Barrier(8)

    def forget() -> None:
        start.wait()
        try:
            store.forget(5)
        except BaseException as error:  # noqa: BLE001 - a thread would lose it
            failed.append(error)

    threads = [threading.Thread(target=forget) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failed
    assert slots(tmp_path) == []


def test_folders_that_cannot_be_removed_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "study").write_text("no folder")
    store = CheckpointStore(tmp_path, "study")

    store.forget(1)
    store.sweep(())
    store.remove()

    assert "cannot be listed" in caplog.text
    assert "cannot be removed" in caplog.text


@pytest.mark.parametrize("key", ["", ".", "..", "a/b", "/"])
def test_a_key_that_leads_elsewhere_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="a name for a folder"):
        CheckpointStore(tmp_path, key)
