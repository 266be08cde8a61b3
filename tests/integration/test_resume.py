"""A training that was interrupted gives, to the last bit, what it gives uninterrupted."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import pytest

from tests.integration.test_training import Recorder, fingerprint, small, texts
from tuner.checkpoints import Checkpoints, Snapshot
from tuner.network import Networks
from tuner.params import GRUParams
from tuner.training import FitResult, fit

PARAMS = small(units=3, embedding_dropout=0.3, dropout=0.4, class_weights=True, batch_size=4)
#: The same with everything else that has a state, a variable or a course.
DEEP = PARAMS.model_copy(
    update={
        "layers": 2,
        "layer_dropout": 0.3,
        "word_dropout": 0.1,
        "pooling": "attention",
        "chunk_length": 4,
        "schedule": "cosine",
        "warmup": 0.2,
        "ema_decay": 0.9,
        "weight_decay": 0.01,
        "clip_norm": 0.5,
        "label_smoothing": 0.1,
        "adversarial": 0.05,
    }
)
#: Compiled once for all trainings here, which must not show.
NETWORKS = Networks(size=4)
#: Batches of the training below: 2 epochs of 4 steps of 3 batches.
N_BATCHES = 24


def train(
    checkpoints: Checkpoints | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    *,
    params: GRUParams = PARAMS,
    seed: int = 0,
) -> FitResult:
    return fit(
        params,
        texts(48, seed=1, noise=0.3),
        texts(30, seed=2, noise=0.3),
        vocabulary=12,
        n_classes=2,
        epochs=2,
        seed=seed,
        metric="val_loss",
        callbacks=callbacks,
        checkpoints=checkpoints,
        networks=NETWORKS,
    )


class Count(keras.callbacks.Callback):
    """Counts the batches that are trained, and does something after one of them."""

    def __init__(self, n_batches: int = 0) -> None:
        super().__init__()
        self.n_trained = 0
        self.n_batches = n_batches

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        del batch, logs
        self.n_trained += 1
        if self.n_trained == self.n_batches:
            self.act()

    def act(self) -> None:
        self.model.stop_training = True


class HandBack(Count):
    """Stops the training so that it can be taken up."""

    def __init__(self, checkpoints: Checkpoints, n_batches: int) -> None:
        super().__init__(n_batches)
        self.checkpoints = checkpoints

    def act(self) -> None:
        self.checkpoints.keep_when_stopped.set()
        self.model.stop_training = True


class KilledError(Exception):
    """Stands for the end of the process."""


class Kill(Count):
    """Ends the training without a warning."""

    def act(self) -> None:
        raise KilledError


def whole(result: FitResult) -> str:
    """Write down the training that has just ended to the last bit, with all that it left."""
    network = NETWORKS.get(result.params, vocabulary=12, n_classes=2, micro_batches=1)
    state = hashlib.sha256()
    for variables in network.state.values():
        for variable in variables:
            state.update(variable.numpy().tobytes())
    losses = [report.loss.hex() for report in result.reports]
    return repr((fingerprint(result), state.hexdigest(), losses, result.best_epoch))


def evaluated(recorder: Recorder) -> list[Mapping[str, float]]:
    return [logs for logs in recorder.logs if "step" in logs]


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[str, list[Mapping[str, float]]]:
    """The training as it should be, and what its callbacks are told."""
    recorder = Recorder()
    result = train(callbacks=[recorder])
    assert result.resumed_epochs == 0
    return whole(result), evaluated(recorder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "slot-000001" / "11"


def interrupt(folder: Path, n_batches: int) -> None:
    """Hand a training back after so many batches of it."""
    checkpoints = Checkpoints(folder, every=3600)
    stopped = train(checkpoints, [HandBack(checkpoints, n_batches)])
    assert all(report.step <= n_batches / 3 for report in stopped.reports)


@pytest.mark.parametrize(
    "n_batches",
    [
        pytest.param(1, id="first batch"),
        pytest.param(5, id="middle of a step"),
        pytest.param(6, id="last batch of a step"),
        pytest.param(16, id="middle of a step of a later epoch"),
        pytest.param(18, id="last batch of a step without evaluation"),
        pytest.param(N_BATCHES, id="very last batch"),
    ],
)
def test_a_training_that_is_handed_back_goes_on_as_if_it_had_not_been(
    folder: Path, n_batches: int, uninterrupted: tuple[str, list[Mapping[str, float]]]
) -> None:
    interrupt(folder, n_batches)
    taken_up: list[Snapshot] = []
    recorder, count = Recorder(), Count()

    result = train(
        Checkpoints(folder.with_name("22"), on_resume=taken_up.append), [recorder, count]
    )

    assert [snapshot.n_batches for snapshot in taken_up] == [n_batches]
    assert result.resumed_epochs == n_batches / 12
    assert count.n_trained == N_BATCHES - n_batches
    assert whole(result) == uninterrupted[0]
    assert evaluated(recorder) == uninterrupted[1]
    assert result.seconds > taken_up[0].seconds


@pytest.mark.slow
def test_a_deep_training_that_is_killed_twice_ends_the_same_in_a_fresh_process(
    folder: Path,
) -> None:
    expected = whole(train(params=DEEP))
    for token, n_more in enumerate((4, 12)):
        checkpoints = Checkpoints(folder.with_name(str(token)), every=0)
        with pytest.raises(KilledError):
            train(checkpoints, [Kill(n_more)], params=DEEP)

    done = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS, str(folder)],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=True,
    )

    # Each was killed in the batch after its last checkpoint.
    assert done.stdout.strip().splitlines()[-1] == f"{3 + 11} {expected}"


IN_A_FRESH_PROCESS = """
import sys
from pathlib import Path
from tests.integration.test_resume import DEEP, Checkpoints, train, whole
result = train(Checkpoints(Path(sys.argv[1])), params=DEEP)
print(round(result.resumed_epochs * 12), whole(result))
"""


def test_a_stop_at_the_last_batch_of_the_resumed_step_is_not_lost(folder: Path) -> None:
    interrupt(folder, 5)
    checkpoints = Checkpoints(folder, every=3600)
    hand_back, recorder = HandBack(checkpoints, 1), Recorder()

    result = train(checkpoints, [hand_back, recorder])

    assert hand_back.n_trained == 1
    assert [report.step for report in result.reports] == [1]
    snapshot = checkpoints.newest()
    assert snapshot is not None
    assert snapshot.n_batches == 6


def test_a_trial_that_is_pruned_by_a_report_that_was_lost_stops(folder: Path) -> None:
    interrupt(folder, 8)
    stop, count = Recorder(stop_at=("step", 1)), Count()

    result = train(Checkpoints(folder), [stop, count])

    assert count.n_trained <= 1
    assert [report.step for report in result.reports] == [1, 2]


# --- when checkpoints are written ----------------------------------------------------------------


def test_checkpoints_change_nothing_and_hold_the_evaluation_of_a_step_that_ended(
    folder: Path, uninterrupted: tuple[str, list[Mapping[str, float]]]
) -> None:
    written: list[Snapshot] = []
    recorder = Recorder()

    result = train(Checkpoints(folder, every=0, on_write=written.append), [recorder])

    assert whole(result) == uninterrupted[0]
    assert evaluated(recorder) == uninterrupted[1]
    assert [snapshot.n_batches for snapshot in written] == list(range(1, N_BATCHES + 1))
    assert len(list(folder.iterdir())) == 2
    for snapshot in written:
        n_steps = snapshot.n_batches // 3
        assert [r.step for r in snapshot.reports] == [s for s in (1, 2, 3, 4, 8) if s <= n_steps]
        assert (snapshot.best_step is None) == (n_steps < 4)


def test_before_its_time_no_checkpoint_is_written_unless_a_stop_wants_one(folder: Path) -> None:
    checkpoints = Checkpoints(folder, every=3600)
    train(checkpoints, [Count(5)])
    assert not folder.exists()

    train(checkpoints, [HandBack(checkpoints, 5)])
    assert [path.name[:10] for path in folder.iterdir()] == ["0000000005"]


def test_a_disk_that_takes_nothing_does_not_stop_a_training(
    tmp_path: Path,
    uninterrupted: tuple[str, list[Mapping[str, float]]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("")

    result = train(Checkpoints(tmp_path / "file" / "slot-000001" / "11", every=0))

    assert whole(result) == uninterrupted[0]
    assert len(caplog.records) == 1


# --- what does not count -------------------------------------------------------------------------


def test_after_a_torn_checkpoint_the_one_before_is_used_and_without_one_it_starts_over(
    folder: Path, uninterrupted: tuple[str, list[Mapping[str, float]]]
) -> None:
    with pytest.raises(KilledError):
        train(Checkpoints(folder, every=0), [Kill(9)])
    before, newest = sorted(folder.iterdir())
    for torn, n_resumed in ((newest, 7), (before, 0)):
        torn.write_bytes(torn.read_bytes()[:-1000])

        result = train(Checkpoints(folder, every=3600))

        assert result.resumed_epochs == n_resumed / 12
        assert whole(result) == uninterrupted[0]


def test_a_checkpoint_of_another_training_is_not_taken(folder: Path) -> None:
    interrupt(folder, 5)

    assert train(Checkpoints(folder), seed=1).resumed_epochs == 0
