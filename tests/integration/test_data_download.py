"""IMDB is downloaded as Keras does it, whole or not at all."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tuner.config import DataConfig
from tuner.data import imdb
from tuner.data.corpus import Corpus
from tuner.data.sources import read
from tuner.errors import DataError

TRAIN = [[1, 2], [1, 3], [2], [3]]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without writing a log."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # its name there
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    """A folder that a local web server offers."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        (folder / "address").write_text(f"http://127.0.0.1:{server.server_port}/")
        yield folder
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keras's cache folder for the test, still missing."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "datasets"


def offer(served: Path, monkeypatch: pytest.MonkeyPatch, *, words: bool = True) -> None:
    reviews = np.empty(len(TRAIN), object)
    reviews[:] = TRAIN
    labels = np.array([0, 1, 0, 1])
    np.savez(
        served / imdb.REVIEWS_FILE, x_train=reviews, y_train=labels, x_test=reviews, y_test=labels
    )
    content = (served / imdb.REVIEWS_FILE).read_bytes()
    monkeypatch.setattr(imdb, "REVIEWS_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(imdb, "ORIGIN", (served / "address").read_text())
    if words:
        index = json.dumps({"a": 1, "film": 2, "nice": 3}).encode()
        (served / imdb.WORDS_FILE).write_bytes(index)
        checksum = hashlib.md5(index, usedforsecurity=False).hexdigest()
        monkeypatch.setattr(imdb, "WORDS_MD5", checksum)


def read_imdb() -> Corpus:
    return read(DataConfig(source="imdb"), seed=0, folder=Path())


def test_reviews_and_words_are_downloaded_once_into_the_cache_of_keras(
    served: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(served, monkeypatch)
    corpus = read_imdb()
    assert corpus.texts == ("a film", "a nice", "film", "nice")
    assert sorted(path.name for path in cache.iterdir()) == [imdb.REVIEWS_FILE, imdb.WORDS_FILE]
    assert capsys.readouterr().out == ""  # talk goes to stderr
    for path in served.glob("imdb*"):
        path.unlink()
    assert read_imdb().texts == corpus.texts


def test_reviews_without_words_are_ranks(
    served: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(served, monkeypatch, words=False)
    corpus = read_imdb()
    assert [ranks.tolist() for ranks in corpus.ranks or ()] == TRAIN
    assert str(cache / imdb.WORDS_FILE) in corpus.notes[0]


def test_a_download_with_another_checksum_is_refused_and_not_kept(
    served: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(served, monkeypatch)
    monkeypatch.setattr(imdb, "REVIEWS_SHA256", "0" * 64)
    with pytest.raises(DataError, match=r"imdb\.npz: cannot be downloaded .*corrupted"):
        read_imdb()
    assert list(cache.iterdir()) == []


def test_without_a_network_the_message_says_where_to_put_the_file(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imdb, "ORIGIN", "http://127.0.0.1:9/")
    with pytest.raises(DataError, match=r"cannot be downloaded .*path in \[data\]") as caught:
        read_imdb()
    assert str(cache / "imdb.npz") in str(caught.value)
