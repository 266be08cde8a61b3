"""Composes the dashboard and serves it until somebody ends it."""

import logging
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from waitress.server import create_server

from tuner.bucket import Bucket
from tuner.dashboard import app, pages
from tuner.dashboard.access import Role
from tuner.dashboard.address import Address, is_loopback
from tuner.dashboard.credentials import Credential
from tuner.dashboard.guard import Guard
from tuner.dashboard.sessions import OneTimeToken, Sessions
from tuner.dashboard.signing import Signing
from tuner.dashboard.source import NothingYetError, Source
from tuner.errors import InputError, StorageUnavailableError

#: Requests that are answered at a time; most of them wait for nothing.
N_THREADS = 8


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the dashboard is to be."""

    #: URL of the studies' storage.
    storage: str
    #: Interface that it listens on.
    host: str = "127.0.0.1"
    #: Port; 0 for any that is free.
    port: int = 8080
    #: Address that people type, where a proxy shows it as another one.
    public_url: str | None = None
    #: Secrets that let in; without any a link does.
    credentials: Sequence[Credential] = ()
    #: Whom the link lets in as.
    link_role: Role = Role.VIEWER
    #: Folder of the checkpoints.
    artifacts: Path | Bucket | None = None


def compose(
    settings: Settings, address: Address, say: Callable[[str], None]
) -> tuple[app.DashboardApp, Source]:
    """Put the parts together.

    Args:
        settings: What it is to be.
        address: Where it listens.
        say: Told the links that let somebody in.

    Returns:
        The WSGI application, and the database, to be closed at the end.

    Raises:
        InputError: The storage is none that can be shown.
    """
    sessions = Sessions()
    link = None
    if not settings.credentials:

        def announce(token: str) -> None:
            link = f"{address.public}{pages.SIGN_IN}?token={token}"
            say(f"One browser gets in, as {settings.link_role.word}, with: {link}")

        link = OneTimeToken(settings.link_role, announce)
    source = Source(settings.storage)
    try:
        source.open()
    except NothingYetError:
        say("There is no study yet; the dashboard waits for one.")
    except StorageUnavailableError as error:
        say(f"{error} The dashboard waits for it.")
    signing = Signing(
        address=address, sessions=sessions, credentials=settings.credentials, link=link
    )
    guard = Guard(address, sessions)
    made = app.DashboardApp(
        source=source, guard=guard, signing=signing, artifacts=settings.artifacts
    )
    return made, source


def serve(settings: Settings, say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM, which end the process as they do other commands.

    Args:
        settings: What it is to be.
        say: Told what a person should know.

    Raises:
        InputError: It cannot listen there, or nobody could be kept out.
    """
    if not settings.credentials and not _is_reached_from_here_alone(settings):
        raise InputError(
            f"--host {settings.host}: others could reach the dashboard, and it has no secrets to "
            f"ask them for. Make some with `tuner dashboard --make-secret viewer > secrets.txt` "
            f"and `tuner dashboard --make-secret operator >> secrets.txt`, and name the file with "
            f"--secrets or TUNER_DASHBOARD_SECRETS. Without --host only this machine reaches it; "
            f"in a container whose port only its machine reaches, say that with "
            f"--public-url http://127.0.0.1:{settings.port}."
        )
    with _listen(settings.host, settings.port) as listening:
        address = Address.of(settings.host, listening.getsockname()[1], settings.public_url)
        if not (is_loopback(settings.host) or address.is_secure or address.is_local):
            say("Secrets cross the network as they are: let a proxy with TLS stand before it.")
        made, source = compose(settings, address, say)
        say(f"The dashboard is at {address.public} (Ctrl-C ends it)")
        try:
            _run(made, listening, scheme="https" if address.is_secure else "http")
        finally:
            source.close()


def _is_reached_from_here_alone(settings: Settings) -> bool:
    if is_loopback(settings.host):
        return True
    return Address.of(settings.host, settings.port, settings.public_url).is_local


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise InputError(
            f"--host {host} --port {port}: nothing can listen there: {error}. "
            f"Expected an address of this machine and a free port; --port 0 finds one."
        ) from error


def _run(made: app.DashboardApp, listening: socket.socket, *, scheme: str) -> None:
    ended_by: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        ended_by.append(number)
        raise SystemExit  # which ends waitress's loop, without a word

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a short queue is no news
    server = create_server(
        made,
        sockets=[listening],
        threads=N_THREADS,
        url_scheme=scheme,
        ident="",
        max_request_body_size=app.MAX_REQUEST,
    )
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run()
    finally:
        server.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    if signal.SIGTERM in ended_by:
        sys.exit(128 + signal.SIGTERM)
    if ended_by:
        raise KeyboardInterrupt
