"""The IMDB reviews are read from a file at hand, as data and never as code."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tuner.config import DataConfig
from tuner.data.corpus import Corpus
from tuner.data.sources import read, read_test
from tuner.errors import DataError

WORDS = {"the": 1, "film": 2, "good": 3, "bad": 4, "don't": 5}
TRAIN = [[1, 2, 3], [1, 2, 4], [3], [4, 4]]
TEST = [[5, 3], [5, 4, 1]]


def ragged(rows: list[list[int]]) -> np.ndarray[tuple[int, ...], np.dtype[np.object_]]:
    array = np.empty(len(rows), object)
    array[:] = rows
    return array


def write_npz(folder: Path, *, words: dict[str, int] | None = WORDS) -> Path:
    path = folder / "imdb.npz"
    np.savez(
        path,
        x_train=ragged(TRAIN),
        y_train=np.array([1, 0, 1, 0]),
        x_test=ragged(TEST),
        y_test=np.array([1, 0]),
    )
    if words is not None:
        (folder / "imdb_word_index.json").write_text(json.dumps(words))
    return path


def read_file(path: Path) -> Corpus:
    return read(DataConfig(source="imdb", path=str(path)), seed=0, folder=path.parent)


def explained(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_file(path)
    return str(caught.value)


def test_reviews_are_texts_where_the_words_are_known(tmp_path: Path) -> None:
    corpus = read_file(write_npz(tmp_path))
    assert corpus.texts == ("the film good", "the film bad", "good", "bad bad")
    assert corpus.ranks is None
    assert corpus.classes == ("negative", "positive")
    assert corpus.labels.tolist() == [1, 0, 1, 0]
    assert corpus.notes == ()


def test_reviews_are_ranks_with_a_note_where_the_words_are_missing(tmp_path: Path) -> None:
    corpus = read_file(write_npz(tmp_path, words=None))
    assert corpus.texts is None
    assert [ranks.tolist() for ranks in corpus.ranks or ()] == TRAIN
    assert [ranks.dtype for ranks in corpus.ranks or ()] == [np.int32] * 4
    assert "No word index" in corpus.notes[0]


def test_test_reviews_are_read_through_their_own_door_only(tmp_path: Path) -> None:
    path = write_npz(tmp_path)
    config = DataConfig(source="imdb", path=path.name)
    test = read_test(config, classes=("negative", "positive"), seed=0, folder=tmp_path)
    assert test.texts == ("don't good", "don't bad the")
    assert test.labels.tolist() == [1, 0]
    assert not set(test.texts) & set(read_file(path).texts or ())


class Malicious:
    """Unpickled without care, it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (str(self.target), "w"))


def test_code_in_the_file_is_never_run(tmp_path: Path) -> None:
    path, target = write_npz(tmp_path), tmp_path / "it ran"
    bomb = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        bomb, {"descr": "|O", "fortran_order": False, "shape": (4,)}
    )
    bomb.write(pickle.dumps(Malicious(target)))
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, bomb.getvalue() if name == "x_train.npy" else content)
    assert "refused to load" in explained(path)
    assert not target.exists()


def test_code_inside_an_array_is_never_run(tmp_path: Path) -> None:
    path, target = tmp_path / "imdb.npz", tmp_path / "it ran"
    array = np.empty(2, object)
    array[:] = [[1], Malicious(target)]
    np.savez(path, x_train=array, y_train=np.array([0, 1]))
    assert "refused to load" in explained(path)
    assert not target.exists()


def test_a_file_that_is_no_npz_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "imdb.npz"
    path.write_bytes(b"half a download")
    assert "cannot be read in the layout of Keras's imdb.npz" in explained(path)


def test_an_npz_of_something_else_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "imdb.npz"
    np.savez(path, x=np.zeros(3))
    assert "Expected x_train, y_train, x_test and y_test" in explained(path)


def test_labels_other_than_0_and_1_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "imdb.npz"
    np.savez(path, x_train=ragged(TRAIN), y_train=np.array([0, 1, 2, 3]))
    assert "as many reviews as labels of 0 and 1" in explained(path)


def test_reviews_that_are_no_ranks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "imdb.npz"
    np.savez(path, x_train=ragged([[0, 1], [2]]), y_train=np.array([0, 1]))
    assert "expected lists of word ranks from 1 in x_train" in explained(path)


def test_a_word_index_of_other_reviews_is_refused(tmp_path: Path) -> None:
    message = explained(write_npz(tmp_path, words={"the": 1, "film": 2}))
    assert "holds word 4" in message
    assert "knows 2 words" in message


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"a": "b"}'])
def test_a_broken_word_index_is_explained(content: str, tmp_path: Path) -> None:
    path = write_npz(tmp_path)
    (tmp_path / "imdb_word_index.json").write_text(content)
    assert "Expected a JSON object of words and their ranks" in explained(path)


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.path = 'no\.npz': no such file"):
        read(DataConfig(source="imdb", path="no.npz"), seed=0, folder=tmp_path)


def test_a_file_in_the_cache_of_keras_needs_no_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "datasets").mkdir()
    write_npz(tmp_path / "datasets")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    corpus = read(DataConfig(source="imdb"), seed=0, folder=tmp_path)
    assert (corpus.texts or ())[0] == "the film good"
