"""The metrics agree with scikit-learn and know which way is better."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from sklearn import metrics as reference

from tuner.metrics import (
    METRICS,
    Labels,
    Probabilities,
    accuracy,
    area_under_roc,
    evaluate,
    log_loss,
    macro_f1,
)


def predictions(
    n: int, n_classes: int, *, seed: int, decimals: int = 7
) -> tuple[Labels, Probabilities]:
    """Draw labels and probabilities; few decimals make many ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n).astype(np.int32)
    scores = rng.random((n, n_classes)) + 0.5 * np.eye(n_classes)[labels]
    probabilities = np.round(scores / scores.sum(axis=1, keepdims=True), decimals)
    return labels, probabilities.astype(np.float32)


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_accuracy_and_macro_f1_agree_with_scikit_learn(n_classes: int) -> None:
    labels, probabilities = predictions(300, n_classes, seed=n_classes)
    predicted = probabilities.argmax(axis=1)
    assert accuracy(labels, probabilities) == pytest.approx(
        reference.accuracy_score(labels, predicted), abs=1e-12
    )
    assert macro_f1(labels, probabilities) == pytest.approx(
        reference.f1_score(labels, predicted, average="macro"), abs=1e-12
    )


def test_macro_f1_leaves_out_a_class_that_neither_occurs_nor_is_predicted() -> None:
    labels = np.array([0, 0, 1, 1], np.int32)
    first, second = [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]
    right: Probabilities = np.array([first, first, second, second], np.float32)
    assert macro_f1(labels, right) == 1.0
    predicted_once = right.copy()
    predicted_once[0] = [0.1, 0.1, 0.8]
    expected = reference.f1_score(labels, predicted_once.argmax(axis=1), average="macro")
    assert macro_f1(labels, predicted_once) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_log_loss_agrees_with_scikit_learn(n_classes: int) -> None:
    labels, probabilities = predictions(300, n_classes, seed=n_classes)
    exact = probabilities.astype(np.float64)
    expected = reference.log_loss(labels, exact / exact.sum(axis=1, keepdims=True))
    assert log_loss(labels, probabilities) == pytest.approx(expected, rel=1e-6)


def test_log_loss_of_a_certain_mistake_is_finite_as_in_keras() -> None:
    certain: Probabilities = np.array([[1.0, 0.0]], np.float32)
    assert log_loss(np.array([1], np.int32), certain) == pytest.approx(-math.log(1e-7))


@pytest.mark.parametrize("decimals", [7, 1, 0], ids=["no ties", "many ties", "mostly ties"])
def test_area_under_roc_agrees_with_scikit_learn_also_on_ties(decimals: int) -> None:
    labels, probabilities = predictions(400, 2, seed=1, decimals=decimals)
    expected = reference.roc_auc_score(labels, probabilities[:, 1])
    assert area_under_roc(labels, probabilities) == pytest.approx(expected, abs=1e-12)


def test_area_under_roc_of_several_classes_is_the_mean_of_each_against_the_rest() -> None:
    labels, probabilities = predictions(400, 5, seed=2)
    areas = [reference.roc_auc_score(labels == c, probabilities[:, c]) for c in range(5)]
    assert area_under_roc(labels, probabilities) == pytest.approx(np.mean(areas), abs=1e-12)


def test_area_under_roc_leaves_out_a_class_that_does_not_occur() -> None:
    labels, probabilities = predictions(200, 4, seed=3)
    labels[labels == 3] = 0
    areas = [reference.roc_auc_score(labels == c, probabilities[:, c]) for c in range(3)]
    assert area_under_roc(labels, probabilities) == pytest.approx(np.mean(areas), abs=1e-12)


def test_area_under_roc_of_a_single_class_is_not_a_number() -> None:
    labels: npt.NDArray[np.int32] = np.zeros(5, np.int32)
    assert math.isnan(area_under_roc(labels, np.full((5, 2), 0.5, np.float32)))


@pytest.mark.parametrize("n_classes", [2, 4])
def test_better_predictions_are_better_by_every_metric(n_classes: int) -> None:
    labels, worse = predictions(300, n_classes, seed=4)
    better = (0.5 * worse + 0.5 * np.eye(n_classes)[labels]).astype(np.float32)
    of_worse, of_better = evaluate(labels, worse), evaluate(labels, better)
    assert of_worse.keys() == of_better.keys() == METRICS.keys()
    for name, metric in METRICS.items():
        assert metric.better(of_better[name], of_worse[name]), name
        assert not metric.better(of_worse[name], of_better[name]), name
        assert not metric.better(of_worse[name], of_worse[name]), name


def test_only_the_loss_is_minimized() -> None:
    directions = {name: metric.direction for name, metric in METRICS.items()}
    assert directions == {
        "val_accuracy": "maximize",
        "val_loss": "minimize",
        "val_auc": "maximize",
        "val_macro_f1": "maximize",
    }
