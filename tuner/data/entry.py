"""One file with prepared data: whole or refused, without pickle, and mapped into memory.

The file begins with `MAGIC`, the SHA-256 of the manifest and the manifest's length; then come the
manifest (JSON) and the arrays, each at a multiple of 64 bytes. Processes that map the same file
share one copy of it in memory.
"""

import contextlib
import dataclasses
import hashlib
import json
import mmap
import operator
import os
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from tuner.data.encoded import Encoded
from tuner.data.origin import Look
from tuner.data.prepared import Prepared
from tuner.data.summary import Summary

MAGIC = b"TUNERIDS"
#: How the name of a file ends that is still being written.
UNFINISHED = ".unfinished"
#: Bytes to whose multiples arrays are moved.
_ALIGNMENT = 64
#: Magic, checksum of the manifest, its length.
_HEADER = struct.Struct("<8s32sQ")
#: Bytes that are checked at a time.
_CHUNK = 2**20
#: Where each array stands in `Prepared`, and its type.
_ARRAYS = {
    f"{part}.{name}": dtype
    for part in ("train", "validation")
    for name, dtype in (("ids", np.int32), ("offsets", np.int64), ("labels", np.int32))
} | {"units": np.int64}


class DamagedError(Exception):
    """A file is not what was once written."""


class ForeignError(Exception):
    """A file or folder belongs to another user, who might have put anything there."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a file tells of its data."""

    #: What was read, for people.
    source: str
    #: `tuner.data.origin.Origin.settings`.
    settings: str
    #: What the data's files were like.
    look: Look
    #: Checksum of their content.
    checksum: str


def write_entry(path: Path, entry: Entry, prepared: Prepared) -> None:
    """Put data where readers find the old file or the new one, and never half of one.

    Args:
        path: Where to; an older file there stays with those who have mapped it.
        entry: Where the data is from.
        prepared: The data.

    Raises:
        OSError: It cannot be written; nothing of it stays.
    """
    arrays = {
        name: np.ascontiguousarray(operator.attrgetter(name)(prepared), dtype)
        for name, dtype in _ARRAYS.items()
    }
    manifest = json.dumps(
        {
            **dataclasses.asdict(entry),
            "words": prepared.words,
            "fingerprint": prepared.fingerprint,
            "summary": dataclasses.asdict(prepared.summary),
            "arrays": {
                name: {
                    "length": len(array),
                    "type": array.dtype.str,
                    "sha256": hashlib.sha256(array.view(np.uint8).data).hexdigest(),
                }
                for name, array in arrays.items()
            },
        }
    ).encode()
    handle, unfinished = tempfile.mkstemp(
        dir=path.parent, prefix=f"{path.name}.", suffix=UNFINISHED
    )
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_HEADER.pack(MAGIC, hashlib.sha256(manifest).digest(), len(manifest)))
            file.write(manifest)
            for array in arrays.values():
                file.write(b"\0" * (-file.tell() % _ALIGNMENT))
                file.write(array.view(np.uint8).data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)  # noqa: PTH105 - what mkstemp gives is text
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)  # noqa: PTH108 - likewise
        raise
    _sync_folder(path.parent)


def read_entry(path: Path) -> tuple[Entry, Prepared]:
    """Check a file and map its arrays.

    Args:
        path: The file.

    Returns:
        Where the data is from; and the data, whose arrays cannot be written.

    Raises:
        FileNotFoundError: There is none.
        ForeignError: It belongs to another user.
        DamagedError: It is not what was once written.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        check_owner(path, os.fstat(file.fileno()))
        manifest = _read_manifest(file)
        size = os.fstat(file.fileno()).st_size
        try:
            places = _places(manifest, file.tell())
            expected = max(end for _, _, end in places.values())
            if size != expected:
                raise DamagedError(f"it has {size} bytes and should have {expected}")
            for name, (_, begin, end) in places.items():
                if _sha256(file, begin, end) != manifest["arrays"][name]["sha256"]:
                    raise DamagedError(f"the checksum of {name} is another one")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            arrays = {
                name: np.frombuffer(mapped, dtype, (end - begin) // dtype.itemsize, begin)
                for name, (dtype, begin, end) in places.items()
            }
            return _entry(manifest), _prepared(manifest, arrays)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise DamagedError(f"its manifest is another version's ({error!r})") from error


def glance(path: Path) -> tuple[Entry, Summary]:
    """Read what a file tells of its data, and not the data.

    Raises:
        DamagedError: It is not what was once written.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        manifest = _read_manifest(file)
        try:
            return _entry(manifest), _summary(manifest["summary"])
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise DamagedError(f"its manifest is another version's ({error!r})") from error


def check_owner(path: Path, status: os.stat_result) -> None:
    """Refuse what somebody else could have made up.

    Raises:
        ForeignError: It belongs neither to this user nor to root.
    """
    if status.st_uid not in (0, os.geteuid()):
        raise ForeignError(
            f"{path} belongs to user number {status.st_uid}, and this is user number {os.geteuid()}"
        )


def _read_manifest(file: IO[bytes]) -> Any:
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size or not header.startswith(MAGIC):
        raise DamagedError("it does not begin as it should")
    _, checksum, length = _HEADER.unpack(header)
    if length > os.fstat(file.fileno()).st_size:
        raise DamagedError("its manifest is cut off")
    manifest = file.read(length)
    if hashlib.sha256(manifest).digest() != checksum:
        raise DamagedError("the checksum of its manifest is another one")
    return json.loads(manifest)


def _places(manifest: Any, begin: int) -> dict[str, tuple[np.dtype[Any], int, int]]:
    """Find each array: its type, its first byte, and that behind its last one."""
    places = {}
    for name, told in manifest["arrays"].items():
        dtype = np.dtype(_ARRAYS[name])
        if told["type"] != dtype.str:
            raise ValueError(f"{name} is of type {told['type']}")
        begin += -begin % _ALIGNMENT
        end = begin + told["length"] * dtype.itemsize
        places[name] = (dtype, begin, end)
        begin = end
    return places


def _sha256(file: IO[bytes], begin: int, end: int) -> str:
    """Sum up a part of a file by reading it: pages that are looked at in a map count as ours."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(_CHUNK))
    file.seek(begin)
    while n_left := end - file.tell():
        n_read = file.readinto(buffer[: min(n_left, _CHUNK)])  # type: ignore[attr-defined]  # IO has none
        if not n_read:
            raise DamagedError("it became shorter while it was read")
        digest.update(buffer[:n_read])
    return digest.hexdigest()


def _entry(manifest: Any) -> Entry:
    return Entry(
        source=manifest["source"],
        settings=manifest["settings"],
        look=Look(**manifest["look"]),
        checksum=manifest["checksum"],
    )


def _prepared(manifest: Any, arrays: Mapping[str, npt.NDArray[Any]]) -> Prepared:
    train, validation = (
        Encoded(**{name: arrays[f"{part}.{name}"] for name in ("ids", "offsets", "labels")})
        for part in ("train", "validation")
    )
    words = manifest["words"]
    return Prepared(
        train=train,
        validation=validation,
        words=None if words is None else tuple(words),
        fingerprint=manifest["fingerprint"],
        summary=_summary(manifest["summary"]),
        units=arrays["units"],
    )


def _summary(told: Any) -> Summary:
    classes = tuple((name, count) for name, count in told["classes"])
    return Summary(**{**told, "classes": classes, "notes": tuple(told["notes"])})


def _sync_folder(folder: Path) -> None:
    """See to it that a new name survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
