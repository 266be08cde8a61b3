"""Training learns, is the same bit for bit, keeps the best epoch, and notices divergence."""

import gc
import hashlib
import math
import os
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest

from tuner.data.batches import n_batches, training_batches
from tuner.data.encoded import Encoded
from tuner.errors import ConfigError, DataError, TrialFailedError
from tuner.evaluation import Predictor, part_of_validation
from tuner.metrics import METRICS, evaluate
from tuner.network import Networks
from tuner.params import GRUParams
from tuner.training import FitResult, class_weights, fit

VOCABULARY = 12
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


def texts(n: int, *, seed: int, n_classes: int = 2, noise: float = 0.0) -> Encoded:
    """Make short texts whose class is told by one token among others, or rarely by none.

    Args:
        n: Number of texts.
        seed: Of the tokens and labels.
        n_classes: Number of classes.
        noise: Share of texts whose label is drawn anew.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n).astype(np.int32)
    lengths = rng.integers(1, 10, n)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = rng.integers(2 + n_classes, VOCABULARY, offsets[-1]).astype(np.int32)
    ids[offsets[:-1] + rng.integers(0, lengths)] = 2 + labels
    drawn = rng.integers(0, n_classes, n).astype(np.int32)
    labels = np.where(rng.random(n) < noise, drawn, labels)
    return Encoded(ids=ids, offsets=offsets, labels=labels)


def small(**changes: object) -> GRUParams:
    """Give a net that learns `texts` in seconds."""
    values: dict[str, object] = {
        "units": 6,
        "embedding": 6,
        "batch_size": 16,
        "learning_rate": 0.03,
        "embedding_dropout": 0.0,
        "dropout": 0.0,
        "max_length": 32,
        "bidirectional": False,
    }
    return GRUParams.model_validate(values | changes)


def train(
    params: GRUParams,
    *,
    train: Encoded | None = None,
    validation: Encoded | None = None,
    n_classes: int = 2,
    epochs: int = 2,
    seed: int = 0,
    metric: str = "val_loss",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    micro_batches: int = 1,
) -> FitResult:
    return fit(
        params,
        train or texts(128, seed=1, n_classes=n_classes),
        validation or texts(60, seed=2, n_classes=n_classes),
        vocabulary=VOCABULARY,
        n_classes=n_classes,
        epochs=epochs,
        seed=seed,
        metric=metric,
        callbacks=callbacks,
        micro_batches=micro_batches,
    )


class Recorder(keras.callbacks.Callback):
    """Notes what a callback sees at the end of each step."""

    def __init__(self, stop_at: tuple[str, int] | None = None) -> None:
        super().__init__()
        self.logs: list[dict[str, float]] = []
        self._stop_at = stop_at

    def on_train_batch_end(self, batch: int, **_logs: object) -> None:
        if self._stop_at == ("batch", batch):
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        self.logs.append(dict(logs))
        if self._stop_at == ("step", epoch + 1):
            self.model.stop_training = True


class Poison(keras.callbacks.Callback):
    """Makes some weights infinite after the first batch of a step, or after its last one."""

    def __init__(self, *, step: int, at_end: bool = False) -> None:
        super().__init__()
        self._step = step
        self._at_end = at_end
        self._now = 0

    def on_epoch_begin(self, epoch: int, *_logs: object) -> None:
        self._now = epoch + 1

    def on_train_batch_end(self, batch: int, **_logs: object) -> None:
        last = self.params["steps"] - 1
        if self._now == self._step and batch == (last if self._at_end else 0):
            weights = self.model.get_weights()
            weights[-2][0] = np.inf  # so are the logits of all classes, of whatever sign
            self.model.set_weights(weights)


def test_a_learnable_problem_of_three_classes_is_learned() -> None:
    data = texts(400, seed=1, n_classes=3)
    result = train(
        small(bidirectional=True), train=data, n_classes=3, epochs=3, metric="val_accuracy"
    )
    assert result.value > 0.95
    assert result.metrics["val_auc"] > 0.95
    assert result.n_parameters == sum(w.size for w in result.model.get_weights())
    assert result.seconds > 0


# --- the same bit for bit ------------------------------------------------------------------------

DROPPING = small(bidirectional=True, embedding_dropout=0.3, dropout=0.4)
OTHER = small(units=7, pooling="last", dropout=0.1)

IN_A_FRESH_PROCESS = """
from tests.integration.test_training import DROPPING, fingerprint, train
print(fingerprint(train(DROPPING, epochs=1)))
"""


def fingerprint(result: FitResult) -> str:
    """Write down a training to the last bit."""
    digest = hashlib.sha256(b"".join(w.tobytes() for w in result.model.get_weights()))
    values = [(r.step, *(float(v).hex() for v in r.metrics.values())) for r in result.reports]
    return repr((digest.hexdigest(), values))


def in_a_fresh_process() -> str:
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip().splitlines()[-1]


def test_the_same_trial_gives_the_same_bits_in_a_used_process_and_in_a_fresh_one() -> None:
    first = fingerprint(train(DROPPING, epochs=1))
    other = fingerprint(train(OTHER, epochs=1))
    again = fingerprint(train(DROPPING, epochs=1))
    assert again == first
    assert other != first
    assert in_a_fresh_process() == first


def test_the_seed_decides_and_neither_a_global_seed_nor_a_global_policy_does() -> None:
    first = fingerprint(train(OTHER, seed=1, epochs=1))
    keras.utils.set_random_seed(99)
    keras.config.set_dtype_policy("mixed_bfloat16")
    assert fingerprint(train(OTHER, seed=1, epochs=1)) == first
    assert fingerprint(train(OTHER, seed=2, epochs=1)) != first


# --- reports -------------------------------------------------------------------------------------


def test_the_first_epoch_is_reported_in_quarters_and_later_ones_at_their_end() -> None:
    recorder = Recorder()
    result = train(small(), epochs=3, callbacks=[recorder])
    assert [r.step for r in result.reports] == [1, 2, 3, 4, 8, 12]
    assert [log.get("step") for log in recorder.logs] == [
        *(1, 2, 3, 4),
        *(None, None, None, 8),
        *(None, None, None, 12),
    ]
    seen = [log for log in recorder.logs if "step" in log]
    for log, report in zip(seen, result.reports, strict=True):
        assert {name: log[name] for name in METRICS} == report.metrics
        assert report.value == report.metrics["val_loss"]
        assert report.loss == log["loss"]
    assert all("loss" in log for log in recorder.logs)
    assert not METRICS.keys() & recorder.logs[4].keys()


def cross_entropies(result: FitResult, params: GRUParams, data: Encoded) -> Floats:
    """Compute each example's loss under the returned model: float32, (n,)."""
    probabilities = Predictor(result.model).probabilities(data, params)
    return -np.log(probabilities[np.arange(len(data)), data.labels])


