"""URLs where study files and options also take paths: what is one, and that it holds no secret."""

import re
from urllib.parse import parse_qsl, urlsplit

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
#: Names in a query whose values open something.
_SECRET = re.compile(r"token|key|secret|passw|pwd|signature|credential|auth|^sig$", re.IGNORECASE)


def is_url(place: str) -> bool:
    """Say whether this is a URL rather than a path.

    Example:
        >>> is_url("s3://bucket/reviews.csv"), is_url("reviews.csv")
        (True, False)
    """
    return _URL.match(place) is not None


def is_web(url: str) -> bool:
    """Say whether a URL is read over HTTP."""
    return urlsplit(url).scheme in {"http", "https"}


def secret_in(url: str) -> str | None:
    """Name the part of a URL that looks like a secret, without telling it; None without one."""
    parts = urlsplit(url)
    if parts.password is not None:
        return "a password"
    if is_web(url) and parts.username is not None:
        return "a user"
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    return next((f"a secret ({name}=...)" for name in names if _SECRET.search(name)), None)
