"""Hashed secrets: where they come from, and whether one that was typed is among them."""

import logging
import re
import stat
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from werkzeug.security import check_password_hash, generate_password_hash

from tuner.dashboard.access import Role
from tuner.dashboard.answers import BusyError
from tuner.errors import InputError

#: Environment variables that hold one hash each.
ENVIRONMENT = {
    "TUNER_DASHBOARD_VIEWER": Role.VIEWER,
    "TUNER_DASHBOARD_OPERATOR": Role.OPERATOR,
}
#: Fewest characters of a secret that we hash.
MIN_LENGTH = 12
#: More are not even hashed.
MAX_LENGTH = 1024
#: A hash takes 32 MB and a twentieth of a second: strangers get so many at a time.
_AT_A_TIME = threading.BoundedSemaphore(2)

_HASH = re.compile(r"scrypt:\d{4,7}:\d{1,3}:\d{1,3}\$[!-#%-~]+\$[0-9a-f]{64,}")
_HOW = "Make one with `tuner dashboard --make-secret viewer` (or operator)."

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Credential:
    """One secret that lets somebody in."""

    #: As whom.
    role: Role
    #: What the secret hashes to, with the salt.
    hashed: str


def credential_line(role: Role, secret: str) -> str:
    """Write a line of a secrets file.

    Raises:
        InputError: The secret is too short, or too long.
    """
    if not MIN_LENGTH <= len(secret) <= MAX_LENGTH:
        raise InputError(
            f"A secret of {len(secret)} characters. Expected {MIN_LENGTH} to {MAX_LENGTH}: "
            f"several words in a row are easy to remember."
        )
    return f"{role.word}:{generate_password_hash(secret, method='scrypt')}"


def read_credentials(file: Path | None, environment: Mapping[str, str]) -> tuple[Credential, ...]:
    """Read all hashed secrets there are.

    Args:
        file: Lines such as ``viewer:scrypt:...``; empty ones and comments (``#``) do not count.
        environment: Where `ENVIRONMENT` is looked for.

    Raises:
        InputError: The file cannot be read or a line is none; the line itself is not shown.
    """
    found = [
        Credential(role=role, hashed=_checked(environment[name], name))
        for name, role in ENVIRONMENT.items()
        if environment.get(name)
    ]
    if file is None:
        return tuple(found)
    try:
        lines = file.read_text().splitlines()
        mode = file.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Secrets file {file}: cannot be read: {error}. {_HOW}") from error
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        # Not refused: they are hashes, and clusters mount such files for all to read.
        _log.warning("%s can be read by others than its owner: chmod 600 %s", file, file)
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        word, _, hashed = text.partition(":")
        roles = {role.word: role for role in Role}
        if word not in roles:
            raise InputError(
                f"{file}, line {number}: expected `viewer:scrypt:...` or `operator:scrypt:...`. "
                f"{_HOW}"
            )
        where = f"{file}, line {number}"
        found.append(Credential(role=roles[word], hashed=_checked(hashed, where)))
    if not found:
        raise InputError(f"Secrets file {file}: holds no secret. {_HOW}")
    return tuple(found)


def _checked(hashed: str, where: str) -> str:
    if not _HASH.fullmatch(hashed):
        raise InputError(
            f"{where}: expected a hashed secret, `scrypt:...$...$...`, never the secret itself "
            f"(in a shell, put it into single quotes). {_HOW}"
        )
    return hashed


def check_secret(credentials: Sequence[Credential], secret: str) -> Role | None:
    """Say as whom a secret lets in.

    Every hash is tried, whatever the others said: the time tells nothing.

    Returns:
        The role, the higher one where two have the same secret; None where it lets nobody in.

    Raises:
        BusyError: Others are being checked.
    """
    if not _AT_A_TIME.acquire(timeout=2.0):
        raise BusyError
    try:
        typed = secret[:MAX_LENGTH]
        matches = [c.role for c in credentials if check_password_hash(c.hashed, typed)]
    finally:
        _AT_A_TIME.release()
    return max(matches, default=None) if len(secret) <= MAX_LENGTH else None
