"""Where it all happens: the database, the folders, and the disk under them."""

import contextlib
import errno
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.acceptance.chaos.plan import Plan
from tests.postgres import Server, own_server

#: Megabytes of the disk that is filled now and then.
DISK_MEGABYTES = 64


@dataclass(kw_only=True)
class Stage:
    """Where it all happens."""

    #: For everything that the kit writes.
    folder: Path
    #: URL of the database.
    url: str
    #: Where workers keep their checkpoints.
    artifacts: Path
    #: The server, where it is one.
    server: Server | None
    #: A small disk with the artifacts, and with the SQLite file; None where there is none.
    disk: Path | None
    #: What could not be done here, for the certificate.
    skipped: list[str]
    #: Whether the database answers.
    is_up: bool = True
    #: When the database came back last; seconds of the monotonic clock.
    up_since: float = field(default_factory=time.monotonic)

    def stop_server(self) -> None:
        """Crash the server."""
        if self.server is not None:
            self.is_up = False
            self.server.stop()

    def start_server(self) -> None:
        """Let the server recover."""
        if self.server is not None and not self.is_up:
            self.server.start()
            self.is_up = True
            self.up_since = time.monotonic()

    def fill_disk(self) -> None:
        """Take all room that is left."""
        if self.disk is None:
            return
        with (self.disk / "filler").open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(_Full), _full_is_expected():
                    while True:
                        file.write(bytes(size))

    def empty_disk(self) -> None:
        """Give the room back."""
        if self.disk is not None:
            (self.disk / "filler").unlink(missing_ok=True)
            self.up_since = time.monotonic()


class NoPostgresError(Exception):
    """There are no binaries of Postgres that can be run."""


class _Full(Exception):  # noqa: N818 - no error but the aim
    """The disk is full."""


@contextlib.contextmanager
def _full_is_expected() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _Full from error


@contextlib.contextmanager
def set_up(plan: Plan) -> Iterator[Stage]:
    """Prepare databases and folders, and clear them away.

    Raises:
        NoPostgresError: There are no binaries that can be run.
    """
    with contextlib.ExitStack() as stack:
        folder = plan.folder or Path(stack.enter_context(TemporaryDirectory(prefix="tuner-chaos-")))
        folder.mkdir(parents=True, exist_ok=True)
        skipped: list[str] = []
        disk = stack.enter_context(_small_disk(folder, skipped)) if plan.fill_disk else None
        roomy = disk or folder
        for name in ("ready", "mark"):
            (folder / name).mkdir()
        (roomy / "artifacts").mkdir()
        server = stack.enter_context(_postgres()) if plan.storage == "postgres" else None
        if server is None and plan.restarts:
            skipped.append("restarts: SQLite has no server")
        yield Stage(
            folder=folder,
            url=server.url if server else f"sqlite:///{roomy / 'studies.db'}",
            artifacts=roomy / "artifacts",
            server=server,
            disk=disk,
            skipped=skipped,
        )


@contextlib.contextmanager
def _postgres() -> Iterator[Server]:
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(own_server())
        except LookupError as error:
            raise NoPostgresError(str(error)) from error
        yield server


@contextlib.contextmanager
def _small_disk(folder: Path, skipped: list[str]) -> Iterator[Path | None]:
    path = folder / "disk"
    path.mkdir()
    size = f"size={DISK_MEGABYTES}m"
    command = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else error
        skipped.append(f"full disks: no tmpfs can be mounted here: {why}")
        yield None
        return
    try:
        yield path
    finally:
        os.sync()
        # Lazily: a process that is about to end may still stand in it.
        subprocess.run(["umount", "--lazy", str(path)], check=True, capture_output=True)
