"""What is said of predictions is what was counted, with intervals that hold the truth."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tuner.judging import bootstrap, compare, judge, mcnemar, wilson
from tuner.judging.intervals import Rows
from tuner.judging.judgement import NAMES, reliability
from tuner.metrics import Labels, Probabilities, evaluate


def predictions(n: int, *, seed: int = 0, n_classes: int = 2) -> tuple[Labels, Probabilities]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=n).astype(np.int32)
    scores = rng.normal(size=(n, n_classes))
    scores[np.arange(n), labels] += 1
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return labels, shares.astype(np.float32)


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (3, 10), (22_000, 25_000)])
def test_the_interval_of_a_share_is_wilsons(hits: int, n: int) -> None:
    found = wilson(hits, n)

    expected = binomtest(hits, n).proportion_ci(method="wilson")
    assert found.value == hits / n
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    samples = np.random.default_rng(1).normal(size=(60, 50))

    def means(rows: Rows) -> dict[str, float]:
        return {str(i): value for i, value in enumerate(samples[:, rows].mean(axis=1).tolist())}

    held = [found.low <= 0 <= found.high for found in bootstrap(50, means, seed=0).values()]

    assert 50 <= sum(held) < 60


def test_examples_of_a_group_tell_less_than_as_many_others() -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=40), 10)

    def mean(rows: Rows) -> dict[str, float]:
        return {"mean": float(values[rows].mean())}

    alone = bootstrap(400, mean, seed=0)["mean"]
    grouped = bootstrap(400, mean, seed=0, groups=[str(i // 10) for i in range(400)])["mean"]

    assert grouped.value == alone.value
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_a_judgement_holds_every_metric_of_studies_with_its_interval() -> None:
    labels, probabilities = predictions(300, n_classes=3)

    judged = judge(labels, probabilities, seed=0)

    assert sorted(judged.metrics) == sorted(NAMES)
    for name, value in evaluate(labels, probabilities).items():
        estimate = judged.metrics[name.removeprefix("val_")]
        assert estimate.value == value
        assert estimate.low < value < estimate.high
    assert judged == judge(labels, probabilities, seed=0)


def test_where_examples_belong_together_all_intervals_are_wider() -> None:
    labels, probabilities = predictions(60, n_classes=2)
    labels, probabilities = labels.repeat(10), probabilities.repeat(10, axis=0)
    groups = [str(i // 10) for i in range(600)]

    alone = judge(labels, probabilities, seed=0).metrics
    together = judge(labels, probabilities, seed=0, groups=groups).metrics

    for name, wide in together.items():
        narrow = alone[name]
        assert wide.value == narrow.value
        assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low), name


def test_the_confusion_has_true_classes_in_rows() -> None:
    labels = np.array([0, 0, 0, 1, 2], np.int32)
    predicted = np.array([0, 1, 1, 1, 0])
    probabilities = np.eye(3, dtype=np.float32)[predicted]

    assert judge(labels, probabilities, seed=0).confusion == ((1, 2, 0), (0, 1, 0), (1, 0, 0))


def test_a_metric_that_does_not_exist_on_the_examples_is_left_out() -> None:
    labels = np.zeros(4, np.int32)

    judged = judge(labels, np.full((4, 2), 0.5, np.float32), seed=0)

    assert "auc" not in judged.metrics
    assert judged.metrics["accuracy"].value == 1


def test_the_reliability_table_counts_each_example_once() -> None:
    labels = np.array([0, 0, 1, 1], np.int32)
    probabilities = np.array([[1, 0], [0.55, 0.45], [0.55, 0.45], [0, 1]], np.float32)

    bins = reliability(labels, probabilities)

    assert [b.n for b in bins] == [0, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    assert bins[5].confidence == pytest.approx(0.55)
    assert bins[5].accuracy == 0.5
    assert bins[9].accuracy == 1


def test_the_calibration_error_of_a_model_that_is_as_sure_as_it_is_right_is_small() -> None:
    rng = np.random.default_rng(0)
    first = rng.random(1_000)
    labels = (rng.random(1_000) > first).astype(np.int32)
    honest = np.stack([first, 1 - first], axis=1).astype(np.float32)
    boastful = np.eye(2, dtype=np.float32)[(first < 0.5).astype(int)]

    assert judge(labels, honest, seed=0).metrics["calibration_error"].value < 0.06
    assert judge(labels, boastful, seed=0).metrics["calibration_error"].value > 0.2


@pytest.mark.parametrize("counts", [(0, 0), (1, 0), (5, 5), (3, 12), (700, 620), (9_000, 8_000)])
def test_mcnemars_test_is_the_exact_binomial_one(counts: tuple[int, int]) -> None:
    n = sum(counts)
    expected = binomtest(counts[0], n).pvalue if n else 1.0

    assert mcnemar(*counts) == pytest.approx(expected, rel=1e-9)


def test_two_models_are_compared_by_the_examples_on_which_they_differ() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1], np.int32)
    ours = np.eye(2, dtype=np.float32)[[0, 0, 0, 1, 1, 1]]
    others = np.eye(2, dtype=np.float32)[[0, 1, 1, 0, 1, 1]]

    found = compare(labels, ours, others, name="the other", seed=0)

    assert (found.n_only_ours, found.n_only_other) == (2, 1)
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.difference.value == pytest.approx(1 / 6)
    assert found.difference.low < 0 < found.difference.high
    assert found.p_value == 1