def batch_rows(data: Encoded, params: GRUParams, *, epoch: int) -> list[Rows]:
    """Find out which examples the batches of an epoch hold, by examples of one token each."""
    return [
        ids[:, 0].astype(np.int64) - 1
        for ids, _ in training_batches(
            data,
            batch_size=params.batch_size,
            max_length=params.max_length,
            truncate=params.truncate,
            seed=0,
            epoch=epoch,
        )
    ]


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "class weights"])
def test_each_step_trains_on_its_quarter_of_the_epoch_with_its_weights(weighted: bool) -> None:
    n = 70
    data = Encoded(
        ids=np.arange(1, n + 1, dtype=np.int32),
        offsets=np.arange(n + 1, dtype=np.int64),
        labels=(np.arange(n) % 7 == 0).astype(np.int32),
    )
    # At a learning rate of 0 the model stays as it was, and each step's loss can be recomputed.
    params = GRUParams.model_construct(
        **small(class_weights=weighted).model_dump() | {"learning_rate": 0.0}
    )
    recorder = Recorder()
    result = fit(
        params,
        data,
        data,
        vocabulary=n + 1,
        n_classes=2,
        epochs=2,
        seed=0,
        metric="val_loss",
        callbacks=[recorder],
    )
    losses = cross_entropies(result, params, data)
    if weighted:
        losses *= np.where(data.labels == 1, n / (2 * 10), n / (2 * 60))
    batches = [rows for epoch in range(2) for rows in batch_rows(data, params, epoch=epoch)]
    assert len(batches) == 2 * n_batches(n, params.batch_size) == 16
    expected = [losses[np.concatenate(batches[i : i + 2])].mean() for i in range(0, 16, 2)]
    np.testing.assert_allclose([log["loss"] for log in recorder.logs], expected, rtol=1e-5)


