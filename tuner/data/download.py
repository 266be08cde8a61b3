"""Files that a study names by URL: fetched once a machine, and again when they change there."""

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tuner.config import StudyConfig
from tuner.data.imdb import WORDS_FILE
from tuner.data.opened import AwayError, NotThereError, OpenedFile, open_url
from tuner.data.rows import SUFFIXES
from tuner.errors import DataAwayError, DataError
from tuner.host import cache_folder
from tuner.urls import is_url

#: Times that a server is asked which does not answer, or breaks off.
N_TRIES = 3
#: Seconds between.
PAUSE = 0.5
#: Seconds that an older version of a file is kept: a trainer may be about to read it.
MAX_AGE = 24 * 3600.0

_log = logging.getLogger(__name__)


def localized(config: StudyConfig, check: Callable[[], None] = lambda: None) -> StudyConfig:
    """Fetch the data that a study names by URL; the test set stays where it is.

    A trainer has no credentials, so its worker fetches for it.

    Args:
        config: The study.
        check: Called now and then; may raise.

    Returns:
        The same study with paths instead of URLs.

    Raises:
        DataError: It cannot be fetched.
    """
    data, paths = config.data, {}
    if is_url(data.source):
        paths["source"] = str(fetch(data.source, "data.source", check))
    if data.path is not None and is_url(data.path):
        paths["path"] = str(fetch(data.path, "data.path", check))
    if not paths:
        return config
    return config.model_copy(update={"data": data.model_copy(update=paths)})


def fetch(url: str, key: str, check: Callable[[], None] = lambda: None) -> Path:
    """Give a file that lies behind a URL, from this machine's cache where it has not changed.

    Processes of this machine wait for each other, so that one downloads it. When the server does
    not answer, an older copy is used; the study's fingerprint decides whether it is the right one.

    Args:
        url: ``https://...``, or what fsspec reads, such as ``s3://...``.
        key: Which key of the study file names it; for ``data.path`` the words come along.
        check: Called now and then; may raise.

    Returns:
        A file in the cache, whose name ends as the URL's path does.

    Raises:
        DataAwayError: Its server does not answer, and there is no copy.
        DataError: It cannot be fetched; the message says why.
    """
    url, _, _ = url.partition("#")
    path = _fetch(url, key, (".npz",) if key == "data.path" else SUFFIXES, check)
    if key == "data.path":
        _fetch_words(url, path, check)
    return path


def _fetch_words(url: str, reviews: Path, check: Callable[[], None]) -> None:
    """Put the words beside the reviews; where there are none, what reads these tells.

    That there are none is remembered: a server that is away later is no reason to wait for them.
    """
    beside, none_there = reviews.with_name(WORDS_FILE), reviews.with_name("without-words")
    try:
        words = _fetch(_beside(url, WORDS_FILE), "data.path", (".json",), check)
    except NotThereError:
        with contextlib.suppress(OSError):
            none_there.touch()
        return
    except DataError:
        if none_there.exists():
            return
        raise
    unfinished = beside.with_suffix(f".{os.getpid()}")
    try:
        shutil.copyfile(words, unfinished)
        unfinished.replace(beside)
    except OSError as error:
        raise DataError(
            f"data.path = {url!r}: no copy of its words can be kept in {reviews.parent}: "
            f"{error.strerror}. Make room, or let TUNER_CACHE name another folder."
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


def _beside(url: str, name: str) -> str:
    # Not urljoin, which knows no s3:// and the like.
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path.rpartition('/')[0]}/{name}", query="").geturl()


def _fetch(url: str, key: str, suffixes: tuple[str, ...], check: Callable[[], None]) -> Path:
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    if not name.lower().endswith(suffixes) or Path(name).name != name:
        raise DataError(
            f"{key} = {url!r}: expected the address of one file, whose name ends in one of "
            f"{', '.join(suffixes)}. Received the name {name!r}."
        )
    folder = cache_folder() / "data" / hashlib.sha256(url.encode()).hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone_in(folder, check):
            return _fetch_or_keep(url, key, folder, name, check)
    except OSError as error:
        raise DataError(
            f"{key} = {url!r}: no copy can be kept in {folder}: {error.strerror}. Make room, or "
            f"let TUNER_CACHE name another folder."
        ) from error


def _fetch_or_keep(url: str, key: str, folder: Path, name: str, check: Callable[[], None]) -> Path:
    trouble: AwayError | None = None
    for n_tries in range(1, N_TRIES + 1):
        try:
            return _fetch_once(url, key, folder, name, check)
        except AwayError as error:
            trouble = error
        if n_tries < N_TRIES:
            check()
            time.sleep(PAUSE * n_tries)
    copies = sorted(_copies(folder, name), key=lambda path: path.stat().st_mtime)
    if not copies:
        raise DataAwayError(
            f"{key} = {url!r}: cannot be downloaded: {trouble}. Check the address and the "
            f"network, or download it by hand and name the file."
        ) from trouble
    _log.warning("%s = %r: %s. The copy here is used: %s", key, url, trouble, copies[-1])
    return copies[-1]


def _fetch_once(url: str, key: str, folder: Path, name: str, check: Callable[[], None]) -> Path:
    with contextlib.closing(open_url(url, key)) as file:
        version = file.version and _short(f"{file.version} {file.size}")
        if version and (known := folder / version / name).exists():
            os.utime(known)  # what is used is kept
            return known
        of_size = "" if file.size is None else f" ({file.size / 2**20:.1f} MB)"
        _log.info("%s: downloading %s%s", key, url, of_size)
        unfinished = folder / f"unfinished-{os.getpid()}"
        try:
            checksum = _write(file, unfinished, url, key, check)
            target = folder / (version or _short(checksum)) / name
            target.parent.mkdir(exist_ok=True)
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
    for other in _copies(folder, name):
        if other != target and time.time() - other.stat().st_mtime > MAX_AGE:
            shutil.rmtree(other.parent, ignore_errors=True)
    return target


def _write(file: OpenedFile, target: Path, url: str, key: str, check: Callable[[], None]) -> str:
    """Write a file that is being read; give its checksum."""
    digest, n_bytes = hashlib.sha256(), 0
    with target.open("wb") as writing:
        for chunk in file.chunks():
            check()
            if n_bytes == 0 and chunk.lstrip(b"\xef\xbb\xbf \r\n\t")[:14].lower().startswith(
                (b"<!doctype html", b"<html")
            ):
                raise DataError(
                    f"{key} = {url!r}: the server answers with a web page. Expected the file "
                    f"itself; some sites show a page at the address and have another one for "
                    f"downloading, or want a sign-in."
                )
            writing.write(chunk)
            digest.update(chunk)
            n_bytes += len(chunk)
    if file.size is not None and n_bytes != file.size:
        raise AwayError(f"it ended after {n_bytes} of {file.size} bytes")
    return digest.hexdigest()


@contextlib.contextmanager
def _alone_in(folder: Path, check: Callable[[], None]) -> Iterator[None]:
    """Wait for other processes that download the same; remove what killed ones left."""
    with (folder / "lock").open("wb") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                check()
                time.sleep(0.1)
            except OSError:  # a network file system without locks: two may download it
                break
            else:
                for left in folder.glob("unfinished-*"):
                    left.unlink(missing_ok=True)
                break
        yield


def _copies(folder: Path, name: str) -> list[Path]:
    return [path for path in folder.glob("*/*") if path.name == name]


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
