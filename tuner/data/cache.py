"""Prepared data of this machine: made once, shared by all trainers, made again when stale.

Each user has one folder, with one file for each data and way to prepare it (`tuner.data.entry`).
Nothing here is needed: where the folder cannot be used, data is prepared in memory. A file of
somebody else is never used, unless root's: who could write there could decide what is learned.
It belongs on a disk of this machine: from a network file system, another machine can take a file
away that is mapped here.
"""

import contextlib
import dataclasses
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tuner.data.entry import (
    UNFINISHED,
    DamagedError,
    Entry,
    ForeignError,
    check_owner,
    glance,
    read_entry,
    write_entry,
)
from tuner.data.origin import Origin
from tuner.data.prepared import Prepared
from tuner.errors import InputError
from tuner.host import cache_folder

#: How names of files with data end.
SUFFIX = ".ids"
#: Seconds without use after which data is removed when other data is prepared.
MAX_AGE = 90 * 24 * 3600.0
#: Seconds after which what a killed process left is removed; nobody writes that long.
MAX_AGE_UNFINISHED = 24 * 3600.0
#: Seconds of waiting for another process after which a person is told.
TELL_AFTER = 3.0
#: Seconds between two looks whether it is done.
PAUSE = 0.05

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class KeptData:
    """Prepared data in the cache, for people."""

    #: The file.
    path: Path
    #: What was read; ``damaged`` where that cannot be told.
    source: str
    #: How it was prepared, by name.
    settings: Mapping[str, object]
    #: Examples to learn from and to judge by.
    n_examples: int
    #: Bytes of the file.
    n_bytes: int
    #: Seconds since it was last used.
    idle_seconds: float


def data_folder() -> Path:
    """Give the folder with prepared data; it need not be there."""
    return cache_folder() / "ids"


def cached(origin: Origin, build: Callable[[], Prepared]) -> Prepared:
    """Give prepared data from the cache, or prepare it and keep it there.

    Processes that need the same data at the same time prepare it once. What cannot be kept is
    told by a warning, and does not matter otherwise.

    Args:
        origin: What decides the data.
        build: Prepares it in memory.

    Returns:
        The data; its arrays cannot be written where they are the cache's.
    """
    prepared: Prepared | None = None
    try:
        folder = data_folder()
    except InputError as error:
        _tell_why_not("a file", str(error))
        return build()
    path = folder / f"{origin.name}{SUFFIX}"
    try:
        if folder.exists():
            check_owner(folder, folder.stat())
            if (known := _known(path, origin, tell=False)) is not None:
                return known
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_owner(folder, folder.stat())
        with _alone(path, origin.source):
            if (known := _known(path, origin, tell=True)) is not None:
                return known
            look, checksum = origin.look(), origin.checksum()
            prepared = build()
            is_same = look.stamps == origin.look().stamps
            if is_same and (look.is_settled or checksum == origin.checksum()):
                with contextlib.suppress(OSError):
                    remove_entries(older_than=MAX_AGE)
                entry = Entry(
                    source=origin.source, settings=origin.settings, look=look, checksum=checksum
                )
                write_entry(path, entry, prepared)
                # Mapped in place of what was made, which goes: all share one copy.
                return _known(path, origin, tell=True) or prepared
            _log.warning("%s changes while it is read; it is not kept", origin.source)
    except ForeignError as error:
        _tell_why_not(folder, str(error))
    except OSError as error:
        _tell_why_not(folder, error.strerror or str(error))
    return build() if prepared is None else prepared