def test_the_value_is_the_metric_of_the_returned_model_on_all_of_validation() -> None:
    validation = texts(333, seed=2, noise=0.3)
    result = train(small(), validation=validation, metric="val_auc", epochs=2)
    probabilities = Predictor(result.model).probabilities(validation, small())
    recomputed = evaluate(validation.labels, probabilities)
    assert recomputed == pytest.approx(result.metrics, abs=1e-5)
    assert result.value == result.metrics["val_auc"]


def test_the_best_epoch_is_kept_and_not_the_last() -> None:
    noisy = texts(64, seed=1, noise=0.5)
    validation = texts(100, seed=2, noise=0.5)
    params = small(units=24, schedule="constant", clip_norm=0.0)
    result = train(params, train=noisy, validation=validation, epochs=6)
    losses = [r.value for r in result.reports if r.step % 4 == 0]
    assert result.best_epoch == 1 + int(np.argmin(losses)) < 6
    assert result.value == min(losses)
    probabilities = Predictor(result.model).probabilities(validation, params)
    assert evaluate(validation.labels, probabilities)["val_loss"] == pytest.approx(result.value)


def test_the_first_of_equally_good_epochs_is_kept() -> None:
    result = train(small(), train=texts(400, seed=1), epochs=4, metric="val_accuracy")
    values = [r.value for r in result.reports if r.step % 4 == 0]
    assert values.count(1.0) > 1
    assert result.best_epoch == 1 + values.index(1.0)


def test_training_that_is_stopped_inside_the_first_epoch_has_no_value() -> None:
    result = train(small(), callbacks=[Recorder(stop_at=("step", 2))])
    assert [r.step for r in result.reports] == [1, 2]
    assert math.isnan(result.value)
    assert result.best_epoch == 0
    assert not result.metrics


def test_training_that_is_stopped_later_has_the_value_of_its_best_epoch() -> None:
    result = train(small(), epochs=3, callbacks=[Recorder(stop_at=("step", 4))])
    assert [r.step for r in result.reports] == [1, 2, 3, 4]
    assert result.best_epoch == 1
    assert result.value == result.reports[-1].value


def test_a_step_that_is_cut_short_is_not_reported() -> None:
    result = train(small(), callbacks=[Recorder(stop_at=("batch", 0))])
    assert not result.reports


def test_callbacks_are_called_after_each_batch_of_an_evaluation() -> None:
    calls: list[int] = []

    class SignsOfLife(keras.callbacks.Callback):
        def on_test_batch_end(self, batch: int, logs: object = None) -> None:
            del logs
            calls.append(batch)

    train(small(), validation=texts(600, seed=2), epochs=1, callbacks=[SignsOfLife()])
    # Three times a part of 200, then all, 128 at a time.
    assert calls == [0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 4]


