"""Batches are whole, similar in length, and a pure function of seed and epoch."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from tuner.data.batches import evaluation_batches, n_batches, training_batches
from tuner.data.encoded import Encoded
from tuner.errors import DataError

Batch = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]


def make_data(n: int, *, longest: int = 150) -> Encoded:
    """Texts of which each begins with its own number (its row plus 2) and goes on with ones."""
    lengths = np.random.default_rng(7).integers(1, longest + 1, n)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.ones(offsets[-1], np.int32)
    ids[offsets[:-1]] = np.arange(n) + 2
    return Encoded(ids=ids, offsets=offsets, labels=(np.arange(n) % 3).astype(np.int32))


def epoch_of(data: Encoded, *, seed: int = 0, epoch: int = 0, batch_size: int = 16) -> list[Batch]:
    batches: Iterator[Batch] = training_batches(
        data, batch_size=batch_size, max_length=1_000, truncate="end", seed=seed, epoch=epoch
    )
    return list(batches)


@pytest.mark.parametrize("n_examples", [4, 5, 7, 8, 63, 64, 65, 1_000])
@pytest.mark.parametrize("batch_size", [1, 3, 16, 4_096])
def test_an_epoch_has_a_multiple_of_four_batches_and_none_is_empty(
    n_examples: int, batch_size: int
) -> None:
    batches = epoch_of(make_data(n_examples), batch_size=batch_size)
    sizes = [len(labels) for _, labels in batches]
    assert len(sizes) == n_batches(n_examples, batch_size)
    assert len(sizes) % 4 == 0
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == n_examples


def test_batches_are_not_larger_than_asked_for_where_examples_suffice() -> None:
    assert max(len(labels) for _, labels in epoch_of(make_data(1_000), batch_size=64)) <= 64


def test_fewer_than_four_training_examples_are_refused() -> None:
    with pytest.raises(DataError, match=r"Received 3\. Add examples"):
        n_batches(3, 32)


def test_each_example_comes_exactly_once_an_epoch_with_its_label() -> None:
    data = make_data(333)
    batches = epoch_of(data)
    rows = np.concatenate([ids[:, 0] for ids, _ in batches]) - 2
    labels = np.concatenate([labels for _, labels in batches])
    assert sorted(rows) == list(range(333))
    assert (labels == data.labels[rows]).all()


def test_batches_depend_on_nothing_but_seed_and_epoch() -> None:
    data = make_data(200)
    for again, other in [((3, 5), (3, 6)), ((3, 5), (4, 5))]:
        first = epoch_of(data, seed=3, epoch=5)
        same = epoch_of(data, seed=again[0], epoch=again[1])
        different = epoch_of(data, seed=other[0], epoch=other[1])
        assert all((a[0] == b[0]).all() for a, b in zip(first, same, strict=True))
        assert [ids[:, 0].tolist() for ids, _ in first] != [
            ids[:, 0].tolist() for ids, _ in different
        ]


def test_texts_meet_different_neighbours_in_different_epochs() -> None:
    data = make_data(640)
    neighbours = []
    for epoch in range(2):
        of_row: dict[int, set[int]] = {}
        for ids, _ in epoch_of(data, epoch=epoch):
            for row in ids[:, 0].tolist():
                of_row[row] = set(ids[:, 0].tolist()) - {row}
        neighbours.append(of_row)
    shared = [len(neighbours[0][row] & neighbours[1][row]) / 15 for row in neighbours[0]]
    assert np.mean(shared) < 0.4


def test_texts_of_similar_length_share_a_batch() -> None:
    data = make_data(3_000)
    n_padded = sum(ids.size for ids, _ in epoch_of(data))
    assert n_padded < 1.35 * len(data.ids)  # some 1.2 is the rounding to 32; unsorted: 2


def test_padding_is_on_the_right_only_and_time_a_multiple_of_32() -> None:
    for ids, _ in epoch_of(make_data(100)):
        assert ids.dtype == np.int32
        assert ids.shape[1] % 32 == 0
        real = ids != 0
        assert (np.diff(real.astype(int), axis=1) <= 0).all()
        assert real[:, 0].all()
        assert real.any(axis=0).sum() > ids.shape[1] - 32


@pytest.mark.parametrize("pad_to", [1, 50, 400])
def test_padded_lengths_are_multiples_of_what_was_asked_for(pad_to: int) -> None:
    data, cut = make_data(100), {"batch_size": 16, "max_length": 120}
    training = training_batches(data, **cut, truncate="end", seed=0, epoch=0, pad_to=pad_to)
    evaluation = evaluation_batches(data, **cut, truncate="end", pad_to=pad_to)
    for ids in (*(ids for ids, _ in training), *(ids for _, ids in evaluation)):
        longest = (ids != 0).sum(axis=1).max()
        assert ids.shape[1] % pad_to == 0
        assert longest <= ids.shape[1] < longest + pad_to


@pytest.mark.parametrize(("truncate", "kept"), [("start", [8, 9, 10]), ("end", [2, 3, 4])])
def test_a_longer_text_loses_the_end_that_was_asked_for(truncate: str, kept: list[int]) -> None:
    data = Encoded(
        ids=np.array([*range(2, 11), 7], np.int32),
        offsets=np.array([0, 9, 10]),
        labels=np.zeros(2, np.int32),
    )
    batches = evaluation_batches(
        data,
        batch_size=8,
        max_length=3,
        truncate=truncate,  # type: ignore[arg-type]  # a Literal, parametrized
    )
    ((rows, ids),) = batches
    assert rows.tolist() == [1, 0]
    assert ids[0].tolist() == [7] + [0] * 31
    assert ids[1].tolist() == kept + [0] * 29


def test_evaluation_goes_once_through_all_from_short_to_long() -> None:
    data = make_data(101)
    rows, lengths = [], []
    for batch_rows, ids in evaluation_batches(data, batch_size=10, max_length=80, truncate="start"):
        rows.extend(batch_rows.tolist())
        lengths.extend((ids != 0).sum(axis=1).tolist())
    assert sorted(rows) == list(range(101))
    assert lengths == sorted(np.minimum(data.lengths, 80).tolist())


def test_a_subset_holds_the_texts_asked_for_in_that_order() -> None:
    data = make_data(20)
    rows = np.array([7, 3, 3, 19])
    part = data.subset(rows)
    assert len(part) == 4
    assert part.offsets.dtype == np.int64
    assert part.ids.dtype == np.int32
    for i, row in enumerate(rows):
        expected = data.ids[data.offsets[row] : data.offsets[row + 1]]
        assert part.ids[part.offsets[i] : part.offsets[i + 1]].tolist() == expected.tolist()
        assert part.labels[i] == data.labels[row]


def test_a_subset_may_be_empty() -> None:
    part = make_data(5).subset(np.zeros(0, np.int64))
    assert len(part) == 0
    assert part.offsets.tolist() == [0]
