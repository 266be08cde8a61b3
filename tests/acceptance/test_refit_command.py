"""`refit` and `predict` through the command line: the test set is opened there, and once."""

import contextlib
import csv
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.commands import TINY, ask, call, command, environment, start
from tuner.config import DataConfig
from tuner.data import read, read_test
from tuner.deliver import open_artifact
from tuner.storage import Database, find_study, list_readings

#: linux/inotify.h
_IN_OPEN, _IN_NONBLOCK = 0x20, 0o4000


@contextlib.contextmanager
def watched(path: Path) -> Iterator[list[int]]:
    """Count how often any process opens a file; the counts come at the end."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(_IN_NONBLOCK)
    assert descriptor >= 0
    assert libc.inotify_add_watch(descriptor, bytes(path), _IN_OPEN) >= 0
    opened: list[int] = []
    try:
        yield opened
        with contextlib.suppress(BlockingIOError):
            opened += [1] * (len(os.read(descriptor, 2**16)) // 16)
    finally:
        os.close(descriptor)


def write_reviews(path: Path, part: str) -> None:
    config = DataConfig(source="demo", examples=120)
    if part == "test":
        corpus = read_test(config, classes=("negative", "positive"), seed=0, folder=Path())
    else:
        corpus = read(config, seed=0, folder=Path())
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "film"])
        rows = zip(corpus.texts or (), corpus.labels.tolist(), strict=True)
        for number, (text, label) in enumerate(rows):
            writer.writerow([text, corpus.classes[label], number // 3])


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A study whose search is over."""

    #: Where its data is.
    folder: Path
    #: Where it is.
    storage: str
    #: An entry for each time that the test set was opened until then.
    opened: list[int]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("study")
    write_reviews(folder / "reviews.csv", "train")
    write_reviews(folder / "unseen.csv", "test")
    path = folder / "tiny.toml"
    path.write_text(
        TINY.replace('"demo"', '"reviews.csv"\ntest = "unseen.csv"\ngroup = "film"')
        .replace("examples   = 120\n", "")
        .replace("trials = 3", "trials = 1")
    )
    storage = f"sqlite:///{folder / 'tuner.db'}"
    with watched(folder / "unseen.csv") as opened:
        for done in (
            ask("check", path, storage=storage),
            call("run", path, storage=storage),
            ask("best", "tiny", storage=storage),
            ask("report", "tiny", "-o", folder / "report.html", storage=storage),
        ):
            assert done.returncode == 0, done.stderr
    return Finished(folder=folder, storage=storage, opened=opened)


pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="inotify tells which files are opened"
)


def test_refit_alone_opens_the_test_set_and_notes_it(finished: Finished, tmp_path: Path) -> None:
    assert finished.opened == []
    target = tmp_path / "tiny.model"
    unseen = finished.folder / "unseen.csv"

    with watched(unseen) as opened:
        words = ("refit", "tiny", "-o", target, "--seeds", "2", "--format", "json")
        done = call(*words, storage=finished.storage)
        assert done.returncode == 0, done.stderr
    assert len(opened) == 1
    told = json.loads(done.stdout)
    assert told["test"]["reading"] == 1
    assert told["test"]["judgement"]["n_examples"] == 120
    assert told["test"]["group"] == "film"
    assert told["test"]["comparisons"][0]["other"].startswith("bag of bigrams")
    assert [member["seed"] for member in told["members"]] == [0, 1]
    assert "model 2 of 2: epoch 1 of 1" in done.stderr
    card = (target / "README.md").read_text()
    assert "120 test examples" in card
    assert "intervals, by whole groups of the column `film`" in card
    with Database.open(finished.storage) as database:
        (reading,) = list_readings(database, find_study(database, "tiny"))
    assert reading.metrics["accuracy"] == told["test"]["judgement"]["metrics"]["accuracy"]["value"]

    with watched(unseen) as opened:
        done = call("refit", "tiny", "-o", tmp_path / "more.model", storage=finished.storage)
    assert done.returncode == 2
    assert "was read already" in done.stderr
    assert opened == []
    assert not (tmp_path / "more.model").exists()

    _predicts(target)


def test_a_test_set_that_is_not_there_is_missed_before_the_training(
    finished: Finished, tmp_path: Path
) -> None:
    unseen = finished.folder / "unseen.csv"
    unseen.rename(tmp_path / "elsewhere.csv")
    try:
        words = ("refit", "tiny", "-o", tmp_path / "x.model", "--again")
        done = ask(*words, storage=finished.storage)
    finally:
        (tmp_path / "elsewhere.csv").rename(unseen)

    assert done.returncode == 2
    assert "data.test = 'unseen.csv': no such file or folder" in done.stderr
    assert "epoch" not in done.stderr
    assert not (tmp_path / "x.model").exists()


def _predicts(target: Path) -> None:
    texts = ["A great movie!", "über\x85 alles", ""]
    artifact = open_artifact(target)
    assert artifact.manifest.test is not None
    expected = artifact.predict(texts)

    done = subprocess.run(
        command("predict", target, "-", "--format", "json"),
        input="\n".join(texts) + "\n",
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment(None),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    shares = [list(row["probabilities"].values()) for row in rows]
    assert np.array(shares) == pytest.approx(expected, abs=1e-5)
    assert [row["class"] for row in rows] == [
        ("negative", "positive")[i] for i in expected.argmax(axis=1)
    ]


@pytest.mark.slow
def test_an_interrupted_refit_leaves_nothing(
    finished: Finished, tmp_path: Path, heard_interruptions: None
) -> None:
    words = ("refit", "tiny", "-o", tmp_path / "a.model", "--seeds", "100", "--no-test")
    running = start(*words, storage=finished.storage)
    assert running.stderr is not None
    next(line for line in running.stderr if "model 2 of 100" in line)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)

    assert running.returncode == 130
    assert said.splitlines()[-1] == "Interrupted."
    assert list(tmp_path.iterdir()) == []
