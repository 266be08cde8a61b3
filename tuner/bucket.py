"""Folders and files in object stores (S3, Google Cloud Storage, Azure, ...), through fsspec."""

import contextlib
import re
import secrets
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tuner.errors import InputError, StorageUnavailableError
from tuner.urls import secret_in

#: Bytes that are asked for at a time, and that are handed on.
BLOCK, CHUNK = 8 * 2**20, 2**20
#: What fsspec also calls file systems, and no other machine can see.
_LOCAL = frozenset({"file", "local", "memory"})
#: Each store's library has its own class for missing or refused credentials; none is imported.
_CREDENTIALS = re.compile(r"credential|auth|paramvalidation", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A folder in an object store.

    Credentials are no part of it: each store's library finds them in the environment
    (``AWS_...``, ``GOOGLE_APPLICATION_CREDENTIALS``, ...) or in its files.

    Raises:
        InputError: The URL holds a secret, or names this machine's own files.
    """

    #: Such as ``s3://bucket/prefix``.
    url: str

    def __post_init__(self) -> None:
        _check(self.url)

    def __str__(self) -> str:
        return self.url


class BucketFiles:
    """The files in a bucket's folder.

    Args:
        bucket: Which.

    Raises:
        InputError: Nothing that is installed can talk to such a store.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._url = bucket.url.rstrip("/")
        self._system, root = _connect(self._url)
        self._root = root.rstrip("/")

    def __str__(self) -> str:
        return self._url

    def check(self) -> None:
        """Write, list and remove a small file, before anybody relies on that.

        Raises:
            InputError: The store refuses it; trying again does not help.
            StorageUnavailableError: It does not answer.
        """
        folder = f"probe-{secrets.token_hex(8)}"
        name = f"{folder}/file"
        with _translated(self._url, "written"):
            self._system.pipe_file(self._path(name), b"tuner looks whether it may write here")
        if "file" not in self.list(folder):
            raise InputError(
                f"{self._url}: a file that was written is not there. Expected an object store."
            )
        self.remove([name])

    def list(self, folder: str) -> dict[str, int]:
        """Find the files below a folder.

        Args:
            folder: Relative to the bucket's; need not be there.

        Returns:
            Name, relative to that folder, to size in bytes.
        """
        path = self._path(folder)
        with _translated(self._url, "listed"):
            self._system.invalidate_cache()
            found = self._system.find(path, detail=True)
        return {
            name.removeprefix(f"{path}/"): int(facts.get("size") or 0)
            for name, facts in found.items()
            if name.startswith(f"{path}/")
        }

    def put(self, source: Path, name: str) -> None:
        """Copy a file of this machine into the bucket, whole or not at all."""
        with _translated(self._url, "written"):
            self._system.put_file(str(source), self._path(name))

    def get(self, name: str, target: Path) -> None:
        """Copy a file from the bucket to this machine."""
        with _translated(self._url, "read"):
            self._system.get_file(self._path(name), str(target))

    def remove(self, names: Collection[str]) -> None:
        """Remove files; those that are gone already do not matter."""
        if not names:
            return
        with _translated(self._url, "removed"), contextlib.suppress(FileNotFoundError):
            self._system.rm([self._path(name) for name in names])

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root


class RemoteFile:
    """One file in an object store, to be read.

    Args:
        url: Such as ``s3://bucket/reviews.csv.gz``.

    Raises:
        InputError: It is not there, may not be read, or nothing installed can read it.
        StorageUnavailableError: The store does not answer.
    """

    def __init__(self, url: str) -> None:
        _check(url)
        self._url = url
        self._system, self._path = _connect(url)
        with _translated(url, "read"):
            self._system.invalidate_cache()
            #: Another one whenever the file has changed.
            self.version = str(self._system.ukey(self._path))
            #: Bytes; None where the store does not tell.
            self.size: int | None = self._system.size(self._path)

    def chunks(self) -> Iterator[bytes]:
        """Read it, from the start."""
        with _translated(self._url, "read"):
            file = self._system.open(self._path, "rb", block_size=BLOCK)
        with file:
            while True:
                with _translated(self._url, "read"):
                    chunk: bytes = file.read(CHUNK)
                if not chunk:
                    return
                yield chunk


def _check(url: str) -> None:
    scheme = urlsplit(url).scheme
    if secret := secret_in(url):
        raise InputError(
            f"{scheme}://...: the URL holds {secret}, where others can see it. Leave it out: the "
            f"store's library reads credentials from the environment (AWS_ACCESS_KEY_ID, "
            f"GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_...) or from its own files."
        )
    if scheme in _LOCAL:
        raise InputError(
            f"{url}: expected an object store, such as s3://bucket/folder. For files of this "
            f"machine give a plain path."
        )


def _connect(url: str) -> tuple[Any, str]:
    """Give fsspec's file system for a URL, and the path in it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise InputError(
            f"{url}: object stores need packages that are not installed. "
            f"Run in tuner's folder: pip install '.[remote]'"
        ) from error
    with _translated(url, "opened"):
        system, path = url_to_fs(url, use_listings_cache=False)
    return system, str(path)


@contextlib.contextmanager
def _translated(url: str, done: str) -> Iterator[None]:
    """Turn whatever a store's library raises into our errors."""
    try:
        yield
    except ImportError as error:
        raise InputError(
            f"{url}: {error}. The extra `remote` brings S3 along; other stores need their package."
        ) from error
    except Exception as error:  # each library raises classes of its own
        kind = type(error).__name__
        missing = "not found: " if isinstance(error, FileNotFoundError) else ""
        message = f"{url} cannot be {done}: {missing}{(str(error) or kind).rstrip('.')}."
        if isinstance(
            error, ValueError | PermissionError | FileNotFoundError | NotImplementedError
        ) or _CREDENTIALS.search(kind):
            raise InputError(
                f"{message} Expected a bucket or container that is there, and credentials that "
                f"may do that, where the store's library looks for them."
            ) from error
        raise StorageUnavailableError(
            f"{message} Check the network and the store's address."
        ) from error