# --- micro-batches -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("micro_batches", "changes"),
    [
        pytest.param(2, {"class_weights": True}, id="with class weights"),
        pytest.param(3, {"bidirectional": True}, id="parts of different sizes"),
        pytest.param(40, {}, id="fewer examples than parts"),
    ],
)
def test_a_batch_in_parts_trains_as_the_whole_batch(
    micro_batches: int, changes: Mapping[str, object]
) -> None:
    data = texts(70, seed=1, noise=0.3)  # in batches of 8 and 9
    params = small(**changes)
    whole, parts = (
        train(params, train=data, epochs=1, micro_batches=n) for n in (1, micro_batches)
    )
    for ours, expected in zip(parts.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-4)
    assert parts.value == pytest.approx(whole.value, abs=1e-4)
    losses = [[report.loss for report in result.reports] for result in (parts, whole)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_batches_in_parts_give_the_same_bits_again() -> None:
    params = DROPPING.model_copy(update={"bidirectional": False})
    first, again = (train(params, epochs=1, micro_batches=3) for _ in range(2))
    assert fingerprint(first) == fingerprint(again)


def test_a_model_that_was_trained_in_parts_is_saved_as_any_other(tmp_path: Path) -> None:
    result = train(small(), epochs=1, micro_batches=2)
    result.model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    ids = np.array([[2, 5, 0], [7, 3, 4]], np.int32)
    np.testing.assert_array_equal(loaded(ids), result.model(ids))


# --- the part of the validation set --------------------------------------------------------------


@pytest.mark.parametrize(("n", "size"), [(50, 50), (200, 200), (700, 200), (5000, 500)])
def test_the_part_is_a_tenth_but_at_least_200(n: int, size: int) -> None:
    labels = np.random.default_rng(0).integers(0, 3, n).astype(np.int32)
    rows = part_of_validation(labels, seed=0)
    assert len(rows) == len(np.unique(rows)) == size
    assert rows.dtype == np.int64


def test_each_class_has_its_share_of_the_part_and_a_rare_one_is_not_missing() -> None:
    labels = np.repeat(np.arange(3, dtype=np.int32), (3997, 1000, 3))
    counts = np.bincount(labels[part_of_validation(labels, seed=5)])
    np.testing.assert_allclose(counts, [399.7, 100, 0.3], atol=1)
    assert counts[2] >= 1


def test_the_part_follows_from_the_seed() -> None:
    labels = np.random.default_rng(0).integers(0, 2, 1000).astype(np.int32)
    first, again, other = (part_of_validation(labels, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


# --- class weights -------------------------------------------------------------------------------


def test_class_weights_even_out_the_classes() -> None:
    labels = np.repeat(np.arange(3, dtype=np.int32), (70, 20, 10))
    weights = class_weights(labels, 3)
    totals = [count * weights[label] for label, count in enumerate((70, 20, 10))]
    np.testing.assert_allclose(totals, 100 / 3)
    assert class_weights(labels, 4)[3] == 1.0


# --- what goes wrong -----------------------------------------------------------------------------


def test_an_infinite_weight_is_divergence_at_the_next_batch() -> None:
    with pytest.raises(TrialFailedError, match=r"batch 2 of step 2 .*learning_rate=0\.03") as error:
        train(small(), callbacks=[Poison(step=2)])
    assert error.value.reason == "diverged"


def test_an_infinite_weight_is_divergence_at_an_evaluation() -> None:
    with pytest.raises(TrialFailedError, match=r"predictions are not finite after step 1") as error:
        train(small(), callbacks=[Poison(step=1, at_end=True)])
    assert error.value.reason == "diverged"


def test_a_learning_rate_beyond_all_measure_is_divergence() -> None:
    params = GRUParams.model_construct(**small().model_dump() | {"learning_rate": 1e38})
    with pytest.raises(TrialFailedError, match="learning_rate=1e\\+38") as error:
        train(params)
    assert error.value.reason == "diverged"


def test_an_unknown_metric_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"val_accuracy, val_loss.*'accuracy'"):
        train(small(), metric="accuracy")


def test_a_metric_that_does_not_exist_for_the_data_is_refused() -> None:
    data = texts(60, seed=2)
    of_one_class = data.subset(np.flatnonzero(data.labels == 0))
    with pytest.raises(DataError, match=r"val_auc is not a number on \d+ validation examples"):
        train(small(), validation=of_one_class, metric="val_auc")


# --- cost ----------------------------------------------------------------------------------------


def test_a_network_that_is_not_kept_leaves_nothing_behind() -> None:
    networks = Networks(size=1)

    def graph_of(params: GRUParams) -> weakref.ref[object]:
        network = networks.get(params, vocabulary=VOCABULARY, n_classes=2, micro_batches=2)
        return weakref.ref(network.step.run.get_concrete_function().graph)

    first, second = (graph_of(small(units=n, bidirectional=True)) for n in (3, 4))
    gc.collect()
    assert first() is None
    assert second() is not None


def test_batches_of_many_shapes_are_traced_once() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 150, 203)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = rng.integers(1, VOCABULARY, offsets[-1]).astype(np.int32)
    data = Encoded(ids=ids, offsets=offsets, labels=rng.integers(0, 2, 203).astype(np.int32))
    params = small(max_length=150)
    shapes = {
        batch.shape
        for batch, _ in training_batches(
            data, batch_size=16, max_length=150, truncate="start", seed=0, epoch=0
        )
    }
    assert len(shapes) > 3

    networks = Networks()
    for seed in range(2):
        fit(
            params.model_copy(update={"learning_rate": 0.01 + seed, "ema_decay": 0.0}),
            data,
            data,
            vocabulary=VOCABULARY,
            n_classes=2,
            epochs=1,
            seed=seed,
            metric="val_loss",
            networks=networks,
        )
    network = networks.get(params, vocabulary=VOCABULARY, n_classes=2, micro_batches=1)
    assert network.step.run.experimental_get_tracing_count() == 1
