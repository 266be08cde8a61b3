"""Objectives without TensorFlow, for tests of everything around the training."""

import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from tuner.checkpoints import Checkpoints, Snapshot
from tuner.config import StudyConfig
from tuner.confirmation import Task
from tuner.data.sources import read
from tuner.errors import DataError, InputError, TrialFailedError
from tuner.judging.hits import HITS, STANDARD_ERROR, Hits
from tuner.worker.equipment import Control, Equipment
from tuner.worker.messages import Prepare

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


def growing(prepare: Prepare, control: Control) -> Equipment:
    """As `reporting`, but the larger a model, the better: the rest of 1 - dropout is 4 / units."""
    return _rising(prepare, control, pause=0.02, size_matters=True)


def _rising(
    prepare: Prepare, control: Control, *, pause: float, size_matters: bool = False
) -> Equipment:
    config = StudyConfig.from_json(prepare.config)

    def objective(trial: Any) -> float:
        params = config.space.suggest(trial)
        value = (1 - params.dropout) * (1 - 4 / params.units if size_matters else 1)
        for step in (1, 2, 3, 4, 8, 12):
            if control.stop.wait(pause):
                return math.nan
            trial.report(value * step / 12, step)
        return value

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


def never_ready(_prepare: Prepare, _control: Control) -> Equipment:
    """Hangs before it is ready, as where a driver is broken."""
    time.sleep(600)
    raise AssertionError("unreachable")


def telling_its_process(_prepare: Prepare, _control: Control) -> Equipment:
    """Notes which trainer ran it."""

    def objective(trial: Any) -> float:
        trial.set_user_attr("trainer", os.getpid())
        return 0.5

    return Equipment(objective=objective)


def telling_its_place(prepare: Prepare, _control: Control) -> Equipment:
    """Notes what its process was given to train on, and needs 321 MiB for it."""

    def objective(trial: Any) -> float:
        for name in ("CUDA_VISIBLE_DEVICES", "TF_FORCE_GPU_ALLOW_GROWTH", "OMP_NUM_THREADS"):
            trial.set_user_attr(name, os.environ[name])
        trial.set_user_attr("memory_limit_mb", prepare.memory_limit_mb)
        trial.set_user_attr("peak_memory_mb", 321)
        return 0.5

    return Equipment(objective=objective)


def large_and_slow(_prepare: Prepare, control: Control) -> Equipment:
    """Reports once, with what it took of the memory, and then trains for ever."""

    def objective(trial: Any) -> float:
        trial.peak_memory_mb = lambda: 4_567
        trial.report(0.5, 1)
        control.stop.wait()
        return 0.5

    return Equipment(objective=objective)


def reading(prepare: Prepare, _control: Control) -> Equipment:
    """Reads the study's data as the GRU objective does, and nothing else; needs no credentials."""
    config = StudyConfig.from_json(prepare.config)
    secrets = [name for name in os.environ if name.startswith("AWS_")]
    if secrets:
        raise InputError(f"the trainer sees {secrets}")
    corpus = read(config.data, seed=config.seed, folder=config.folder)
    return Equipment(objective=lambda _trial: 1.0, fingerprint=f"{len(corpus.labels)} examples")


def counting(_prepare: Prepare, control: Control) -> Equipment:
    """Adds up 40 batches in two seconds, with checkpoints, and goes on from the newest one."""

    def objective(trial: Any) -> float:
        checkpoints = Checkpoints(
            Path(trial.order.checkpoints),
            identity={"params": str(sorted(trial.order.params.items()))},
            on_write=lambda _: trial.saved(),
        )
        snapshot = checkpoints.newest()
        done, total = (snapshot.n_batches, snapshot.arrays["total"][0]) if snapshot else (0, 0.0)
        if snapshot is not None:
            trial.resumed(snapshot.n_batches, snapshot.seconds)
        for batch in range(done + 1, 41):
            is_stopped = control.stop.wait(0.05)
            if not is_stopped:
                total = 0.9 * total + math.sqrt(batch)
            if control.keep.is_set() if is_stopped else batch % 4 == 0:
                checkpoints.write(
                    Snapshot(
                        n_batches=batch - is_stopped,
                        seconds=0.05 * batch,
                        reports=(),
                        best_step=None,
                        arrays={"total": (np.array(total),)},
                    )
                )
            if is_stopped:
                return math.nan
        trial.set_user_attr("resumed_batches", done)
        return float(total)

    return Equipment(objective=objective)


def following_its_data(prepare: Prepare, control: Control) -> Equipment:
    """Reads its data, which identifies itself, and tells it; it may hold a bug, or patience."""
    config = StudyConfig.from_json(prepare.config)
    path = Path(config.data.source)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    data = path.read_text()

    def objective(trial: Any) -> float:
        config.space.suggest(trial)
        trial.set_user_attr("data", data)
        if data == "a bug":
            raise ZeroDivisionError(data)
        for step in range(1, 1000 if data == "patience" else 3):
            trial.report(0.5, step)
            if control.stop.wait(0.1):
                return math.nan
        return 0.5

    return Equipment(objective=objective, fingerprint=data)


def confirming(prepare: Prepare, _control: Control) -> Equipment:
    """Scores a finalist by its dropout, with all that a study that confirms wants to know."""
    config = StudyConfig.from_json(prepare.config)

    def objective(trial: Any) -> float:
        params, task = config.space.suggest(trial), Task(**trial.order.task)
        right = np.random.default_rng(task.replicate).binomial(10, 1 - params.dropout / 2, 20)
        hits = Hits(right=right, size=np.full(20, 10))
        trial.set_user_attr(HITS, hits.to_text())
        trial.set_user_attr(STANDARD_ERROR, 0.02)
        trial.set_user_attr("best_epoch", task.epochs or 1 + task.replicate)
        trial.set_user_attr("told", [task.finalist, task.replicate, task.epochs])
        return hits.share

    return Equipment(objective=objective, fingerprint="confirming")
