"""What decides a study's ids, told without reading its data: where it lies, and how it is read."""

import contextlib
import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuner.config import DataConfig
from tuner.data.fingerprint import PREPARATION_VERSION
from tuner.data.sources import files_of
from tuner.data.split import Fold

#: Nanoseconds within which a file can change twice and keep its time; network file systems keep
#: whole seconds.
TIME_GRAIN = 2 * 10**9


@dataclass(frozen=True, kw_only=True)
class Look:
    """What files were like at some time."""

    #: Checksum of their names, sizes and times.
    stamps: str
    #: Whether they were old enough for every later change to show in `stamps`.
    is_settled: bool


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Data, and the way it is prepared: equal ones give the same ids while the files stay."""

    #: What is read, for people.
    source: str
    #: Settings, code and paths, as JSON.
    settings: str
    #: The files, or folders with a folder per class; none where the data is made up.
    paths: tuple[Path, ...]

    def located(self, config: DataConfig) -> DataConfig:
        """Name the very files in the ``[data]`` table that this was told of."""
        if not self.paths:
            return config
        key = "path" if config.source == "imdb" else "source"
        return config.model_copy(update={key: str(self.paths[0])})

    @property
    def name(self) -> str:
        """Short name for `settings`; hexadecimal."""
        return hashlib.sha256(self.settings.encode()).hexdigest()[:20]

    def look(self) -> Look:
        """See whether the files are those of another look, from their sizes and times."""
        now, newest, digest = time.time_ns(), 0, hashlib.sha256()
        for path in self._walk():
            stamp: tuple[int, ...] = ()
            try:
                stat = path.stat()
            except OSError:  # what reads it says what that means
                pass
            else:
                # The time of the inode too: nobody can set that back.
                times = (stat.st_mtime_ns, stat.st_ctime_ns)
                stamp = (stat.st_ino, stat.st_size, *times)
                newest = max(newest, *times)
            digest.update(repr((str(path), stamp)).encode())
        return Look(stamps=digest.hexdigest(), is_settled=newest < now - TIME_GRAIN)

    def checksum(self) -> str:
        """Read all files; give a checksum of their names and contents."""
        digest = hashlib.sha256()
        for path in self._walk():
            try:
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError:  # a folder, or gone
                content = ""
            digest.update(repr((str(path), content)).encode())
        return digest.hexdigest()

    def _walk(self) -> Iterator[Path]:
        """Go through the files, in a folder those that are examples, and the folders."""
        for path in self.paths:
            yield path
            if path.is_dir():
                folders = []
                with contextlib.suppress(OSError), os.scandir(path) as found:  # its reader tells
                    folders = sorted(entry.path for entry in found if entry.is_dir())
                for folder in map(Path, folders):
                    yield folder
                    yield from sorted(folder.glob("*.txt"))


def origin_of(
    config: DataConfig,
    *,
    seed: int,
    folder: Path,
    data_root: Path | None = None,
    fold: Fold | None = None,
) -> Origin:
    """Tell what decides the ids of a study; a file that must be downloaded is.

    Args:
        config: The ``[data]`` table.
        seed: Of the study.
        folder: Where relative paths begin: the folder of the study file.
        data_root: Where relative paths begin instead, if the data is there.
        fold: What judges; None for the study's validation set.

    Raises:
        DataError: The data is not there.
    """
    # Links are not followed: how a name ends says how the file is read.
    paths = tuple(path.absolute() for path in files_of(config, folder=folder, data_root=data_root))
    is_named = config.source in ("demo", "imdb")
    settings = {
        **config.model_dump(include={"text", "label", "group", "examples", "vocabulary"}),
        "validation": config.validation,
        "seed": seed,
        "fold": None if fold is None else str(fold),
        "source": config.source if is_named else "files",
        "paths": [str(path) for path in paths],
        "preparation": PREPARATION_VERSION,
        # What a person edits here, or another generator of random numbers, may give other ids.
        "code": _code(),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    return Origin(
        source=config.source if is_named else str(paths[0]),
        settings=json.dumps(settings, sort_keys=True),
        paths=paths,
    )


def _code() -> str:
    """Give a checksum of this package's sources."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
