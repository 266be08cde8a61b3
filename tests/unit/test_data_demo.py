"""The made-up reviews can be told apart by the order of their words only."""

import itertools
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from tuner.config import DataConfig
from tuner.data.corpus import Corpus
from tuner.data.demo import BAD, GOOD
from tuner.data.sources import read, read_test


def demo(seed: int = 0, examples: int | None = None) -> Corpus:
    config = DataConfig(source="demo", examples=examples)
    return read(config, seed=seed, folder=Path())


def test_counting_words_does_not_tell_the_classes_apart() -> None:
    corpus = demo()
    counts = CountVectorizer().fit_transform(corpus.texts)
    model = LogisticRegression(max_iter=1_000).fit(counts[:3_200], corpus.labels[:3_200])
    assert model.score(counts[3_200:], corpus.labels[3_200:]) < 0.75


def test_reviews_are_balanced_and_of_the_length_of_a_paragraph() -> None:
    corpus = demo()
    assert len(corpus) == 4_000
    assert np.bincount(corpus.labels).tolist() == [2_000, 2_000]
    assert corpus.classes == ("negative", "positive")
    assert 25 <= corpus.n_words().mean() <= 40


def test_hardly_any_review_is_written_twice() -> None:
    keys = demo().keys()
    assert len(set(keys)) > 0.98 * len(keys)


def test_the_seed_decides_every_review() -> None:
    assert demo(seed=3, examples=50).texts == demo(seed=3, examples=50).texts
    assert demo(seed=3, examples=50).texts != demo(seed=4, examples=50).texts


def test_examples_says_how_many_to_make() -> None:
    assert len(demo(examples=51)) == 51


def test_test_reviews_are_other_reviews() -> None:
    config = DataConfig(source="demo", examples=500)
    test = read_test(config, classes=("negative", "positive"), seed=0, folder=Path())
    assert len(test) == 500
    assert len(set(test.keys()) & set(demo(examples=500).keys())) < 5


def test_articles_fit_the_words_after_them() -> None:
    words = " ".join(demo(examples=1_000).texts or ()).lower().split()
    pairs = set(itertools.pairwise(words))
    assert ("an", "awful") in pairs
    assert not {(a, b) for a, b in pairs if a == "a" and b[0] in "aeiou"}


def test_good_and_bad_words_are_different_words() -> None:
    assert not set(GOOD) & set(BAD)
    assert len(set(GOOD)) == len(GOOD) == len(BAD) == len(set(BAD))
