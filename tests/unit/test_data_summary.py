"""What a person is told about the data, and the name that a study knows it by."""

import dataclasses
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from tuner.config import DataConfig
from tuner.data.corpus import Corpus
from tuner.data.fingerprint import fingerprint
from tuner.data.sources import read
from tuner.data.summary import describe

CORPUS = Corpus(
    texts=("a b c", "d", "", "e f"),
    ranks=None,
    labels=np.array([0, 1, 1, 1], np.int32),
    classes=("neg", "pos"),
    groups=("x", "x", "y", "z"),
    notes=("Something.",),
)
CONFIG = DataConfig(source="r.csv")


def test_a_summary_counts_examples_classes_words_and_groups() -> None:
    summary = describe(CORPUS)
    assert summary.n_examples == 4
    assert summary.classes == (("neg", 1), ("pos", 3))
    assert summary.median_words == 1.5
    assert summary.p95_words == pytest.approx(2.85)
    assert summary.n_groups == 3
    assert summary.notes == ("Something.",)


def test_ranks_are_summed_up_like_words() -> None:
    ranks = (np.array([5, 6], np.int32), np.array([7], np.int32))
    corpus = dataclasses.replace(
        CORPUS, texts=None, ranks=ranks, groups=None, labels=np.array([0, 1], np.int32)
    )
    assert describe(corpus).median_words == 1.5
    assert describe(corpus).n_groups is None


def test_the_fingerprint_does_not_depend_on_where_the_data_lies(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"text {i}", "label": i % 2}) for i in range(8)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    names = set()
    for source in ("a.jsonl", "b.jsonl.gz"):
        config = DataConfig(source=source)
        corpus = read(config, seed=0, folder=tmp_path)
        names.add(fingerprint(corpus, config, seed=0))
    (name,) = names
    assert len(name) == 32


@pytest.mark.parametrize(
    "changed",
    [
        {"texts": ("a b c", "d", "", "e g")},
        {"texts": ("a b c", "", "d", "e f")},
        {"texts": ("a b c", "d", "e f", "")},
        {"labels": np.array([0, 1, 1, 0], np.int32)},
        {"classes": ("neg", "other")},
        {"groups": ("x", "y", "y", "z")},
        {"groups": None},
        {"texts": None, "ranks": (np.array([1], np.int32),) * 4},
    ],
)
def test_other_examples_have_another_fingerprint(changed: dict[str, object]) -> None:
    other = dataclasses.replace(CORPUS, **changed)  # type: ignore[arg-type]  # parametrized
    assert fingerprint(other, CONFIG, seed=0) != fingerprint(CORPUS, CONFIG, seed=0)


@pytest.mark.parametrize("changed", [{"vocabulary": 10}, {"validation": 0.3}, {"examples": 10}])
def test_another_preparation_has_another_fingerprint(changed: dict[str, object]) -> None:
    other = CONFIG.model_copy(update=changed)
    assert fingerprint(CORPUS, other, seed=0) != fingerprint(CORPUS, CONFIG, seed=0)
    assert fingerprint(CORPUS, CONFIG, seed=1) != fingerprint(CORPUS, CONFIG, seed=0)


def test_notes_are_no_part_of_the_fingerprint() -> None:
    other = dataclasses.replace(CORPUS, notes=())
    assert fingerprint(other, CONFIG, seed=0) == fingerprint(CORPUS, CONFIG, seed=0)
