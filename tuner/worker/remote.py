"""The trial as the trainer sees it: values that were drawn elsewhere, reports that travel."""

import threading
import time
from collections.abc import Callable
from typing import Any

from tuner.errors import TrainerError
from tuner.worker.messages import Alive, Reported, Resumed, Saved, Train, TrialMessage

#: Seconds between signs of life.
ALIVE_SECONDS = 1.0


class RemoteTrial:
    """Stands in for an Optuna trial at the other end of the worker's pipe.

    Args:
        order: The trial, drawn by the worker.
        send: Takes a message to the worker.
        stop: Set once the worker wants the trial to end.
    """

    def __init__(
        self, order: Train, send: Callable[[TrialMessage], None], stop: threading.Event
    ) -> None:
        #: What the worker asked for.
        self.order = order
        self._params = order.params
        self._send = send
        self._stop = stop
        self._said_alive = 0.0
        #: Gives the MiB that the training took at most so far; None where that cannot be known.
        self.peak_memory_mb: Callable[[], int | None] = lambda: None
        #: Facts noted so far.
        self.attributes: dict[str, Any] = {}

    def alive(self) -> None:
        """Tell the worker, now and then, that training goes on."""
        now = time.monotonic()
        if now - self._said_alive >= ALIVE_SECONDS:
            self._said_alive = now
            self._send(Alive(token=self.order.token))

    def resumed(self, n_batches: int, seconds: float) -> None:
        """Tell the worker that the training goes on from a checkpoint."""
        self._send(Resumed(token=self.order.token, n_batches=n_batches, seconds=seconds))

    def saved(self) -> None:
        """Tell the worker that a checkpoint was written."""
        self._send(Saved(token=self.order.token))

    def _value(self, name: str) -> Any:
        if name not in self._params:
            raise TrainerError(
                f"The objective asked for {name!r}, which the worker did not draw. "
                f"Worker and trainer must be of one version."
            )
        return self._params[name]

    def suggest_categorical(self, name: str, _choices: Any) -> Any:
        """Give the drawn value."""
        return self._value(name)

    def suggest_int(
        self, name: str, _low: int, _high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Give the drawn value."""
        del step, log
        return int(self._value(name))

    def suggest_float(
        self, name: str, _low: float, _high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Give the drawn value."""
        del step, log
        return float(self._value(name))

    def report(self, value: float, step: int) -> None:
        """Send a report to the worker, without waiting for an answer."""
        peak = self.peak_memory_mb()
        self._send(
            Reported(token=self.order.token, step=step, value=value, peak_memory_mb=peak),
        )

    def should_prune(self) -> bool:
        """Say what the worker last wanted; never waits for the database."""
        return self._stop.is_set()

    def set_user_attr(self, key: str, value: Any) -> None:
        """Note a fact; it is stored when the trial ends."""
        self.attributes[key] = value
