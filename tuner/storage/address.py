"""The URL of a database: what is allowed in it, how people see it, where its password is."""

import re
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Engine, event, make_url
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from tuner.errors import InputError

#: Parameter of a Postgres URL that names a file with the password in it.
PASSWORD_FILE = "password_file"  # noqa: S105 - a name, no password
#: Parameters of Postgres's own that hold a secret, which would be shown with the URL.
_SECRETS = ("password", "sslpassword")


def parse_url(url: str) -> sqlalchemy.URL:
    """Read a storage URL, spelling out the Postgres driver.

    Raises:
        InputError: It is no URL, or of a database that tuner does not know, or a password is
            where it would be shown.
    """
    try:
        parsed = make_url(url)
        if parsed.drivername in {"postgres", "postgresql"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError) as error:
        raise InputError(_url_message(url)) from error
    if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
        raise InputError(_url_message(url))
    if parsed.get_backend_name() == "sqlite":
        _check_sqlite(parsed, url)
    else:
        _check_password(parsed, url)
        # TensorFlow brings a TLS library of its own along, which reading IMDB through Keras loads.
        # Loaded before psycopg's, it makes the process abort at the first encrypted connection.
        parsed.get_dialect().import_dbapi()
    return parsed


def _check_sqlite(parsed: sqlalchemy.URL, url: str) -> None:
    if parsed.database in {None, "", ":memory:"}:
        raise InputError(
            f"storage: received {url!r}, a database in memory that no other process can see. "
            f"Expected a file: sqlite:///studies/tuner.db."
        )
    if PASSWORD_FILE in parsed.query:
        raise InputError(
            f"storage: received {shown(url)}. SQLite knows no passwords: leave {PASSWORD_FILE} out."
        )


def _check_password(parsed: sqlalchemy.URL, url: str) -> None:
    if "@" in (parsed.host or ""):
        raise InputError(
            f"storage: received {shown(url)}, with two '@'. Write an '@' inside a password as "
            f"%40, or put the password into a file and add ?{PASSWORD_FILE}=FILE to the URL."
        )
    for name in _SECRETS:
        if name in parsed.query:
            raise InputError(
                f"storage: {shown(url)} has the parameter {name!r}, which would be shown. Put the "
                f"password into a file and add ?{PASSWORD_FILE}=FILE to the URL, or use ~/.pgpass."
            )
    if PASSWORD_FILE in parsed.query:
        if parsed.password is not None:
            raise InputError(
                f"storage: {shown(url)} has a password and a {PASSWORD_FILE}. Leave one out."
            )
        if not isinstance(parsed.query[PASSWORD_FILE], str):
            raise InputError(f"storage: {shown(url)} names several files as {PASSWORD_FILE}.")


def _url_message(url: str) -> str:
    if "://" not in url and url.endswith((".db", ".sqlite", ".sqlite3")):
        return f"storage: expected a URL. Received {url!r}; did you mean sqlite:///{url}?"
    return (
        f"storage: expected sqlite:///FILE or postgresql://USER@HOST/DATABASE. "
        f"Received {shown(url)}."
    )


def shown(url: str) -> str:
    """Write a storage URL for people: without its password."""
    # What has an '@' in its password is read wrongly: only what follows the last one is safe.
    plain = re.sub(r"://([^:@/]*):.*@", r"://\1:***@", url)
    for name in _SECRETS:
        plain = re.sub(rf"([?&]{name})=[^&]*", r"\1=***", plain)
    try:
        told = make_url(plain).render_as_string(hide_password=True)
    except ArgumentError:
        return repr(plain.split("@")[-1])
    place, mark, parameters = told.partition("?")
    return place + mark + parameters.replace("%2F", "/")  # the paths in it as people write them


def read_password(file: str) -> str:
    """Read a password from a file, without the end of its line.

    Raises:
        InputError: There is none, or it cannot be read.
    """
    path = Path(file).expanduser()
    how = (
        f"{PASSWORD_FILE} of the storage URL names it: put the password into it, readable by this "
        f"user, or name another file."
    )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected a password as UTF-8 text. {how}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}. {how}") from error
    password = text.removesuffix("\n").removesuffix("\r")
    if not password:
        raise InputError(f"{path}: expected a password, the file is empty. {how}")
    return password


def _connect(
    dialect: Dialect, _record: object, arguments: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    """Connect with the password of the moment, where the URL names a file with it."""
    if PASSWORD_FILE not in named:
        return None  # SQLAlchemy connects by itself
    kept = {name: value for name, value in named.items() if name != PASSWORD_FILE}
    password = read_password(named[PASSWORD_FILE])
    return dialect.connect(*arguments, **kept, password=password)


# For every engine of this process, because Optuna and its migrations make some of their own from
# the URL. The password is read anew for each connection and kept nowhere.
event.listen(Engine, "do_connect", _connect)
