"""Prepared data is made once a machine, shared, and never trusted where it could be wrong."""

import fcntl
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.prepared import prepare_slowly, reviews
from tuner.cli import main
from tuner.config import DataConfig
from tuner.data import cache, origin
from tuner.data.cache import kept_data
from tuner.data.entry import MAGIC, ForeignError, check_owner
from tuner.data.origin import origin_of
from tuner.data.prepare import Prepared, prepare
from tuner.worker.process import trainer_environment

#: Prepares the data of a folder in a process of its own.
PREPARE = "import sys; from tests.prepared import reviews; reviews(sys.argv[1])"


@pytest.fixture
def data(tmp_path: Path, machine_cache: Path) -> Path:
    """A file with reviews."""
    path = tmp_path / "r.jsonl"
    write(path, "film")
    return path


def write(path: Path, word: str) -> None:
    path.write_text(
        "".join(
            json.dumps({"text": f"{word} w{i} été", "label": "np"[i % 2]}) + "\n" for i in range(40)
        )
    )


def arrays_of(prepared: Prepared) -> list[list[int]]:
    return [
        array.tolist()
        for part in (prepared.train, prepared.validation)
        for array in (part.ids, part.offsets, part.labels)
    ]


def kept_file(machine_cache: Path) -> Path:
    (path,) = machine_cache.glob("ids/*")
    return path


