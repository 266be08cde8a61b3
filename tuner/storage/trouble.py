"""What goes wrong with a database, told in our errors: is it away, or will it never do that?"""

import contextlib
from collections.abc import Iterator

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tuner.errors import InputError, StorageUnavailableError, TunerError
from tuner.storage.address import shown
from tuner.storage.roles import NOT_ALLOWED, OWNER, WORKER

#: What a server says whose certificate does not prove that it is the one that was asked for.
_DISTRUSTED = (
    "certificate verify failed",
    "server certificate for",
    "root certificate file",
    "server does not support SSL",
)
#: What a server says to somebody whom it will not let in later either. Before one is let in, there
#: are no error codes, only these words; a server that speaks another language is waited for.
_NOT_LET_IN = (
    "password authentication failed",
    "no password supplied",
    "pg_hba.conf",
    "does not exist",
    "permission denied for database",
    "is not permitted to log in",
)


@contextlib.contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn the libraries' errors about the database into ours.

    Raises:
        InputError: The database is there, and is not what this tuner expects, or does not let us.
        StorageUnavailableError: It is away, full, locked or read-only: later may be better.
    """
    try:
        yield
    except (IntegrityError, DataError):
        raise  # a bug: waiting would not mend it
    except ProgrammingError as error:
        raise InputError(f"{shown(url)}: {_misfit(error)}") from error
    except (DBAPIError, PoolTimeoutError, StorageInternalError) as error:
        raise _told(url, error) from error


def _misfit(error: ProgrammingError) -> str:
    why = _innermost(error)
    if getattr(error.orig, "sqlstate", None) == NOT_ALLOWED:
        return (
            f"{why}. This login of the database may not do that: running and submitting studies "
            f"needs one in the group {WORKER}, deleting them or changing tables one in {OWNER}."
        )
    if why.startswith("invalid connection option"):
        return f"{why}. Check what follows the '?' in the storage URL."
    return (
        f"the database is not as tuner made it: {why}. "
        f"Check that no table was dropped, or use another storage."
    )


def _told(url: str, error: Exception) -> TunerError:
    why = _innermost(error)
    if why == "file is not a database":
        # SQLite itself is asked: opening and closing its file beside it would drop its locks.
        return InputError(f"{shown(url)} is no SQLite database. Name another file.")
    if "connection" in why and any(words in why for words in _DISTRUSTED):
        return InputError(
            f"{shown(url)}: {why}. The server did not prove that it is the one in the URL: check "
            f"the host's name against its certificate, and sslrootcert against who signed that."
        )
    if "connection" in why and any(words in why for words in _NOT_LET_IN):
        return InputError(
            f"{shown(url)}: {why}. Check the user and the database in the URL, and the password: "
            f"?password_file=FILE in the URL, ~/.pgpass, PGPASSFILE or PGPASSWORD."
        )
    return StorageUnavailableError(
        f"{shown(url)}: the database does not do what it was asked: {why}. "
        f"Check that it runs, that it can be reached from here, and that its disk has room."
    )


def _innermost(error: BaseException) -> str:
    cause: BaseException = error
    while (inner := cause.__cause__) is not None:
        cause = inner
    lines = str(getattr(cause, "orig", None) or cause).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(cause).__name__
