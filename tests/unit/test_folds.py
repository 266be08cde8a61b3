"""Folds judge by examples that judged nothing before, and keep together what belongs together."""

import dataclasses

import numpy as np
import pytest

from tests.unit.test_data_split import make_corpus
from tuner.data.corpus import Corpus
from tuner.data.split import Fold, numbered_units, split, split_fold
from tuner.errors import DataError


def grouped(n: int = 1_200) -> Corpus:
    rng = np.random.default_rng(0)
    groups = np.sort(rng.integers(0, 150, n))
    labels = (rng.random(n) < 0.2 + 0.6 * (groups % 2)).astype(int).tolist()
    return make_corpus(labels, groups=[f"movie {group}" for group in groups])


def folds(
    corpus: Corpus, of: int, *, validation: float = 0.2, seed: int = 0
) -> list[tuple[list[int], list[int]]]:
    """Give training and validation rows of all folds."""
    found = (
        split_fold(corpus, Fold(number=number, of=of), validation=validation, seed=seed)
        for number in range(of)
    )
    return [(training.tolist(), judging.tolist()) for training, judging in found]


@pytest.mark.parametrize("corpus", [make_corpus([0, 1, 1] * 300), grouped()])
def test_no_example_judges_twice_be_it_in_the_search_or_in_a_fold(corpus: Corpus) -> None:
    _, searched = split(corpus, validation=0.2, seed=0)
    judging = [row for _, rows in folds(corpus, 6) for row in rows]

    assert len(set(judging)) == len(judging)
    assert not set(judging) & set(searched.tolist())
    assert len(judging) + len(searched) == len(corpus)


@pytest.mark.parametrize("validation", [0.1, 0.2, 0.35, 0.5])
@pytest.mark.parametrize("of", [4, 6])
def test_a_fold_learns_from_as_many_examples_as_the_search_and_from_none_that_judge(
    validation: float, of: int
) -> None:
    corpus = make_corpus([0] * 700 + [1] * 300)
    searched, held = split(corpus, validation=validation, seed=3)

    for training, judging in folds(corpus, of, validation=validation, seed=3):
        assert len(training) == len(searched)
        assert len(judging) <= len(held)
        assert len(judging) >= min(len(held), len(searched) // of) - 1
        assert not set(training) & set(judging)
        assert training == sorted(training)
        share = np.mean(corpus.labels[judging])
        assert share == pytest.approx(0.3, abs=1 / len(judging))


def test_groups_never_straddle_and_folds_are_equally_large() -> None:
    corpus = grouped()
    assert corpus.groups is not None
    found = folds(corpus, 6)

    for training, judging in found:
        names = [{corpus.groups[row] for row in rows} for rows in (training, judging)]
        assert not names[0] & names[1]
    sizes = [len(judging) for _, judging in found]
    assert max(sizes) - min(sizes) <= 5


def test_texts_that_differ_in_case_and_space_only_stay_together() -> None:
    texts = [f"{'Text' if i % 2 else ' text'}  {i // 4}" for i in range(400)]
    corpus = make_corpus([i // 4 % 2 for i in range(400)], texts)

    for training, judging in folds(corpus, 4):
        assert not {i // 4 for i in training} & {i // 4 for i in judging}


def test_ranks_are_folded_like_texts() -> None:
    ranks = tuple(np.array([1, i // 2 + 1], np.int32) for i in range(200))
    corpus = dataclasses.replace(
        make_corpus([i // 2 % 2 for i in range(200)]), texts=None, ranks=ranks
    )

    for training, judging in folds(corpus, 4):
        assert not {i // 2 for i in training} & {i // 2 for i in judging}


def test_the_studys_seed_decides_all_folds() -> None:
    corpus = make_corpus([0, 1] * 200)

    assert folds(corpus, 4) == folds(corpus, 4)
    assert folds(corpus, 4) != folds(corpus, 4, seed=1)


def test_too_few_groups_are_refused_with_a_way_out() -> None:
    corpus = make_corpus([0, 1] * 40, groups=[str(i // 16) for i in range(80)])

    with pytest.raises(DataError, match=r"4 texts or groups .* fewer --seeds"):
        folds(corpus, 6)


def test_a_small_share_of_few_groups_is_no_hindrance() -> None:
    corpus = make_corpus([0, 1] * 40, groups=[str(i // 2) for i in range(80)])

    found = folds(corpus, 4, validation=0.02)

    assert [len(judging) for _, judging in found] == [2, 2, 2, 2]


def test_what_belongs_together_is_numbered_within_the_examples_asked_for() -> None:
    corpus = make_corpus([0, 1] * 4, groups=list("ababccdd"))

    numbers = numbered_units(corpus, np.array([1, 3, 4, 5, 6]))

    assert numbers.tolist() == [0, 0, 1, 1, 2]
    assert numbers.dtype == np.int64
