"""Finalists are trained as a final model is, with fresh seeds, and judged by fresh examples."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import optuna
import pytest
from optuna.trial import FixedTrial

from tests.integration.test_objective import POINT, STUDY
from tuner.checkpoints import Checkpoints
from tuner.config import StudyConfig
from tuner.confirmation import Confirmation, Finalist, Task, training_seed
from tuner.data.prepare import Prepared, prepare
from tuner.data.split import Fold
from tuner.deliver.final import make_plan
from tuner.errors import InputError
from tuner.judging.hits import HITS, STANDARD_ERROR, Hits
from tuner.metrics import METRICS, STEPS_PER_EPOCH
from tuner.objective import Objective
from tuner.rehearsal import Rehearsal
from tuner.storage import Database, StoredStudy
from tuner.study_file import load_study_file

CONFIRMATION = Confirmation(
    study="small",
    top=1,
    seeds=2,
    finalists=(Finalist(trial=0, value=0.5, is_default=False),),
)
#: The same seed and examples, judged each epoch, and once after the first one.
CHOOSING, REHEARSING = (Task(finalist=0, replicate=1, epochs=epochs) for epochs in (None, 1))


class Reporting(FixedTrial):
    """Remembers what was reported."""

    def __init__(self) -> None:
        super().__init__(POINT)
        self.reports: dict[int, float] = {}

    def report(self, value: float, step: int) -> None:
        self.reports[step] = value


class StopAt(keras.callbacks.Callback):
    """Hands a training back after some batches."""

    def __init__(self, checkpoints: Checkpoints, n_batches: int) -> None:
        super().__init__()
        self.checkpoints = checkpoints
        self.n_left = n_batches

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        del batch, logs
        self.n_left -= 1
        if not self.n_left:
            self.checkpoints.keep_when_stopped.set()
            self.model.stop_training = True


class HandedBackError(Exception):
    """Somebody wants the training back while its fold is judged."""


class StopAtTheEnd(keras.callbacks.Callback):
    """Hands a training back when its last epoch is over, before it is judged."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        super().__init__()
        self.checkpoints = checkpoints

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        del logs
        if epoch + 1 == STEPS_PER_EPOCH:
            self.checkpoints.keep_when_stopped.set()
            self.model.stop_training = True

    def on_test_batch_end(self, batch: int, logs: object = None) -> None:
        del batch, logs
        raise HandedBackError


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> StudyConfig:
    path = tmp_path_factory.mktemp("study") / "small.toml"
    path.write_text(STUDY)
    return load_study_file(path)[0].model_copy(update={"confirms": CONFIRMATION})


@pytest.fixture(scope="module")
def rehearsal(config: StudyConfig) -> Rehearsal:
    """One whose networks are compiled once for all trainings here, which must not show."""
    return Rehearsal(Objective(config), CONFIRMATION)


def train(rehearsal: Rehearsal, task: Task, **more: Any) -> tuple[float, Reporting]:
    trial = Reporting()
    return rehearsal.train(trial, task, **more), trial


def facts_of(trial: Reporting) -> dict[str, Any]:
    """Give what was noted of a training but for how it went on the way."""
    return {
        name: value
        for name, value in trial.user_attrs.items()
        if name not in ("training_seconds", "resumed_epochs")
    }


def fold_of(config: StudyConfig, number: int) -> Prepared:
    fold = Fold(number=number, of=CONFIRMATION.n_folds)
    return prepare(config.data, seed=config.seed, folder=config.folder, fold=fold)


def test_a_training_that_chooses_is_judged_each_epoch_by_its_fold(
    config: StudyConfig, rehearsal: Rehearsal
) -> None:
    value, trial = train(rehearsal, CHOOSING)

    facts, data = trial.user_attrs, fold_of(config, 1)
    assert value == max(trial.reports[4], trial.reports[8])
    assert facts["val_accuracy"] == value
    assert facts.keys() >= {"best_epoch", "n_parameters", *METRICS}
    hits = Hits.from_text(facts[HITS])
    assert hits.share == pytest.approx(value)
    assert hits.size.tolist() == np.bincount(data.units).tolist()
    assert 0 < facts[STANDARD_ERROR] < 0.2


