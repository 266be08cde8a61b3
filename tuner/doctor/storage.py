"""The database: does it answer, how fast, as whom, how safely, and is it ours?"""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from tuner.doctor.finding import Finding, fail, ok, unchecked, warn
from tuner.doctor.folders import FULL, TIGHT, folder_finding
from tuner.doctor.mounts import Mount, mount_of, mounts
from tuner.storage import Database, parse_url, shown
from tuner.storage.inspection import Inspection, Rights, Server, inspect_database, journal_mode

#: Seconds from question to answer above which workers with short trials wait for the database.
SLOW = 0.05
#: Seconds between two clocks that a person should know of.
CLOCK_SECONDS = 2.0
#: Share of a server's connections from which on there is little room for more workers.
CROWDED = 0.8


class StorageVisit:
    """The database that was chosen, and what is found of it; opened once for all checks.

    Args:
        url: Of the storage.
        environment: Where the URL may come from.
    """

    def __init__(self, url: str, environment: Mapping[str, str]) -> None:
        self._url = url
        self._environment = environment
        #: The database, once it was found to be ours.
        self.database: Database | None = None
        #: Why there is none, for people.
        self.why_none = "the storage could not be looked at"

    def check(self) -> Iterator[Finding]:
        """Look at the database and open it.

        Raises:
            InputError: The URL is none, or the database does not let us in.
            StorageUnavailableError: It does not answer.
        """
        yield from _check_password(self._environment)
        parsed = parse_url(self._url)
        if parsed.get_backend_name() == "sqlite":
            yield from self._check_file(Path(parsed.database or "").absolute())
        else:
            yield from self._check_server()

    def close(self) -> None:
        """Give the connections back."""
        if self.database is not None:
            self.database.close()

    def _check_file(self, path: Path) -> Iterator[Finding]:
        yield check_file_system(path.resolve(), mounts())
        if not path.is_file():
            self.why_none = "there is no database yet"
            yield ok("storage", f"no database yet at {path}; `tuner run FILE` makes it")
            yield folder_finding("storage folder", path.parent, "or use another --storage")
            return
        inspection = inspect_database(self._url)
        yield _answer(self._url, inspection)
        yield from self._check_tables(inspection)
        yield check_file(path)
        if self.database is not None:
            yield _check_journal(journal_mode(self.database))

    def _check_server(self) -> Iterator[Finding]:
        inspection = inspect_database(self._url)
        yield _answer(self._url, inspection)
        yield from self._check_tables(inspection)
        if (server := inspection.server) is not None:
            yield check_rights(server.rights)
            yield check_encryption(server)
            yield check_connections(server)
        yield check_clock(inspection.clock_ahead)

    def _check_tables(self, inspection: Inspection) -> Iterator[Finding]:
        if inspection.misfit:
            self.why_none = "its tables are of another version"
            yield Finding(name="tables", status="fail", text=inspection.misfit)
        elif inspection.schema is None:
            self.why_none = "there are no studies yet"
            if inspection.server is None or not inspection.server.rights.has_tables:
                yield ok("tables", "none yet; `tuner create FILE` makes them")
        else:
            self.database = Database.open(self._url)
            yield ok(
                "tables",
                f"version {inspection.schema} of tuner's, {inspection.optuna} of Optuna's",
            )


def _check_password(environment: Mapping[str, str]) -> Iterator[Finding]:
    url = environment.get("TUNER_STORAGE")
    if url and parse_url(url).password is not None:
        yield warn(
            "password",
            "TUNER_STORAGE holds one, which whoever may look at this user's processes can read.",
            "Put it into a file and add ?password_file=FILE to the URL, or use ~/.pgpass.",
        )


def _answer(url: str, inspection: Inspection) -> Finding:
    server, trip = inspection.server, inspection.round_trip
    kind = f", Postgres {server.version}" if server else ""
    text = f"{shown(url)}{kind}, answers in {1000 * trip:.1f} ms"
    if trip > SLOW:
        mend = "Bring workers and database closer together; trials of minutes do not suffer."
        return warn("storage", f"{text}, which is slow.", mend)
    return ok("storage", text)


# --- SQLite --------------------------------------------------------------------------------------


