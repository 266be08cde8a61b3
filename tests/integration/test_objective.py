"""The objective as Optuna sees it: real trials, a fixed trial, one at the end of a pipe."""

import json
import threading
from pathlib import Path
from typing import Any

import keras
import numpy as np
import optuna
import pytest
from optuna.trial import FixedTrial, TrialState

from tuner.checkpoints import Checkpoints
from tuner.config import StudyConfig
from tuner.errors import DataError, InputError, TrainerError
from tuner.metrics import evaluate
from tuner.objective import Objective, PruningCallback
from tuner.strategy import make_pruner
from tuner.study_file import load_study_file
from tuner.worker.messages import Reported, Train, TrialMessage
from tuner.worker.remote import RemoteTrial

STUDY = """
[data]
source     = "demo"
examples   = 160
vocabulary = 200

[budget]
trials = 3
epochs = 2

[space]
learning_rate = { low = 1e-4, high = 1e-1, log = true }
units         = 4
embedding     = 4
bidirectional = false
pooling       = ["max", "mean"]
max_length    = 16
"""
POINT = {"learning_rate": 0.02, "pooling": "max"}


@pytest.fixture
def config(tmp_path: Path) -> StudyConfig:
    path = tmp_path / "small.toml"
    path.write_text(STUDY)
    return load_study_file(path)[0]


def test_a_fixed_trial_gives_the_value_that_its_facts_explain(config: StudyConfig) -> None:
    trial = FixedTrial(POINT)

    value = Objective(config)(trial)

    facts = trial.user_attrs
    assert facts["val_accuracy"] == value
    assert 0 <= facts["val_accuracy"] <= 1
    assert facts["best_epoch"] in {1, 2}
    assert facts["n_parameters"] > 0
    assert facts["training_seconds"] > 0
    assert not {"micro_batches", "resumed_epochs"} & facts.keys()
    json.dumps(facts)  # what a database can store


