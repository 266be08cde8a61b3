"""Who is signed in, and the links that sign somebody in once."""

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tuner.dashboard.access import Role

#: Seconds after which somebody signs in again.
LIFETIME = 12 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Session:
    """Somebody who is signed in."""

    #: As whom.
    role: Role
    #: When that ends, by the clock of `Sessions`.
    ends: float


class Sessions:
    """Everybody who is signed in; a restart signs all out.

    Args:
        clock: Seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # By hash, so that the time of a look-up tells nothing about a token.
        self._sessions: dict[bytes, Session] = {}
        self._lock = threading.Lock()

    def open(self, role: Role) -> str:
        """Sign somebody in.

        Returns:
            What proves it from now on.
        """
        token = secrets.token_urlsafe(32)
        now = self._clock()
        with self._lock:
            alive = {key: s for key, s in self._sessions.items() if s.ends > now}
            self._sessions = {**alive, _key(token): Session(role=role, ends=now + LIFETIME)}
        return token

    def find(self, token: str) -> Session | None:
        """Look somebody up; None where nobody is signed in with that."""
        with self._lock:
            found = self._sessions.get(_key(token))
        return found if found is not None and found.ends > self._clock() else None

    def close(self, token: str) -> None:
        """Sign somebody out."""
        with self._lock:
            self._sessions.pop(_key(token), None)


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class OneTimeToken:
    """A token that lets in once; then there is another one.

    Args:
        role: As whom it lets in.
        announce: Told every new token: whoever reads that may come in.
    """

    def __init__(self, role: Role, announce: Callable[[str], None]) -> None:
        self._role = role
        self._announce = announce
        self._lock = threading.Lock()
        self._renew()

    def use(self, offered: str) -> Role | None:
        """Let somebody in, once.

        Returns:
            As whom; None where it is not the token, or not any more.
        """
        with self._lock:
            if not hmac.compare_digest(offered.encode(), self._token.encode()):
                return None
            self._renew()
        return self._role

    def _renew(self) -> None:
        self._token = secrets.token_urlsafe(32)
        self._announce(self._token)