def check_file_system(path: Path, mounted: list[Mount]) -> Finding:
    """See whether SQLite is safe where its file is, or will be.

    Args:
        path: Of the file, without symbolic links.
        mounted: As `tuner.doctor.mounts.mounts` gives them.
    """
    mount = mount_of(path, mounted)
    if mount is None:
        return unchecked("file system", "this system does not say on which one the database is")
    if mount.is_network:
        return fail(
            "file system",
            f"{path} is on {mount.kind} ({mount.point}), a network file system: SQLite is not "
            f"safe there, its locks do not hold between machines.",
            "Use a disk of this machine, or Postgres: `tuner copy STUDY --to postgresql://...` "
            "takes a study along.",
        )
    return ok("file system", f"{mount.kind} ({mount.point}), of this machine")


def check_file(path: Path) -> Finding:
    """See whether a SQLite file can be written, with its helpers beside it."""
    for place, what in ((path, "the file"), (path.parent, "its folder")):
        if not os.access(place, os.W_OK):
            return warn(
                "storage file",
                f"{place}: this user (number {os.geteuid()}) may read, but not write {what}.",
                "Enough to look on while a worker runs. For workers, give the right to write.",
            )
    free = shutil.disk_usage(path).free
    text = f"{path.stat().st_size / 1e6:.1f} MB, {free / 1e9:.1f} GB free"
    if free < FULL:
        return fail("storage file", f"{text}.", "Make room: trials cannot be stored otherwise.")
    if free < TIGHT:
        return warn("storage file", f"{text}.", "Make room before it is needed.")
    return ok("storage file", f"{text}, writable")


def _check_journal(mode: str) -> Finding:
    if mode == "wal":
        return ok("journal", "WAL: readers do not block workers")
    return warn(
        "journal",
        f"{mode}, because WAL could not be had: readers and workers block each other.",
        "Move the database to a disk of this machine with an ordinary file system.",
    )


# --- Postgres ------------------------------------------------------------------------------------


def check_rights(rights: Rights) -> Finding:
    """Say what the connected role can be used for."""
    user = f"{rights.user!r}"
    if not rights.has_tables:
        if rights.may_create:
            return ok("role", f"{user} may create the tables")
        return fail(
            "role",
            f"there are no tables, and {user} may not create them.",
            "Run `tuner create FILE` once with a login in tuner_owner.",
        )
    if rights.may_write:
        also = ", delete studies too" if rights.may_delete else ""
        return ok("role", f"{user} may run and submit studies{also}")
    if rights.may_read:
        return warn(
            "role",
            f"{user} may only read: enough for status, best, trials and the dashboard.",
            "For workers use a login in tuner_worker.",
        )
    return fail(
        "role",
        f"{user} may not read the studies.",
        "Make it a member: GRANT tuner_reader (or tuner_worker) TO the login.",
    )


def check_encryption(server: Server) -> Finding:
    """See whether others on the network could read or forge what the database says."""
    how = "encrypted" if server.is_encrypted else "not encrypted"
    text = f"the connection to {server.host} is {how} (sslmode={server.ssl_mode})"
    if _is_here(server.host):
        return ok("TLS", f"{text}; it does not leave this machine")
    if server.is_encrypted and server.ssl_mode == "verify-full":
        return ok("TLS", text)
    doubt = "" if not server.is_encrypted else ", but nothing proves that it is the right server"
    return warn(
        "TLS",
        f"{text}{doubt}.",
        "Unless the network between is all yours, add ?sslmode=verify-full&sslrootcert=FILE to "
        "the URL.",
    )


def _is_here(host: str) -> bool:
    """Say whether a host is this machine: the folder of a socket, or a loopback address."""
    return host.startswith(("/", "@", "127.")) or host in {"", "localhost", "::1"}


def check_connections(server: Server) -> Finding:
    """See whether there is room for more workers."""
    used, most = server.n_connections, server.max_connections
    text = f"{used} of {most} in use; a worker takes one, for moments two"
    if used >= CROWDED * most:
        return warn("connections", f"{text}.", "Raise max_connections of the server.")
    return ok("connections", text)


def check_clock(ahead: float) -> Finding:
    """Compare the database's clock with this machine's.

    Args:
        ahead: Seconds by which the database's is ahead.
    """
    if abs(ahead) <= CLOCK_SECONDS:
        return ok("clock", f"{abs(ahead):.2f} s apart from the database's")
    direction = "behind" if ahead > 0 else "ahead of"
    return warn(
        "clock",
        f"this machine's is {abs(ahead):.1f} s {direction} the database's. Leases hold all the "
        f"same, they go by the database's; begin and end of trials that run here are wrong.",
        "Let both machines set their clocks by NTP (`timedatectl set-ntp true`).",
    )