def test_a_rehearsal_ends_with_its_epoch_and_is_judged_then_and_only_then(
    rehearsal: Rehearsal,
) -> None:
    _, judged_each_epoch = train(rehearsal, CHOOSING)
    value, trial = train(rehearsal, REHEARSING)

    assert trial.reports == {}
    # The same schedule, as it was made for both epochs.
    assert value == judged_each_epoch.reports[STEPS_PER_EPOCH]
    assert trial.user_attrs["best_epoch"] == 1
    assert Hits.from_text(trial.user_attrs[HITS]).share == pytest.approx(value)


def test_an_interrupted_rehearsal_comes_out_the_same(rehearsal: Rehearsal, tmp_path: Path) -> None:
    value, whole = train(rehearsal, REHEARSING)
    first = Checkpoints(tmp_path / "slot" / "1", every=1e9)
    with pytest.raises(optuna.TrialPruned):
        train(rehearsal, REHEARSING, checkpoints=first, callbacks=[StopAt(first, 3)])

    other = Checkpoints(tmp_path / "slot" / "2", every=1e9)
    again, trial = train(rehearsal, REHEARSING, checkpoints=other)

    assert trial.user_attrs["resumed_epochs"] > 0
    assert again == value
    assert trial.user_attrs[HITS] == whole.user_attrs[HITS]
    elsewhere = Checkpoints(tmp_path / "slot" / "3", every=1e9)
    task = Task(finalist=0, replicate=2, epochs=1)
    _, fresh = train(rehearsal, task, checkpoints=elsewhere)
    assert "resumed_epochs" not in fresh.user_attrs


def test_one_that_is_stopped_after_its_last_batch_is_whole(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    _, whole = train(rehearsal, REHEARSING)
    first = Checkpoints(tmp_path / "slot" / "1", every=1e9)
    with pytest.raises(optuna.TrialPruned):
        train(rehearsal, REHEARSING, checkpoints=first, callbacks=[StopAt(first, 4)])

    again = Checkpoints(tmp_path / "slot" / "2", every=1e9)
    _, trial = train(rehearsal, REHEARSING, checkpoints=again)

    assert facts_of(trial) == facts_of(whole)


def test_one_that_is_handed_back_before_it_is_judged_is_whole(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    _, whole = train(rehearsal, REHEARSING)
    first = Checkpoints(tmp_path / "slot" / "1", every=1e9)
    with pytest.raises(HandedBackError):
        train(rehearsal, REHEARSING, checkpoints=first, callbacks=[StopAtTheEnd(first)])

    again = Checkpoints(tmp_path / "slot" / "2", every=1e9)
    _, trial = train(rehearsal, REHEARSING, checkpoints=again)

    assert trial.user_attrs["resumed_epochs"] == 1
    assert facts_of(trial) == facts_of(whole)


def test_replicates_differ_in_seed_and_examples_and_have_the_searchs_fingerprint(
    config: StudyConfig, rehearsal: Rehearsal
) -> None:
    one, other = fold_of(config, 0), fold_of(config, 1)
    search = prepare(config.data, seed=config.seed, folder=config.folder)

    assert one.validation.ids.tolist() != other.validation.ids.tolist()
    assert one.fingerprint == other.fingerprint == search.fingerprint
    assert len(one.train) == len(other.train) == len(search.train)
    assert search.units.tolist() == list(range(len(search.validation)))  # nothing repeats
    assert training_seed(config.seed, 0) != config.seed
    _, first = train(rehearsal, Task(finalist=0, replicate=0, epochs=1))
    _, second = train(rehearsal, REHEARSING)
    assert first.user_attrs["val_loss"] != second.user_attrs["val_loss"]


def test_what_confirms_a_study_is_not_what_is_trained_for_good(
    config: StudyConfig, database: Database
) -> None:
    stored = StoredStudy(study_id=1, key="key", config=config, shape=None)

    with pytest.raises(InputError, match="tuner refit small"):
        make_plan(database, stored)
