"""What worker and trainer say to each other: frozen values, as lines of JSON on their own pipe."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any, TypeAlias, get_args

from tuner.domain import Scalar
from tuner.sizes import Shape


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """To the trainer: what study it will train for."""

    #: `StudyConfig.to_json()`.
    config: str
    #: Folder in which relative data paths are looked up first.
    data_root: str | None
    #: Threads that training may use.
    threads: int
    #: UUID of the GPU to train on; empty for none.
    gpu: str = ""
    #: MiB of it that may be taken; None for as much as is needed.
    memory_limit_mb: int | None = None
    #: Whether to refuse to train on the processor where a GPU was given.
    require_gpu: bool = False


@dataclass(frozen=True, kw_only=True)
class Train:
    """To the trainer: train one trial."""

    #: Proof of the lease; every answer carries it.
    token: int
    #: All hyperparameters.
    params: Mapping[str, Scalar]
    #: Folder for this claim's checkpoints, beside those of earlier claims of the slot; None for
    #: none.
    checkpoints: str | None = None
    #: Time from one checkpoint to the next.
    checkpoint_seconds: float = 30.0
    #: Parts that a batch is cut into, so that it fits into memory.
    micro_batches: int = 1
    #: Of a training that confirms: the fields of its `Task`; None in a search.
    task: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Stop:
    """To the trainer: end the trial that runs."""

    #: Which one.
    token: int
    #: Whether somebody will go on with it: then a checkpoint is left.
    keep: bool = False


@dataclass(frozen=True, kw_only=True)
class Ready:
    """From the trainer: the data is prepared."""

    #: Identity of the data and its preparation; empty where the objective has none.
    fingerprint: str
    #: What trains: ``cpu`` or a GPU's name.
    device: str
    #: Things a person should know about the data.
    notes: tuple[str, ...]
    #: Token ids that models are built for; None where the objective tells none.
    n_ids: int | None = None
    #: Classes, likewise.
    n_classes: int | None = None

    @property
    def shape(self) -> Shape | None:
        """What the data decides of models' sizes; None where the objective does not tell."""
        if self.n_ids is None or self.n_classes is None:
            return None
        return Shape(n_ids=self.n_ids, n_classes=self.n_classes)


@dataclass(frozen=True, kw_only=True)
class Warned:
    """From the trainer: something that a person should read in the worker's log."""

    #: What.
    message: str


@dataclass(frozen=True, kw_only=True)
class Alive:
    """From the trainer: it trains or evaluates; said every second or so."""

    #: Which trial.
    token: int


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """From the trainer: it goes on from a checkpoint."""

    #: Which trial.
    token: int
    #: Batches trained before.
    n_batches: int
    #: Training time before.
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Saved:
    """From the trainer: it wrote a checkpoint, behind all earlier ones."""

    #: Which trial.
    token: int


@dataclass(frozen=True, kw_only=True)
class Reported:
    """From the trainer: one evaluation."""

    #: Which trial.
    token: int
    #: When, in parts of an epoch.
    step: int
    #: The metric.
    value: float
    #: MiB that the training took at most so far; None where that cannot be known.
    peak_memory_mb: int | None = None


@dataclass(frozen=True, kw_only=True)
class Finished:
    """From the trainer: the trial ran to its end, or was stopped."""

    #: Which trial.
    token: int
    #: The objective, of several the first; None where it was stopped.
    value: float | None
    #: Facts about the trial.
    attributes: Mapping[str, Any]
    #: Further objectives; those that are left out are sizes.
    further: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class Failed:
    """From the trainer: this trial gives no value, the next one may."""

    #: Which trial.
    token: int
    #: One word: ``diverged``, ``out_of_memory``, or the name of an unexpected exception.
    reason: str
    #: What happened.
    message: str
    #: Whether the trial itself is to blame, which the sampler should learn.
    infeasible: bool
    #: Exception and line, of an unexpected exception.
    failed_at: str
    #: Facts about the trial.
    attributes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Unusable:
    """From the trainer: the study cannot be trained here at all; a person must act."""

    #: What to do.
    message: str


#: What a trainer says of one trial.
TrialMessage: TypeAlias = Alive | Resumed | Saved | Reported | Finished | Failed
Message: TypeAlias = Prepare | Train | Stop | Ready | Warned | TrialMessage | Unusable
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Message)}


def write_message(file: IO[bytes], message: Message) -> None:
    """Send one message."""
    line = json.dumps([type(message).__name__, asdict(message)], default=list)
    file.write(line.encode() + b"\n")
    file.flush()


def parse_message(line: bytes) -> Message:
    """Read what `write_message` sent."""
    kind, fields = json.loads(line)
    message: Message = _KINDS[kind](**fields)
    return message
