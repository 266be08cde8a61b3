"""What a trainer needs to train: an objective, and what it can be told meanwhile."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from tuner.sizes import Shape
from tuner.worker.messages import Prepare


@dataclass(frozen=True, kw_only=True)
class Equipment:
    """An objective that is ready to be called, and what is known of it."""

    #: From a trial to its value, or to that of each objective; what is left out are sizes.
    objective: Callable[[Any], float | tuple[float, ...]]
    #: Identity of the data and its preparation; empty where there is none.
    fingerprint: str = ""
    #: What trains: ``cpu`` or a GPU's name.
    device: str = "cpu"
    #: Things a person should know about the data.
    notes: tuple[str, ...] = ()
    #: What the data decides of models' sizes; None where there is none.
    shape: Shape | None = None


class Control:
    """What the worker wants of a running training."""

    def __init__(self) -> None:
        #: Set when the training should end at its next batch.
        self.stop = threading.Event()
        #: Set as well when somebody will go on with it.
        self.keep = threading.Event()


#: Makes the objective of a study.
Factory: TypeAlias = Callable[[Prepare, Control], Equipment]
