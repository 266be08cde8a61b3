"""The child process that builds and trains one model at a time; it holds no credentials.

Started by `tuner.worker.process` as ``python -m tuner.worker.trainer READ WRITE OBJECTIVE WORKER``.
"""

import ctypes
import importlib
import logging
import math
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import optuna

from tuner.errors import InputError, TrialFailedError
from tuner.worker.equipment import Control, Factory
from tuner.worker.memory import is_out_of_memory
from tuner.worker.messages import (
    Failed,
    Finished,
    Message,
    Prepare,
    Ready,
    Stop,
    Train,
    Unusable,
    Warned,
    parse_message,
    write_message,
)
from tuner.worker.remote import RemoteTrial

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class _Forwarding(logging.Handler):
    """Sends warnings of our own code to the worker, whose log people read."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = send

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(Warned(message=record.getMessage()))


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
        self.control = Control()
        self.inbox: queue.SimpleQueue[Prepare | Train] = queue.SimpleQueue()
        self.token: int | None = None
        self.lock = threading.Lock()

    def run(self) -> None:
        """Prepare once, then train what comes."""
        logging.getLogger("tuner").addHandler(_Forwarding(self._send))
        threading.Thread(target=self._listen, daemon=True).start()
        prepare = self.inbox.get()
        if not isinstance(prepare, Prepare):
            raise TypeError(f"expected Prepare first, received {prepare!r}")
        try:
            equipment = self.factory(prepare, self.control)
        except InputError as error:
            self._send(Unusable(message=str(error)))
            return
        self._send(
            Ready(
                fingerprint=equipment.fingerprint,
                device=equipment.device,
                notes=equipment.notes,
                n_ids=equipment.shape.n_ids if equipment.shape else None,
                n_classes=equipment.shape.n_classes if equipment.shape else None,
            )
        )
        while True:
            order = self.inbox.get()
            if isinstance(order, Train):
                self._send(self._train(equipment.objective, order))

    def _train(
        self, objective: Callable[[Any], float | tuple[float, ...]], order: Train
    ) -> Message:
        with self.lock:
            self.token = order.token
            self.control.stop.clear()
            self.control.keep.clear()
        trial = RemoteTrial(order, self._send, self.control.stop)
        value: float | None
        try:
            told = objective(trial)
            value, *further = told if isinstance(told, tuple) else (told,)
        except optuna.TrialPruned:
            value, further = None, []
        except TrialFailedError as error:
            return Failed(
                token=order.token,
                reason=error.reason,
                message=str(error),
                infeasible=True,
                failed_at="",
                attributes=trial.attributes,
            )
        except InputError as error:
            return Unusable(message=str(error))
        except Exception as error:  # noqa: BLE001 - whatever the model code raises, the worker decides
            return Failed(
                token=order.token,
                reason="out_of_memory" if is_out_of_memory(error) else type(error).__name__,
                message=traceback.format_exc(),
                infeasible=False,
                failed_at=_where(error),
                attributes=trial.attributes,
            )
        if self.control.stop.is_set():
            value = None
        elif value is not None and any(map(math.isnan, (value, *further))):
            return Failed(
                token=order.token,
                reason="nan",
                message="The objective gave nan. Expected a number, or optuna.TrialPruned.",
                infeasible=False,
                failed_at="the objective's value is not a number",
                attributes=trial.attributes,
            )
        return Finished(
            token=order.token, value=value, attributes=trial.attributes, further=further
        )

    def _send(self, message: Message) -> None:
        write_message(self.writing, message)

    def _listen(self) -> None:
        """Read orders; end the process with the worker."""
        for line in self.reading:
            message = parse_message(line)
            match message:
                case Stop(token=token, keep=keep):
                    with self.lock:
                        if token == self.token:
                            if keep:
                                self.control.keep.set()
                            self.control.stop.set()
                case Prepare() | Train():
                    self.inbox.put(message)
        # The worker is gone, perhaps killed: nobody is left to train for.
        os._exit(0)


def _where(error: BaseException) -> str:
    """Name the exception and the line that raised it: the same for the same bug."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    place = f"{Path(last.filename).name}:{last.lineno}" if last else "unknown"
    return f"{type(error).__name__} at {place}"


def _die_with(worker: int) -> None:
    """Let the kernel end this process with its worker, even while it is stopped or busy."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != worker:  # it died before we asked
        os._exit(0)


def load_factory(name: str) -> Factory:
    """Find ``module:function``."""
    module, _, function = name.partition(":")
    factory: Factory = getattr(importlib.import_module(module), function)
    return factory


def main() -> None:
    """Serve the worker at the given descriptors."""
    read_fd, write_fd, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    _die_with(int(sys.argv[4]))
    # A signal to all processes of a service or a job is for the worker, which asks for a checkpoint
    # before it ends this one.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    reading, writing = os.fdopen(read_fd, "rb"), os.fdopen(write_fd, "wb")
    Trainer(reading, writing, load_factory(name)).run()
    os._exit(0)  # a thread still reads: closing the pipe under it would wait for it


if __name__ == "__main__":
    main()
