"""The validation split is stratified, repeatable, and keeps together what belongs together."""

import dataclasses

import numpy as np
import pytest

from tuner.data.corpus import Corpus
from tuner.data.split import split
from tuner.errors import DataError


def make_corpus(
    labels: list[int], texts: list[str] | None = None, groups: list[str] | None = None
) -> Corpus:
    return Corpus(
        texts=tuple(texts or (f"text {i}" for i in range(len(labels)))),
        ranks=None,
        labels=np.array(labels, np.int32),
        classes=tuple(str(i) for i in range(max(labels) + 1)),
        groups=None if groups is None else tuple(groups),
        notes=(),
    )


def test_every_example_is_on_one_side_and_rows_ascend() -> None:
    training, validation = split(make_corpus([0, 1] * 50), validation=0.2, seed=0)
    assert sorted([*training, *validation]) == list(range(100))
    assert (np.diff(training) > 0).all()
    assert (np.diff(validation) > 0).all()
    assert training.dtype == validation.dtype == np.int64


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.8])
def test_each_class_is_divided_alike(share: float) -> None:
    corpus = make_corpus([0] * 700 + [1] * 200 + [2] * 100)
    _, validation = split(corpus, validation=share, seed=0)
    counts = np.bincount(corpus.labels[validation]).tolist()
    assert counts == [round(n * share) for n in (700, 200, 100)]


def test_the_seed_alone_decides_the_split() -> None:
    corpus = make_corpus([0, 1] * 100)
    first, same, other = (split(corpus, validation=0.2, seed=seed)[1] for seed in (1, 1, 2))
    assert first.tolist() == same.tolist()
    assert first.tolist() != other.tolist()


def test_a_class_of_two_examples_has_one_on_each_side() -> None:
    corpus = make_corpus([0] * 100 + [1] * 2)
    training, validation = split(corpus, validation=0.01, seed=0)
    assert 1 in corpus.labels[training]
    assert 1 in corpus.labels[validation]


def test_texts_that_differ_in_case_and_space_only_are_never_on_both_sides() -> None:
    texts = [f"{'Text' if i % 2 else ' text'}  {i // 4}" for i in range(400)]
    corpus = make_corpus([i // 4 % 2 for i in range(400)], texts)
    for seed in range(5):
        training, validation = split(corpus, validation=0.25, seed=seed)
        assert not {i // 4 for i in training} & {i // 4 for i in validation}
        counts = np.bincount(corpus.labels[validation])
        assert (abs(counts - 50) <= 2).all()  # fours cannot make 50


def test_equal_ranks_are_never_on_both_sides() -> None:
    ranks = tuple(np.array([1, i // 2 + 1], np.int32) for i in range(100))
    corpus = dataclasses.replace(
        make_corpus([i // 2 % 2 for i in range(100)]), texts=None, ranks=ranks
    )
    training, validation = split(corpus, validation=0.3, seed=0)
    assert not {i // 2 for i in training} & {i // 2 for i in validation}


def test_groups_never_straddle_and_shares_stay_close() -> None:
    rng = np.random.default_rng(0)
    groups = np.sort(rng.integers(0, 300, 3_000))
    labels = (rng.random(3_000) < 0.2 + 0.6 * (groups % 2)).astype(int).tolist()
    corpus = make_corpus(labels, groups=[f"movie {group}" for group in groups])
    for seed in range(3):
        training, validation = split(corpus, validation=0.2, seed=seed)
        assert not set(groups[training]) & set(groups[validation])
        for label in (0, 1):
            asked = 0.2 * labels.count(label)
            assert abs((corpus.labels[validation] == label).sum() - asked) <= 3


def test_groups_of_any_size_are_drawn() -> None:
    sizes = [30] * 50 + [1] * 1_500
    groups = np.repeat(np.arange(len(sizes)), sizes)
    corpus = make_corpus([i % 2 for i in range(3_000)], groups=[str(group) for group in groups])
    _, validation = split(corpus, validation=0.2, seed=0)
    n_large = len({group for group in groups[validation] if group < 50})
    assert 3 <= n_large <= 17  # 10 of 50 on average


def test_a_text_in_two_groups_joins_them() -> None:
    texts = ["same", "a", "Same", "b", *(f"text {i}" for i in range(36))]
    groups = ["x", "x", "y", "y", *(f"group {i // 2}" for i in range(36))]
    corpus = make_corpus([0, 1] * 20, texts, groups)
    for seed in range(10):
        training, _ = split(corpus, validation=0.3, seed=seed)
        assert len({0, 1, 2, 3} & set(training.tolist())) in (0, 4)


def test_a_class_within_a_single_group_is_refused() -> None:
    corpus = make_corpus([0] * 50 + [1] * 50, groups=[str(i) for i in range(50)] + ["one"] * 50)
    with pytest.raises(DataError, match=r"Class '1' has 50 examples.*its examples are in 1 group"):
        split(corpus, validation=0.5, seed=0)


def test_a_class_of_a_single_repeated_text_is_refused() -> None:
    texts = [*(f"text {i}" for i in range(50)), *["same"] * 50]
    corpus = make_corpus([0] * 50 + [1] * 50, texts)
    with pytest.raises(DataError, match=r"Class '1'.*repetitions of too few texts"):
        split(corpus, validation=0.5, seed=0)


def test_too_few_training_examples_are_refused() -> None:
    with pytest.raises(DataError, match="Only 2 of 4 examples are left for training"):
        split(make_corpus([0, 1, 0, 1]), validation=0.5, seed=0)
