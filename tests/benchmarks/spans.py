"""Where the time of a trial goes, as seen from inside its trainer: our own functions, with clocks.

`trial_profile` starts a trainer with `timed_objective`, the objective of all workers.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tuner.worker.equipment import Control, Equipment
from tuner.worker.gru import gru_objective
from tuner.worker.messages import Prepare

IMPORT = "import TensorFlow"
PREPARE = "prepare data"
BUILD = "build the net"
RESTART = "initial weights"
STEP = "step"
WAIT = "wait for a batch"
EVALUATE = "evaluate"
REPORT = "report"
CHECKPOINT = "write a checkpoint"


@dataclass(frozen=True, kw_only=True)
class Span:
    """One call of a function."""

    #: What it did.
    name: str
    #: When it began, by `time.monotonic`, which all processes of a machine share.
    began: float
    #: When it ended.
    ended: float
    #: Seconds of it that belong to no other span inside.
    own: float


class Clock:
    """Takes the time of functions that call each other."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        #: Seconds within inner spans, for each span that is open.
        self._inner: list[float] = []

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Give the same function with a clock."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.monotonic()
            self._inner.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                ended = time.monotonic()
                inner = self._inner.pop()
                if self._inner:
                    self._inner[-1] += ended - began
                own = ended - began - inner
                self._spans.append(Span(name=name, began=began, ended=ended, own=own))

        return call

    def wrap(self, owner: Any, attribute: str, name: str) -> None:
        """Put the clock into a class, a module or an object."""
        setattr(owner, attribute, self.timed(name, getattr(owner, attribute)))

    def take(self) -> list[dict[str, Any]]:
        """Give all spans since the last call, as JSON types."""
        taken, self._spans = self._spans, []
        return [vars(span) for span in taken]


def timed_objective(prepare: Prepare, control: Control) -> Equipment:
    """Make the objective of all workers, which notes its spans as an attribute of the trial."""
    clock = Clock()
    clock.timed(IMPORT, _import)()
    _set_clocks(clock)
    equipment = gru_objective(prepare, control)

    def objective(trial: Any) -> float | tuple[float, ...]:
        try:
            return equipment.objective(trial)
        finally:
            trial.set_user_attr("spans", clock.take())

    return Equipment(
        objective=objective,
        fingerprint=equipment.fingerprint,
        device=equipment.device,
        notes=equipment.notes,
    )


def _import() -> None:
    import tuner.objective  # noqa: F401 - what takes seconds is the import itself


def _set_clocks(clock: Clock) -> None:
    from tuner import objective
    from tuner.checkpoints import Checkpoints
    from tuner.evaluation import Evaluation
    from tuner.network import Network, Networks
    from tuner.worker.remote import RemoteTrial

    clock.wrap(objective, "prepare", PREPARE)
    clock.wrap(Networks, "get", BUILD)
    clock.wrap(Network, "restart", RESTART)
    clock.wrap(Evaluation, "on_epoch_end", EVALUATE)  # quick where nothing is evaluated
    clock.wrap(RemoteTrial, "report", REPORT)
    clock.wrap(Checkpoints, "write", CHECKPOINT)
    build: Any = Network.__init__

    @functools.wraps(build)
    def build_with_clock(self: Network, *args: Any, **kwargs: Any) -> None:
        build(self, *args, **kwargs)
        clock.wrap(self.step, "run", STEP)
        # Keras calls it for the next batch and a step; what is not the step is the wait.
        clock.wrap(self.model, "train_function", WAIT)

    setattr(Network, "__init__", build_with_clock)  # noqa: B010 - mypy forbids assigning to it