class _Stop(keras.callbacks.Callback):
    """Hands a training back after its first report."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        super().__init__()
        self.checkpoints = checkpoints

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        del epoch, logs
        self.checkpoints.keep_when_stopped.set()
        self.model.stop_training = True


class _Listening(FixedTrial):
    """Notes the reports."""

    def __init__(self) -> None:
        super().__init__(POINT)
        self.reports: list[tuple[int, float]] = []

    def report(self, value: float, step: int) -> None:
        self.reports.append((step, value))


def test_a_trial_that_was_handed_back_goes_on_and_tells_all_reports(
    config: StudyConfig, tmp_path: Path
) -> None:
    objective = Objective(config)
    whole, taken_up = _Listening(), _Listening()
    expected = objective.train(whole, micro_batches=2)
    first = Checkpoints(tmp_path / "slot-000001" / "1")
    with pytest.raises(optuna.TrialPruned):
        objective.train(
            FixedTrial(POINT), checkpoints=first, micro_batches=2, callbacks=[_Stop(first)]
        )
    with np.load(next(first.folder.iterdir())) as file:
        assert json.loads(file["header"].tobytes())["identity"]["data"] == objective.fingerprint

    second = Checkpoints(tmp_path / "slot-000001" / "2")
    value = objective.train(taken_up, checkpoints=second, micro_batches=2)

    assert value == expected
    assert [step for step, _ in whole.reports] == [1, 2, 3, 4, 8]
    assert taken_up.reports == whole.reports
    facts = dict(taken_up.user_attrs)
    assert facts.pop("resumed_epochs") == 0.25
    assert facts["micro_batches"] == 2
    assert facts | {"training_seconds": 0} == whole.user_attrs | {"training_seconds": 0}


def test_a_study_optimizes_it_with_the_workers_pruning_rule(config: StudyConfig) -> None:
    file = config.folder / "small.toml"
    config, _ = load_study_file(file, ["metric=val_loss"])  # in which hardly two nets are equal
    study = optuna.create_study(
        direction=config.direction,
        sampler=optuna.samplers.RandomSampler(seed=2),
        pruner=make_pruner(config),
    )

    study.optimize(Objective(config), n_trials=4)

    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in study.trials:
        steps = sorted(trial.intermediate_values)
        assert steps == [1, 2, 3, 4, 8][: len(steps)]
    best = study.best_trial
    whole = [best.intermediate_values[4], best.intermediate_values[8]]
    assert best.value == min(whole)  # reports inside the first epoch never become the value


def test_the_same_point_gives_the_same_value_from_any_kind_of_trial(config: StudyConfig) -> None:
    objective = Objective(config)
    sent: list[TrialMessage] = []
    params = objective.config.space.suggest(FixedTrial(POINT)).model_dump()
    remote = RemoteTrial(Train(token=7, params=params), sent.append, threading.Event())

    values = [objective(FixedTrial(POINT)), objective.train(remote), objective(FixedTrial(POINT))]

    assert values[0] == values[1] == values[2]
    assert [message.step for message in sent if isinstance(message, Reported)] == [1, 2, 3, 4, 8]


def test_a_remote_trial_that_is_stopped_is_pruned(config: StudyConfig) -> None:
    stop = threading.Event()
    sent: list[TrialMessage] = []

    def send(message: TrialMessage) -> None:
        sent.append(message)
        stop.set()

    params = config.space.suggest(FixedTrial(POINT)).model_dump()
    with pytest.raises(optuna.TrialPruned):
        Objective(config).train(RemoteTrial(Train(token=7, params=params), send, stop))

    assert [type(message) for message in sent] == [Reported]


def test_a_remote_trial_refuses_what_the_worker_did_not_draw(config: StudyConfig) -> None:
    order = Train(token=7, params={"learning_rate": 0.1})
    trial = RemoteTrial(order, lambda _message: None, threading.Event())

    with pytest.raises(TrainerError, match="'pooling', which the worker did not draw"):
        config.space.suggest(trial)


class _Logging(keras.callbacks.Callback):
    """Puts into the logs what an evaluation would."""

    def __init__(self, **logged: float) -> None:
        super().__init__()
        self.logged = logged

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        logs.update(self.logged, step=epoch + 1)


def _fit(*callbacks: keras.callbacks.Callback) -> int:
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    history = model.fit(
        np.zeros((4, 1)), np.zeros((4, 1)), epochs=5, verbose=0, callbacks=list(callbacks)
    )
    return len(history.epoch)


def test_the_callback_stops_any_keras_training_that_a_trial_wants_to_end() -> None:
    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=0.1))
    trial = study.ask()
    callback = PruningCallback(trial, "val_loss")

    assert _fit(_Logging(val_loss=0.5), callback) == 1

    assert callback.pruned
    assert study.trials[0].intermediate_values == {1: 0.5}


def test_a_metric_that_the_training_does_not_report_is_an_error() -> None:
    trial = optuna.create_study().ask()

    with pytest.raises(InputError, match=r"no .val_acuracy.*val_accuracy"):
        _fit(_Logging(val_accuracy=0.5), PruningCallback(trial, "val_acuracy"))


def test_a_training_that_evaluates_nothing_is_an_error() -> None:
    trial = optuna.create_study().ask()

    with pytest.raises(InputError, match="no evaluation"):
        _fit(PruningCallback(trial, "val_accuracy"))


def test_data_that_is_not_there_is_told_before_anything_is_trained(config: StudyConfig) -> None:
    elsewhere = config.model_copy(
        update={"data": config.data.model_copy(update={"source": "nothing.csv"})}
    )

    with pytest.raises(DataError, match=r"nothing\.csv"):
        Objective(elsewhere)(FixedTrial(POINT))


def test_every_metric_of_a_study_file_is_computed(config: StudyConfig) -> None:
    labels = np.array([0, 1, 1], np.int32)
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32)

    assert set(evaluate(labels, probabilities)) >= {config.metric, "val_loss", "val_auc"}


def test_several_objectives_give_a_tuple_and_a_study_of_optunas_takes_it(
    config: StudyConfig,
) -> None:
    metrics = ("val_accuracy", "val_loss", "bytes")
    several = StudyConfig.model_validate(dict(config) | {"metrics": metrics})
    trial = FixedTrial(POINT)
    study = optuna.create_study(directions=several.directions)

    values = Objective(several)(trial)
    study.optimize(Objective(several), n_trials=1)

    facts = trial.user_attrs
    assert values == (facts["val_accuracy"], facts["val_loss"], 4 * facts["n_parameters"])
    assert study.trials[0].state == TrialState.COMPLETE
    assert study.trials[0].values[2] == values[2]


def test_a_model_beyond_a_limit_is_pruned_without_a_training(config: StudyConfig) -> None:
    limited = StudyConfig.model_validate(dict(config) | {"constraints": {"bytes": 500}})
    study = optuna.create_study(direction=config.direction)

    study.optimize(Objective(limited), n_trials=1)

    (trial,) = study.trials
    assert trial.state == TrialState.PRUNED
    assert trial.constraints["bytes"] > 0
    assert trial.user_attrs == {}
