"""Checkpoints of trainings as files that are whole or do not count; knows nothing of Keras."""

import contextlib
import hashlib
import io
import json
import logging
import os
import re
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Checkpoints of one training that are kept: the newest, and one in case that is damaged.
N_KEPT = 2
_HEADER = "header"
#: Name of a checkpoint: batches trained, and the SHA-256 of its content.
FILE_NAME = re.compile(r"(\d{10})-([0-9a-f]{64})\.ckpt")
#: What reading a file raises that is torn, is none of ours, or was made to do harm.
_UNREADABLE = (
    OSError,
    ValueError,  # no JSON, no text, or an array that only pickle could read
    TypeError,
    KeyError,
    EOFError,
    RuntimeError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Report:
    """One evaluation during training."""

    #: Quarters of an epoch trained so far: 1, 2, 3, 4, then 8, 12, ...
    step: int
    #: The metric that the study is judged by.
    value: float
    #: Every metric, by name.
    metrics: Mapping[str, float]
    #: Mean loss on the training examples of this step.
    loss: float


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All that a training needs to go on between two batches as if it had not been interrupted."""

    #: Batches trained so far, over all epochs.
    n_batches: int
    #: Wall-clock time of training and evaluation so far, earlier interruptions included.
    seconds: float
    #: Every evaluation so far, in order.
    reports: tuple[Report, ...]
    #: Step of the report that is the best so far; None before the end of the first epoch.
    best_step: int | None
    #: Numbers, by what they belong to, such as ``"optimizer"``.
    arrays: Mapping[str, tuple[Array, ...]]


class Checkpoints:
    """The checkpoints of one training, in one folder.

    A training is a pure function of its identity: hyperparameters, data, seed, versions, device
    and whatever else its value depends on. So each checkpoint with the same identity is as good
    as one's own, wherever it comes from, and one with another identity is of no use.

    A file is an uncompressed ``.npz`` without pickles, named after the batches trained and the
    SHA-256 of its content. Trouble with the disk is logged and never raised: training goes on.

    Args:
        folder: Where to write, ``.../slot-000012/<token>``; folders beside it belong to earlier
            holders of the same slot and are read too.
        every: Seconds from one checkpoint to the next.
        identity: What the value depends on and the training itself does not know.
        on_write: Called after each checkpoint that was written.
        on_resume: Called when a training goes on from a checkpoint.

    Example:
        >>> checkpoints = Checkpoints(store.folder(slot=12, token=834), identity={"code": "0.1.0"})
        >>> fit(params, ..., checkpoints=checkpoints)
    """

    def __init__(
        self,
        folder: Path,
        *,
        every: float = 30.0,
        identity: Mapping[str, str] | None = None,
        on_write: Callable[[Snapshot], None] = lambda _: None,
        on_resume: Callable[[Snapshot], None] = lambda _: None,
    ) -> None:
        self.folder = folder
        self.every = every
        self.on_write = on_write
        self.on_resume = on_resume
        #: Set before a training is stopped that somebody will take up; a pruned one is not.
        self.keep_when_stopped = threading.Event()
        self._identity = dict(identity or {})
        self._has_warned = False

    def identify(self, **facts: str) -> None:
        """Add to what the value depends on; from now on only checkpoints with the same count."""
        self._identity |= facts

    def write(self, snapshot: Snapshot) -> None:
        """Write a checkpoint and remove all but the newest two; the disk's errors are logged."""
        content = _encode(snapshot, self._identity)
        name = f"{snapshot.n_batches:010d}-{hashlib.sha256(content).hexdigest()}.ckpt"
        unfinished = self.folder / f"{name}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self.folder / name)
            for old in sorted(self.folder.glob("*.ckpt"))[:-N_KEPT]:
                old.unlink(missing_ok=True)
        except OSError as error:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            self._warn(error)
            return
        self.on_write(snapshot)

    def _warn(self, error: OSError) -> None:
        if not self._has_warned:
            _log.warning(
                "No checkpoint could be written to %s: %s. Training goes on; if it is interrupted "
                "it starts again from an older checkpoint or from the start. Make room or name "
                "another folder.",
                self.folder,
                error,
            )
        self._has_warned = True

    def newest(self) -> Snapshot | None:
        """Read the checkpoint that is furthest in training, of all holders of this slot.

        Returns:
            The first that is undamaged and has this training's identity; None without such a one.
        """
        found = (
            (FILE_NAME.fullmatch(path.name), path) for path in self.folder.parent.glob("*/*.ckpt")
        )
        named = [(int(match[1]), match[2], path) for match, path in found if match]
        for n_batches, checksum, path in sorted(named, reverse=True):
            try:
                content = path.read_bytes()
                if hashlib.sha256(content).hexdigest() != checksum:
                    raise ValueError("its checksum is wrong")
                snapshot, identity = _decode(content)
                if snapshot.n_batches != n_batches:
                    raise ValueError("its name does not fit")
            except _UNREADABLE as error:
                _log.warning("Checkpoint %s is skipped: %s", path, error)
                continue
            if identity == self._identity:
                return snapshot
            names = sorted(
                name
                for name in identity.keys() | self._identity.keys()
                if identity.get(name) != self._identity.get(name)
            )
            _log.warning("Checkpoint %s is skipped: other %s", path, ", ".join(names))
        return None


def _encode(snapshot: Snapshot, identity: Mapping[str, str]) -> memoryview:
    header = {
        "identity": identity,
        "n_batches": snapshot.n_batches,
        "seconds": snapshot.seconds,
        "best_step": snapshot.best_step,
        "reports": [asdict(report) for report in snapshot.reports],
        "sizes": {name: len(arrays) for name, arrays in snapshot.arrays.items()},
    }
    named = {
        f"{name}.{i}": array
        for name, arrays in snapshot.arrays.items()
        for i, array in enumerate(arrays)
    }
    named[_HEADER] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **named)
    return file.getbuffer()


def _decode(content: bytes) -> tuple[Snapshot, dict[str, str]]:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        header = json.loads(file[_HEADER].tobytes())
        snapshot = Snapshot(
            n_batches=header["n_batches"],
            seconds=header["seconds"],
            best_step=header["best_step"],
            reports=tuple(Report(**report) for report in header["reports"]),
            arrays={
                name: tuple(file[f"{name}.{i}"] for i in range(size))
                for name, size in header["sizes"].items()
            },
        )
    return snapshot, header["identity"]
