"""Objectives without TensorFlow, for tests of everything around the training."""

import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import optuna

from tuner.config import StudyConfig
from tuner.errors import InputError, TrialFailedError
from tuner.worker.messages import Prepare
from tuner.worker.trainer import Control, Equipment

#: What `TOY_STUDY` tunes, drawn by name as the GRU objective would.
TOY_STUDY = """
name   = "toy"
metric = "val_accuracy"

[data]
source = "demo"

[budget]
trials = 6
epochs = 3

[space]
learning_rate = { low = 1e-4, high = 1.0, log = true }
dropout       = { low = 0.0, high = 0.9 }
"""


def quadratic(prepare: Prepare, _control: Control) -> Equipment:
    """A smooth hill with its top, 1, at learning_rate 0.01 and dropout 0.3."""
    space = StudyConfig.from_json(prepare.config).space

    def objective(trial: Any) -> float:
        params = space.suggest(trial)
        off = (math.log10(params.learning_rate) + 2) / 2
        value = 1 - off**2 - (params.dropout - 0.3) ** 2
        trial.set_user_attr("off", off)
        return value

    return Equipment(objective=objective, fingerprint="quadratic")


def reporting(prepare: Prepare, control: Control) -> Equipment:
    """Three epochs of reports that rise towards 1 - dropout; slow enough to be stopped."""
    return _rising(prepare, control, pause=0.02)


def unhurried(prepare: Prepare, control: Control) -> Equipment:
    """As `reporting`, with time for somebody else to do something meanwhile."""
    return _rising(prepare, control, pause=0.4)


def _rising(prepare: Prepare, control: Control, *, pause: float) -> Equipment:
    config = StudyConfig.from_json(prepare.config)

    def objective(trial: Any) -> float:
        params = config.space.suggest(trial)
        for step in (1, 2, 3, 4, 8, 12):
            if control.stop.wait(pause):
                return math.nan
            trial.report((1 - params.dropout) * step / 12, step)
        return 1 - params.dropout

    return Equipment(objective=objective, fingerprint="reporting")


def slow_reporting(prepare: Prepare, control: Control) -> Equipment:
    """Forty reports in six seconds; says which process trained."""
    config = StudyConfig.from_json(prepare.config)

    def objective(trial: Any) -> float:
        config.space.suggest(trial)
        for step in range(1, 41):
            if control.stop.wait(0.15):
                return math.nan
            trial.report(step / 40, step)
        trial.set_user_attr("trainer", os.getpid())
        return 1.0

    return Equipment(objective=objective, notes=("the trainer is ready",))


def sleeping(prepare: Prepare, control: Control) -> Equipment:
    """Trains for ever, reporting every tenth of a second."""
    config = StudyConfig.from_json(prepare.config)

    def objective(trial: Any) -> float:
        config.space.suggest(trial)
        for step in range(1, 100_000):
            if control.stop.wait(0.1):
                break
            trial.report(0.5, step)
        return 0.5

    return Equipment(objective=objective)


def diverging(prepare: Prepare, _control: Control) -> Equipment:
    """Diverges above a learning rate of 0.01."""
    config = StudyConfig.from_json(prepare.config)

    def objective(trial: Any) -> float:
        params = config.space.suggest(trial)
        if params.learning_rate > 0.01:
            raise TrialFailedError("the loss is nan", reason="diverged")
        return params.learning_rate

    return Equipment(objective=objective)


def ending_itself(_prepare: Prepare, _control: Control) -> Equipment:
    """Reports once and ends the trial by itself."""

    def objective(trial: Any) -> float:
        trial.report(0.1, 1)
        raise optuna.TrialPruned

    return Equipment(objective=objective)


def not_a_number(_prepare: Prepare, _control: Control) -> Equipment:
    """Gives what no database can rank."""
    return Equipment(objective=lambda _trial: math.nan)


def buggy(_prepare: Prepare, _control: Control) -> Equipment:
    """Fails like wrong model code does."""

    def objective(_trial: Any) -> float:
        raise ZeroDivisionError("a bug in the model")

    return Equipment(objective=objective)


def dying(_prepare: Prepare, _control: Control) -> Equipment:
    """Dies like a process that runs out of memory."""

    def objective(_trial: Any) -> float:
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
        return 0.0

    return Equipment(objective=objective)


def without_data(_prepare: Prepare, _control: Control) -> Equipment:
    """Finds no data, as on a machine without it."""
    raise InputError("reviews.csv: no such file")


def hanging(_prepare: Prepare, _control: Control) -> Equipment:
    """Reports once, then never again: as in a deadlock, it does not even hear a stop."""

    def objective(trial: Any) -> float:
        trial.report(0.5, 1)
        while True:
            time.sleep(60)

    return Equipment(objective=objective)


def hungry(prepare: Prepare, _control: Control) -> Equipment:
    """Has enough memory only for a quarter of a batch, and for no network of 256 units."""
    config = StudyConfig.from_json(prepare.config)

    def objective(trial: Any) -> float:
        params = config.space.suggest(trial)
        if trial.order.micro_batches < 4 or params.units == 256:
            raise MemoryError("Unable to allocate 9.31 TiB")
        trial.set_user_attr("micro_batches", trial.order.micro_batches)
        return 0.5

    return Equipment(objective=objective)


def stumbling(_prepare: Prepare, _control: Control) -> Equipment:
    """Dies after each of its first eight steps, and goes on at the next one."""

    def objective(trial: Any) -> float:
        folder = Path(trial.order.checkpoints).parent
        folder.mkdir(parents=True, exist_ok=True)
        done = len(list(folder.glob("step-*")))
        for step in range(1, done + 1):
            trial.report(step / 10, step)  # a resumed training tells its reports again
        for step in range(done + 1, 10):
            trial.report(step / 10, step)
            if step <= 8:
                time.sleep(0.2)  # the report reaches the worker before the end does
                (folder / f"step-{step}").touch()
                os.kill(os.getpid(), signal.SIGSEGV)
        return 0.9

    return Equipment(objective=objective)


def unable_to_start(_prepare: Prepare, _control: Control) -> Equipment:
    """Dies before it is ready, as where a library is broken."""
    print("libcudart.so.12: cannot open shared object file")
    sys.stdout.flush()
    os._exit(7)


def telling_its_process(_prepare: Prepare, _control: Control) -> Equipment:
    """Notes which trainer ran it."""

    def objective(trial: Any) -> float:
        trial.set_user_attr("trainer", os.getpid())
        return 0.5

    return Equipment(objective=objective)
