"""The child process that builds and trains one model at a time; it holds no credentials.

Started by `tuner.worker.process` as ``python -m tuner.worker.trainer READ WRITE OBJECTIVE``.
"""

import importlib
import math
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

import optuna

from tuner.config import StudyConfig
from tuner.errors import InputError, TrialFailedError
from tuner.worker.messages import (
    Failed,
    Finished,
    Message,
    Prepare,
    Ready,
    Reported,
    Stop,
    Train,
    Unusable,
    parse_message,
    write_message,
)
from tuner.worker.remote import RemoteTrial


@dataclass(frozen=True, kw_only=True)
class Equipment:
    """An objective that is ready to be called, and what is known of it."""

    #: From a trial to its value.
    objective: Callable[[Any], float]
    #: Identity of the data and its preparation; empty where there is none.
    fingerprint: str = ""
    #: What trains: ``cpu`` or a GPU's name.
    device: str = "cpu"
    #: Things a person should know about the data.
    notes: tuple[str, ...] = ()


#: Makes the objective of a study; the event ends a running training.
Factory: TypeAlias = Callable[[Prepare, threading.Event], Equipment]


def gru_objective(prepare: Prepare, stop: threading.Event) -> Equipment:
    """Make the objective that trains Keras GRUs.

    Args:
        prepare: The study, and what this process may use.
        stop: Ends a running training at its next batch.
    """
    from tuner.device import configure  # TensorFlow loads here, in the trainer alone

    device = configure(threads=prepare.threads)

    import keras

    from tuner.objective import Objective

    class StopCallback(keras.callbacks.Callback):
        """Stops a training between two batches."""

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            del batch, logs  # Keras passes them by name
            if stop.is_set():
                self.model.stop_training = True

    def callbacks() -> Sequence[Any]:
        return [StopCallback()]

    objective = Objective(
        StudyConfig.from_json(prepare.config),
        data_root=Path(prepare.data_root) if prepare.data_root else None,
        callbacks=callbacks,
    )
    return Equipment(
        objective=objective,
        fingerprint=objective.fingerprint,
        device=device,
        notes=objective.data.notes,
    )


class Trainer:
    """Answers one worker until its pipe ends.

    Args:
        reading: The worker's messages.
        writing: Our answers.
        factory: Makes the objective from the study.
    """

    def __init__(
        self,
        reading: IO[bytes],
        writing: IO[bytes],
        factory: Factory,
    ) -> None:
        self.reading = reading
        self.writing = writing
        self.factory = factory
        self.stop = threading.Event()
        self.inbox: queue.SimpleQueue[Prepare | Train] = queue.SimpleQueue()
        self.token: int | None = None
        self.lock = threading.Lock()

    def run(self) -> None:
        """Prepare once, then train what comes."""
        threading.Thread(target=self._listen, daemon=True).start()
        prepare = self.inbox.get()
        if not isinstance(prepare, Prepare):
            raise TypeError(f"expected Prepare first, received {prepare!r}")
        try:
            equipment = self.factory(prepare, self.stop)
        except InputError as error:
            self._send(Unusable(message=str(error)))
            return
        self._send(
            Ready(
                fingerprint=equipment.fingerprint,
                device=equipment.device,
                notes=equipment.notes,
            )
        )
        while True:
            order = self.inbox.get()
            if isinstance(order, Train):
                self._send(self._train(equipment.objective, order))

    def _train(self, objective: Callable[[Any], float], order: Train) -> Message:
        def report(value: float, step: int) -> None:
            self._send(Reported(token=order.token, step=step, value=value))

        with self.lock:
            self.token = order.token
            self.stop.clear()
        trial = RemoteTrial(order.params, report, self.stop)
        try:
            value: float | None = objective(trial)
        except optuna.TrialPruned:
            value = None
        except TrialFailedError as error:
            return Failed(
                token=order.token,
                reason=error.reason,
                message=str(error),
                infeasible=True,
                attributes=trial.attributes,
            )
        except InputError as error:
            return Unusable(message=str(error))
        except Exception as error:  # noqa: BLE001 - whatever the model code raises, the worker decides
            return Failed(
                token=order.token,
                reason=type(error).__name__,
                message=traceback.format_exc(),
                infeasible=False,
                attributes=trial.attributes,
            )
        if self.stop.is_set():
            value = None
        elif value is not None and math.isnan(value):
            return Failed(
                token=order.token,
                reason="nan",
                message="The objective gave nan. Expected a number, or optuna.TrialPruned.",
                infeasible=False,
                attributes=trial.attributes,
            )
        return Finished(token=order.token, value=value, attributes=trial.attributes)

    def _send(self, message: Message) -> None:
        write_message(self.writing, message)

    def _listen(self) -> None:
        """Read orders; end the process with the worker."""
        for line in self.reading:
            message = parse_message(line)
            match message:
                case Stop(token=token):
                    with self.lock:
                        if token == self.token:
                            self.stop.set()
                case Prepare() | Train():
                    self.inbox.put(message)
        # The worker is gone, perhaps killed: nobody is left to train for.
        os._exit(0)


def load_factory(name: str) -> Factory:
    """Find ``module:function``."""
    module, _, function = name.partition(":")
    factory: Factory = getattr(importlib.import_module(module), function)
    return factory


def main() -> None:
    """Serve the worker at the given descriptors."""
    read_fd, write_fd, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    reading, writing = os.fdopen(read_fd, "rb"), os.fdopen(write_fd, "wb")
    Trainer(reading, writing, load_factory(name)).run()
    os._exit(0)  # a thread still reads: closing the pipe under it would wait for it


if __name__ == "__main__":
    main()