def _known(path: Path, origin: Origin, *, tell: bool) -> Prepared | None:
    """Read data from the cache; None where there is none that can be used.

    Args:
        path: Where it would be.
        origin: What decides it.
        tell: Whether to say why it cannot be used: it is prepared again now.
    """
    try:
        entry, prepared = read_entry(path)
    except FileNotFoundError:
        return None
    except DamagedError as error:
        if tell:
            _log.warning("%s is damaged (%s): %s is prepared again", path, error, origin.source)
        return None
    if entry.settings != origin.settings:
        return None  # the same short name by chance
    look = origin.look()
    if look != entry.look or not look.is_settled:
        if origin.checksum() != entry.checksum:
            if tell:
                _log.warning("%s has changed: it is prepared again", origin.source)
            return None
        if look.is_settled:  # copied, touched, or new when it was prepared: next time we know
            with contextlib.suppress(OSError):
                write_entry(path, dataclasses.replace(entry, look=look), prepared)
    with contextlib.suppress(OSError):  # root's, which we may only read
        os.utime(path)  # what is used is kept
    return prepared


def kept_data() -> list[KeptData]:
    """List what is in the cache, that which was used last first.

    Raises:
        OSError: The folder cannot be read.
    """
    found, now = [], time.time()
    folder = data_folder()
    for path in folder.glob(f"*{SUFFIX}") if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):  # removed a moment ago
            status = path.stat()
            try:
                entry: Entry | None
                entry, summary = glance(path)
                n_examples = summary.n_examples
            except DamagedError:
                entry, n_examples = None, 0
            found.append(
                KeptData(
                    path=path,
                    source="damaged" if entry is None else entry.source,
                    settings={} if entry is None else json.loads(entry.settings),
                    n_examples=n_examples,
                    n_bytes=status.st_size,
                    idle_seconds=max(0.0, now - status.st_mtime),
                )
            )
    return sorted(found, key=lambda data: data.idle_seconds)


def remove_entries(older_than: float = 0.0) -> tuple[int, int]:
    """Remove prepared data; who has mapped it keeps it.

    Args:
        older_than: Seconds; what was used since then stays.

    Returns:
        How many files with data are gone, and how many bytes.

    Raises:
        OSError: A file cannot be removed.
    """
    n_files = n_bytes = 0
    folder, now = data_folder(), time.time()
    for path in folder.iterdir() if folder.is_dir() else ():
        # Somebody may be writing this moment.
        max_age = older_than if path.suffix == SUFFIX else MAX_AGE_UNFINISHED
        with contextlib.suppress(FileNotFoundError):  # another process removed it
            status = path.stat()
            if now - status.st_mtime >= max_age:
                path.unlink()
                n_files += path.suffix == SUFFIX
                n_bytes += status.st_size
    return n_files, n_bytes


@contextlib.contextmanager
def _alone(path: Path, source: str) -> Iterator[None]:
    """Wait for other processes that prepare the same; remove what killed ones left."""
    began, is_told = time.monotonic(), False
    lock_path = path.with_suffix(".lock")
    while True:
        with lock_path.open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not is_told and time.monotonic() - began >= TELL_AFTER:
                    lock.seek(0)
                    holder = lock.read() or "another process"
                    _log.warning("%s is being prepared by %s, which is waited for", source, holder)
                    is_told = True
            except OSError:  # a network file system without locks: two may prepare it
                yield
                return
            else:
                if _is_there(lock, lock_path):
                    lock.truncate(0)
                    lock.write(f"process {os.getpid()} on {socket.gethostname()}")
                    lock.flush()
                    for left in path.parent.glob(f"{path.name}.*{UNFINISHED}"):
                        left.unlink(missing_ok=True)
                    try:
                        yield
                    finally:
                        lock_path.unlink(missing_ok=True)
                    return
        time.sleep(PAUSE)


def _is_there(lock: IO[str], path: Path) -> bool:
    """Say whether a lock is of the file that others find, not of one that was removed."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _tell_why_not(folder: Path | str, reason: str) -> None:
    _log.warning(
        "prepared data is not kept in %s (%s): each trainer prepares its own and holds it in "
        "memory. Let TUNER_CACHE name a folder of this user with room in it.",
        folder,
        reason,
    )
