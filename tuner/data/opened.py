"""A file behind a URL, open to be read: on a web server, or in an object store."""

import contextlib
import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Protocol
from urllib.parse import urlsplit

from tuner.bucket import RemoteFile
from tuner.errors import DataError, InputError, StorageUnavailableError
from tuner.urls import is_web

#: Seconds without a byte after which a server counts as silent.
TIMEOUT = 30.0
#: Bytes that are read at a time.
CHUNK = 2**18
#: Answers that may be others in a moment.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class AwayError(Exception):
    """The server does not answer, or broke off."""


class NotThereError(DataError):
    """The server has no such file."""


class OpenedFile(Protocol):
    """What is known of a file, and its content."""

    #: Another one whenever the file has changed; empty where the server does not tell.
    version: str
    #: Bytes; None where the server does not tell.
    size: int | None

    def chunks(self) -> Iterator[bytes]:
        """Read it, from the start."""

    def close(self) -> None:
        """Hang up."""


def open_url(url: str, key: str) -> OpenedFile:
    """Open a file.

    Args:
        url: ``https://...``, or what fsspec reads, such as ``s3://...``.
        key: Which key of the study file names it, for messages.

    Raises:
        AwayError: The server does not answer, or is busy.
        NotThereError: It has no such file, or shows it to nobody.
        DataError: It cannot be read for another reason.
    """
    return _WebFile(url, key) if is_web(url) else _StoreFile(url, key)


class _StoreFile:
    """A file in an object store, to be read with this process's credentials."""

    def __init__(self, url: str, key: str) -> None:
        self._key = key
        with self._translated():
            self._file = RemoteFile(url)
        self.version, self.size = self._file.version, self._file.size

    def chunks(self) -> Iterator[bytes]:
        """Read it, from the start."""
        with self._translated():
            yield from self._file.chunks()

    def close(self) -> None:
        """Leave it; each reading closes what it opened."""

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except StorageUnavailableError as error:
            raise AwayError(str(error)) from error
        except InputError as error:
            # A store tells only those who may list it that something is not there.
            is_missing = isinstance(error.__cause__, FileNotFoundError | PermissionError)
            kind = NotThereError if is_missing else DataError
            raise kind(f"{self._key}: {error}") from error


class _WebFile:
    """A file on a web server, to be read without credentials."""

    def __init__(self, url: str, key: str) -> None:
        request = urllib.request.Request(url, headers={"User-Agent": "tuner"})  # noqa: S310 - http(s)
        try:
            self._response = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310 - http(s)
        except urllib.error.HTTPError as error:
            error.close()
            said = f"the server answers {error.code} ({error.reason})"
            if error.code in _PASSING:
                raise AwayError(said) from error
            kind = NotThereError if error.code in {403, 404, 410} else DataError
            raise kind(
                f"{key} = {url!r}: {said}. Check the address; tuner signs in nowhere. Download it "
                f"by hand and name the file, where that is needed."
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise DataError(
                    f"{key} = {url!r}: the server's certificate is not trusted: {reason}."
                ) from error
            raise AwayError(str(reason)) from error
        end = urlsplit(self._response.url)
        if urlsplit(url).scheme == "https" and end.scheme != "https":
            self.close()
            raise DataError(
                f"{key} = {url!r}: the server leads on to {end.scheme}://{end.hostname}, where "
                f"anybody on the way can change the data. Name an address that stays with https."
            )
        headers = self._response.headers
        known = [headers.get("ETag", ""), headers.get("Last-Modified", "")]
        #: Another one whenever the file has changed; empty where the server does not tell.
        self.version = " ".join(known).strip()
        #: Bytes; None where the server does not tell.
        self.size = self._response.length

    def chunks(self) -> Iterator[bytes]:
        """Read it, from the start."""
        try:
            while chunk := self._response.read(CHUNK):
                yield chunk
        except (OSError, http.client.HTTPException) as error:
            raise AwayError(f"it broke off: {error}") from error

    def close(self) -> None:
        """Hang up."""
        self._response.close()
