"""From a study file to ids: divided, with the words of the training texts only."""

import json
from pathlib import Path

import numpy as np
import pytest

from tuner.config import DataConfig
from tuner.data.fingerprint import fingerprint
from tuner.data.prepare import Prepared, prepare
from tuner.data.sources import read
from tuner.data.split import split
from tuner.data.text import build_vectorizer


def write(folder: Path) -> DataConfig:
    # Every text has a word of its own, so that words of validation texts would show.
    lines = [
        json.dumps({"text": f"the film w{i}" if i % 7 else "", "label": "np"[i % 2]})
        for i in range(100)
    ]
    (folder / "r.jsonl").write_text("\n".join(lines))
    return DataConfig(source="r.jsonl", validation=0.25, vocabulary=1_000)


def texts_of(prepared: Prepared, part: str) -> list[str]:
    data = prepared.train if part == "train" else prepared.validation
    names = ("<pad>", "<unknown>", *(prepared.words or ()))
    parts = np.split(data.ids, data.offsets[1:-1])
    return [" ".join(names[i] for i in ids) for ids in parts]


def test_prepared_data_is_divided_as_split_says_and_encoded_by_the_words(tmp_path: Path) -> None:
    config = write(tmp_path)
    prepared = prepare(config, seed=3, folder=tmp_path)
    corpus = read(config, seed=3, folder=tmp_path)
    training, validation = split(corpus, validation=0.25, seed=3)
    assert prepared.classes == ("n", "p")
    assert prepared.train.labels.tolist() == corpus.labels[training].tolist()
    assert prepared.validation.labels.tolist() == corpus.labels[validation].tolist()
    texts = corpus.texts or ()
    assert texts_of(prepared, "train") == [texts[i] or "<unknown>" for i in training]
    assert texts_of(prepared, "validation") == [
        "the film <unknown>" if texts[i] else "<unknown>" for i in validation
    ]
    assert prepared.fingerprint == fingerprint(corpus, config, seed=3)
    assert prepared.notes == corpus.notes


def test_the_words_are_those_of_training_texts_only(tmp_path: Path) -> None:
    config = write(tmp_path)
    prepared = prepare(config, seed=3, folder=tmp_path)
    corpus = read(config, seed=3, folder=tmp_path)
    training, _ = split(corpus, validation=0.25, seed=3)
    seen = {word for i in training for word in (corpus.texts or ())[i].split()}
    assert set(prepared.words or ()) == seen


def test_a_new_text_becomes_ids_by_the_stored_words(tmp_path: Path) -> None:
    prepared = prepare(write(tmp_path), seed=3, folder=tmp_path)
    ids = build_vectorizer(prepared.words or ())(["The film?", "never seen"])
    assert sorted(ids.flat_values.numpy().tolist()) == [1, 1, 2, 3]


def test_the_same_study_gives_the_same_data_twice(tmp_path: Path) -> None:
    config = write(tmp_path)
    one, two = (prepare(config, seed=1, folder=tmp_path) for _ in range(2))
    assert one.fingerprint == two.fingerprint
    assert one.words == two.words
    assert (one.train.ids == two.train.ids).all()
    other = prepare(config, seed=2, folder=tmp_path)
    assert other.fingerprint != one.fingerprint
    assert other.words != one.words


def test_word_ranks_become_ids_without_words(tmp_path: Path) -> None:
    rows = [[1, 2, i + 1] for i in range(40)]
    reviews = np.empty(40, object)
    reviews[:] = rows
    np.savez(tmp_path / "imdb.npz", x_train=reviews, y_train=np.arange(40) % 2)
    config = DataConfig(source="imdb", path="imdb.npz", vocabulary=30)
    prepared = prepare(config, seed=0, folder=tmp_path)
    assert prepared.words is None
    assert len(prepared.train) == 32
    assert prepared.train.ids.reshape(-1, 3)[:, :2].tolist() == [[2, 3]] * 32
    assert prepared.train.ids.max() < 30
    assert "No word index" in prepared.notes[0]


@pytest.mark.parametrize("examples", [12, 60])
def test_little_data_is_prepared_too(examples: int) -> None:
    config = DataConfig(source="demo", examples=examples)
    prepared = prepare(config, seed=0, folder=Path())
    assert len(prepared.train) + len(prepared.validation) == examples
    assert np.bincount(prepared.validation.labels).min() >= 1