def test_data_from_the_cache_is_what_was_prepared(
    data: Path, machine_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, kept = reviews(data), reviews(data)
    monkeypatch.setenv("TUNER_CACHE", "/proc/1/nothing")
    in_memory = reviews(data)

    assert arrays_of(made) == arrays_of(kept) == arrays_of(in_memory)
    for prepared in (made, kept):
        assert prepared.words == in_memory.words
        assert prepared.fingerprint == in_memory.fingerprint
        assert prepared.summary == in_memory.summary
        assert prepared.train.ids.dtype == np.int32
        assert prepared.train.offsets.dtype == np.int64
    assert in_memory.train.ids.flags.writeable
    assert not kept.train.ids.flags.writeable  # a map of the file


def test_word_ranks_and_made_up_reviews_are_kept_too(machine_cache: Path, tmp_path: Path) -> None:
    rows = np.empty(40, object)
    rows[:] = [[1, 2, i + 1] for i in range(40)]
    np.savez(tmp_path / "imdb.npz", x_train=rows, y_train=np.arange(40) % 2)
    for config in (
        DataConfig(source="imdb", path="imdb.npz", vocabulary=30),
        DataConfig(source="demo", examples=20),
    ):
        made, kept = (prepare(config, seed=0, folder=tmp_path) for _ in range(2))
        assert arrays_of(made) == arrays_of(kept)
        assert made.words == kept.words
    assert len(list(machine_cache.glob("ids/*.ids"))) == 2


def test_whatever_decides_the_ids_has_data_of_its_own(data: Path) -> None:
    usual: dict[str, object] = {"source": "r.jsonl", "vocabulary": 50}
    others: list[dict[str, object]] = [
        {"vocabulary": 20},
        {"validation": 0.5},
        {"examples": 20},
        {"group": "label"},
        {"text": "label"},
        {"label": "text"},
    ]
    names = {
        origin_of(DataConfig.model_validate(usual | other), seed=seed, folder=data.parent).name
        for other, seed in [({}, 0), ({}, 1), *((other, 0) for other in others)]
    }
    assert len(names) == 2 + len(others)
    same = DataConfig.model_validate(usual | {"source": str(data), "test": "other.csv"})
    assert origin_of(same, seed=0, folder=Path()).name in names


def test_processes_that_start_at_once_prepare_once(data: Path, machine_cache: Path) -> None:
    told = machine_cache.with_name("told")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=prepare_slowly, args=(data, told)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    lines = [line.split() for line in told.read_text().splitlines()]
    assert sorted(what for what, _ in lines) == ["built", "has", "has", "has"]
    assert len({fingerprint for what, fingerprint in lines if what == "has"}) == 1
    assert {path.suffix for path in machine_cache.glob("ids/*")} == {".ids"}  # nothing else is left


def test_data_that_grows_old_enough_while_it_is_prepared_is_kept(
    data: Path, machine_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origin, "TIME_GRAIN", 3 * 10**8)
    write(data, "film")  # now
    assert not origin_of(DataConfig(source=str(data)), seed=0, folder=Path()).look().is_settled

    told = machine_cache.with_name("told")
    prepare_slowly(data, told)
    prepare_slowly(data, told)

    assert [line.split()[0] for line in told.read_text().splitlines()] == ["built", "has", "has"]


def test_who_waits_says_for_whom(
    data: Path,
    machine_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(cache, "TELL_AFTER", 0.1)
    told = machine_cache.with_name("told")
    process = multiprocessing.get_context("spawn").Process(target=prepare_slowly, args=(data, told))
    process.start()
    while not told.exists():
        time.sleep(0.01)
    reviews(data)
    process.join(60)
    (record,) = caplog.records
    assert f"is being prepared by process {process.pid} on " in record.getMessage()


def test_a_lock_file_that_nobody_holds_is_no_obstacle(data: Path, machine_cache: Path) -> None:
    (machine_cache / "ids").mkdir(parents=True)
    name = origin_of(DataConfig(source=str(data)), seed=0, folder=Path()).name
    lock = machine_cache / "ids" / f"{name}.lock"
    lock.write_text("process 1 on elsewhere")
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
    prepare(DataConfig(source=str(data)), seed=0, folder=Path())
    assert kept_file(machine_cache).suffix == ".ids"


def write_little() -> None:
    """Let files of this process grow to a part of what prepared data takes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))


def test_a_process_that_is_killed_while_it_writes_leaves_nothing_in_the_way(
    data: Path, machine_cache: Path
) -> None:
    # Python ignores the signal, as it does SIGPIPE, unless it is told otherwise.
    program = f"import signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL); {PREPARE}"
    died = subprocess.run(
        [sys.executable, "-B", "-c", program, str(data)],
        preexec_fn=write_little,
        check=False,
        timeout=60,
    )
    assert died.returncode == -signal.SIGXFSZ
    left = {path.suffix for path in machine_cache.glob("ids/*")}
    assert left == {".lock", ".unfinished"}

    prepared = reviews(data)

    assert not prepared.train.ids.flags.writeable
    assert kept_file(machine_cache).suffix == ".ids"


def test_a_full_disk_costs_memory_and_no_trial(data: Path, machine_cache: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-B", "-c", PREPARE, str(data)],
        preexec_fn=write_little,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "File too large" in done.stderr
    assert "TUNER_CACHE" in done.stderr
    assert list(machine_cache.glob("ids/*")) == []


def cut_off(content: bytes) -> bytes:
    return content[:-1]


def nothing(content: bytes) -> bytes:
    del content
    return b""


def half_a_header(content: bytes) -> bytes:
    return content[:20]


def something_else(content: bytes) -> bytes:
    return b"PK\3\4" + content


def another_id(content: bytes) -> bytes:
    return content[:-400] + bytes([content[-400] ^ 1]) + content[-399:]


def another_word(content: bytes) -> bytes:
    return content.replace(b'"film"', b'"firm"')


def a_longer_manifest(content: bytes) -> bytes:
    return content[: len(MAGIC) + 32] + b"\xff" * 8 + content[len(MAGIC) + 40 :]


@pytest.mark.parametrize(
    "damage",
    [cut_off, nothing, half_a_header, something_else, another_id, another_word, a_longer_manifest],
)
def test_damaged_data_is_prepared_again_and_told_once(
    data: Path,
    machine_cache: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[bytes], bytes],
) -> None:
    expected = arrays_of(reviews(data))
    path = kept_file(machine_cache)
    content = path.read_bytes()
    path.write_bytes(damage(content))
    assert path.read_bytes() != content

    assert arrays_of(reviews(data)) == expected
    assert arrays_of(reviews(data)) == expected

    assert path.read_bytes() == content
    (record,) = caplog.records
    assert "is damaged" in record.getMessage()


def test_a_file_that_changed_within_size_and_time_is_noticed(
    data: Path, machine_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = reviews(data)
    status = data.stat()
    write(data, "firm")
    os.utime(data, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert data.stat().st_size == status.st_size

    after = reviews(data)

    assert after.fingerprint != before.fingerprint
    assert "firm" in (after.words or ())
    assert reviews(data).fingerprint == after.fingerprint
    (record,) = caplog.records
    assert "has changed: it is prepared again" in record.getMessage()
    assert kept_file(machine_cache).suffix == ".ids"  # in place of the old data


def test_a_file_with_the_same_content_is_not_prepared_again(
    data: Path, machine_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviews(data)
    made = made_of(kept_file(machine_cache))
    content = data.read_bytes()
    data.unlink()
    data.write_bytes(content)
    monkeypatch.setattr(origin, "TIME_GRAIN", -(10**12))  # as if all this were long ago
    config = DataConfig(source=str(data), vocabulary=50)
    now = origin_of(config, seed=0, folder=Path()).look()
    assert made["look"] != {"stamps": now.stamps, "is_settled": now.is_settled}

    reviews(data)

    renewed = made_of(kept_file(machine_cache))
    assert renewed["look"] == {"stamps": now.stamps, "is_settled": True}
    assert renewed["arrays"] == made["arrays"]
    inode = kept_file(machine_cache).stat().st_ino
    reviews(data)
    assert kept_file(machine_cache).stat().st_ino == inode  # known from its times alone


def made_of(path: Path) -> dict[str, object]:
    """Read a file's manifest."""
    content = path.read_bytes()
    length = int.from_bytes(content[40:48], "little")
    manifest: dict[str, object] = json.loads(content[48 : 48 + length])
    return manifest


def test_times_are_trusted_only_when_a_later_change_would_show(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = origin_of(DataConfig(source=str(data)), seed=0, folder=Path())
    assert not here.look().is_settled
    monkeypatch.setattr(origin, "TIME_GRAIN", 0)
    time.sleep(0.02)
    assert here.look().is_settled
    later = time.time() + 3600
    os.utime(data, (later, later))  # by another machine's clock
    assert not here.look().is_settled


def test_data_that_changes_while_it_is_read_is_not_kept(
    data: Path, machine_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here = origin_of(DataConfig(source=str(data), vocabulary=50), seed=0, folder=Path())
    expected = reviews(data)
    kept_file(machine_cache).unlink()

    def change_after_reading() -> Prepared:
        write(data, "firm")
        return expected

    assert cache.cached(here, change_after_reading) is expected
    assert "changes while it is read" in caplog.text
    assert list(machine_cache.glob("ids/*")) == []


def test_a_change_anywhere_in_a_folder_is_noticed(tmp_path: Path, machine_cache: Path) -> None:
    folder = tmp_path / "reviews"
    for label in ("neg", "pos"):
        (folder / label).mkdir(parents=True)
        for i in range(10):
            (folder / label / f"{i}.txt").write_text(f"{label} {i}")

    def fingerprint() -> str:
        return prepare(DataConfig(source=str(folder)), seed=0, folder=Path()).fingerprint

    first = fingerprint()
    assert fingerprint() == first
    (folder / "neg" / "3.txt").write_text("gen 3")
    second = fingerprint()
    (folder / "pos" / "new.txt").write_text("new")
    third = fingerprint()
    (folder / "neg").rename(folder / "bad")
    assert len({first, second, third, fingerprint()}) == 4


@pytest.mark.parametrize("place", ["/proc/1/nothing", "file/below"])
def test_a_cache_that_cannot_be_written_costs_memory_and_is_told_once(
    data: Path,
    tmp_path: Path,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TUNER_CACHE", str(tmp_path / place))
    prepared = reviews(data)
    assert prepared.train.ids.flags.writeable
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "holds it in memory. Let TUNER_CACHE name a folder" in record.getMessage()


def test_a_user_without_a_home_prepares_in_memory(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("TUNER_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # nobody is known
    assert reviews(data).train.ids.flags.writeable
    assert "no home folder" in caplog.text


def test_what_another_user_made_is_refused(tmp_path: Path) -> None:
    def status(user: int) -> os.stat_result:
        return os.stat_result((0o40777, 0, 0, 1, user, 0, 0, 0, 0, 0))

    check_owner(tmp_path, status(0))
    check_owner(tmp_path, status(os.geteuid()))
    with pytest.raises(ForeignError, match="belongs to user number"):
        check_owner(tmp_path, status(os.geteuid() + 1))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("whose", ["folder", "file"])
def test_another_users_cache_is_not_used(
    data: Path, machine_cache: Path, whose: str, caplog: pytest.LogCaptureFixture
) -> None:
    reviews(data)
    path = kept_file(machine_cache)
    os.chown(path if whose == "file" else path.parent, 54321, -1)
    assert reviews(data).train.ids.flags.writeable
    assert "belongs to user number 54321" in caplog.text


def test_data_without_use_for_90_days_goes_when_other_data_is_prepared(
    data: Path, machine_cache: Path
) -> None:
    reviews(data)
    old = kept_file(machine_cache)
    long_ago = time.time() - 91 * 24 * 3600
    os.utime(old, (long_ago, long_ago))
    reviews(data)  # a use
    reviews(data, seed=1)
    assert old.exists()
    os.utime(old, (long_ago, long_ago))
    reviews(data, seed=2)
    assert not old.exists()
    assert len(kept_data()) == 2


def test_the_command_lists_and_removes_what_is_kept(data: Path, machine_cache: Path) -> None:
    def call(*words: str) -> tuple[str, str]:
        done = CliRunner().invoke(main, ["cache", *words])
        assert done.exit_code == 0, done.output
        return done.stdout, done.stderr

    assert call() == ("", f"0.0 MB in 0 files in {machine_cache / 'ids'}\n")
    first = reviews(data)
    reviews(data, seed=3)
    older, _ = (path for path in (machine_cache / "ids").iterdir())
    week = time.time() - 8 * 24 * 3600
    os.utime(older, (week, week))

    lines = call()[0].splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{data}: 40 examples, vocabulary 50") for line in lines)
    assert lines[1].endswith("used 192 h 00 min ago")
    told = [json.loads(line) for line in call("--format", "json")[0].splitlines()]
    assert {one["settings"]["seed"] for one in told} == {0, 3}
    assert sum(one["bytes"] for one in told) == sum(
        path.stat().st_size for path in (machine_cache / "ids").iterdir()
    )

    assert "Removed 1 files" in call("--clear", "--older-than", "7")[1]
    assert not older.exists()
    (machine_cache / "ids" / "broken.ids").write_text("what?")
    assert call()[0].splitlines()[0].startswith("damaged: ")
    call("--clear")
    assert kept_data() == []
    assert first.train.ids.sum() > 0  # who has it mapped keeps it
    assert CliRunner().invoke(main, ["cache", "--older-than", "7"]).exit_code == 2


def test_a_trainer_finds_the_same_cache_as_its_worker() -> None:
    seen = trainer_environment({"TUNER_CACHE": "/c", "TUNER_STORAGE": "s"}, threads=1)
    assert seen["TUNER_CACHE"] == "/c"
    assert "TUNER_STORAGE" not in seen
