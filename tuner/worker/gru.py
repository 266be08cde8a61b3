"""The objective that trains Keras GRUs, as a trainer uses it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tuner.checkpoints import Checkpoints
from tuner.config import StudyConfig
from tuner.confirmation import Task
from tuner.host import versions
from tuner.loading import load_tensorflow
from tuner.worker.equipment import Control, Equipment
from tuner.worker.messages import Prepare
from tuner.worker.remote import RemoteTrial


def gru_objective(prepare: Prepare, control: Control) -> Equipment:
    """Make the objective that trains Keras GRUs.

    Args:
        prepare: The study, and what this process may use.
        control: Ends a running training at its next batch.
    """
    load_tensorflow()  # here, in the trainer alone
    from tuner.device import PeakMemory, configure

    device = configure(
        threads=prepare.threads,
        gpu=prepare.gpu,
        memory_limit_mb=prepare.memory_limit_mb,
        require_gpu=prepare.require_gpu,
    )
    peak = PeakMemory(device)

    from tuner.objective import Objective
    from tuner.rehearsal import Rehearsal

    config = StudyConfig.from_json(prepare.config)
    objective = Objective(config, data_root=Path(prepare.data_root) if prepare.data_root else None)
    rehearsal = None if config.confirms is None else Rehearsal(objective, config.confirms)
    same = {"device": device, "threads": str(prepare.threads), "code": versions()["tuner"]}

    def train(trial: RemoteTrial) -> float | tuple[float, ...]:
        order, checkpoints = trial.order, None
        if order.checkpoints is not None:
            checkpoints = Checkpoints(
                Path(order.checkpoints),
                every=order.checkpoint_seconds,
                identity=same,
                on_write=lambda _: trial.saved(),
                on_resume=lambda snapshot: trial.resumed(snapshot.n_batches, snapshot.seconds),
            )
            checkpoints.keep_when_stopped = control.keep
        peak.restart()
        trial.peak_memory_mb = peak.read_mb  # a pruned trial is closed with its last report
        train_one: Callable[..., float | tuple[float, ...]] = objective.train
        if rehearsal is not None and order.task is not None:
            train_one = partial(rehearsal.train, task=Task(**order.task))
        try:
            return train_one(
                trial,
                checkpoints=checkpoints,
                micro_batches=order.micro_batches,
                callbacks=[_follow(trial, control)],
            )
        finally:
            trial.set_user_attr("peak_memory_mb", peak.read_mb())

    return Equipment(
        objective=train,
        fingerprint=objective.fingerprint,
        device=device,
        notes=objective.data.notes,
        shape=objective.shape,
    )


def _follow(trial: RemoteTrial, control: Control) -> Any:
    """Make the Keras callback that shows the worker life, and stops when it says so."""
    import keras

    class Following(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            del batch, logs  # Keras passes them by name
            trial.alive()
            if control.stop.is_set():
                self.model.stop_training = True

        def on_test_batch_end(self, batch: int, logs: object = None) -> None:
            del batch, logs
            trial.alive()

    return Following()
