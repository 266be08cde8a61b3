"""The trial as the trainer sees it: values that were drawn elsewhere, reports that travel."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from tuner.domain import Scalar
from tuner.errors import TrainerError


class RemoteTrial:
    """Stands in for an Optuna trial at the other end of the worker's pipe.

    Args:
        params: All hyperparameters, drawn by the worker.
        send_report: Takes value and step to the worker.
        stop: Set once the worker wants the trial to end.
    """

    def __init__(
        self,
        params: Mapping[str, Scalar],
        send_report: Callable[[float, int], None],
        stop: threading.Event,
    ) -> None:
        self._params = params
        self._send_report = send_report
        self._stop = stop
        #: Facts noted so far.
        self.attributes: dict[str, Any] = {}

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
        self._send_report(value, step)

    def should_prune(self) -> bool:
        """Say what the worker last wanted; never waits for the database."""
        return self._stop.is_set()

    def set_user_attr(self, key: str, value: Any) -> None:
        """Note a fact; it is stored when the trial ends."""
        self.attributes[key] = value
