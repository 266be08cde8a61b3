"""Over a network, a server proves who it is before it hears a password.

Whoever connects here does so in a process of its own, as workers and commands are: where other
tests have loaded TensorFlow before psycopg, the process aborts at the first encrypted connection.
"""

import importlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import pytest
from click.testing import CliRunner
from sqlalchemy import make_url, text

from tests import postgres
from tests.objectives import TOY_STUDY
from tests.postgres import Administrator
from tests.workers import make_worker
from tuner.cli import main
from tuner.errors import InputError
from tuner.results import progress
from tuner.storage import Database, find_study, parse_url
from tuner.storage.roles import OWNER

Answer = TypeVar("Answer")


def apart(function: Callable[..., Answer], *arguments: object) -> Answer:
    """Call a function in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def call(url: str, *words: str) -> tuple[int, str]:
    """Run a command; give its exit code and what it said."""
    done = CliRunner().invoke(main, words, env={"TUNER_STORAGE": url})
    return done.exit_code, done.output


@dataclass(frozen=True, kw_only=True)
class Secured:
    """A server that lets logins in over TLS only."""

    #: Who may do everything, over the socket.
    administrator: Administrator
    #: Where it listens, on this machine alone.
    port: int
    #: Who has signed its certificate, for ``localhost`` only.
    authority: Path
    #: Somebody else who signs certificates.
    stranger: Path
    #: A file with the password of ``maker``.
    password: Path

    def url(self, host: str = "localhost", **more: str) -> str:
        """Name it, asking for a proof unless told otherwise."""
        asked = {
            "password_file": str(self.password),
            "sslmode": "verify-full",
            "sslrootcert": str(self.authority),
        }
        url = make_url(f"postgresql://maker@{host}:{self.port}/made")
        return url.update_query_dict(asked | more).render_as_string(hide_password=False)


def openssl(folder: Path, *words: str) -> None:
    if shutil.which("openssl") is None:
        raise LookupError("no openssl here")
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=60)


def authority(folder: Path, name: str) -> Path:
    """Make somebody who signs certificates."""
    openssl(
        folder,
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
        *("-keyout", f"{name}.key", "-out", f"{name}.crt"),
    )
    return folder / f"{name}.crt"


def certificate(folder: Path, signer: str, host: str) -> tuple[bytes, bytes]:
    """Make a key and a certificate for a host."""
    openssl(
        folder,
        *("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={host}"),
        *("-keyout", "server.key", "-out", "server.csr"),
    )
    (folder / "names").write_text(f"subjectAltName=DNS:{host}\n")
    openssl(
        folder,
        *("x509", "-req", "-in", "server.csr", "-out", "server.crt", "-days", "2"),
        *("-CA", f"{signer}.crt", "-CAkey", f"{signer}.key", "-set_serial", "1"),
        *("-extfile", "names"),
    )
    return (folder / "server.key").read_bytes(), (folder / "server.crt").read_bytes()


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    port = free_port()

    def prepare(server: postgres.Server) -> None:
        key, signed = certificate(folder, "authority", "localhost")
        server.configure(
            "listen_addresses = 'localhost'",
            f"port = {port}",
            "ssl = on",
            f"ssl_key_file = '{server.put('server.key', key)}'",
            f"ssl_cert_file = '{server.put('server.crt', signed)}'",
        )
        server.let_in("hostssl all all localhost scram-sha-256")

    try:
        ours, theirs = authority(folder, "authority"), authority(folder, "stranger")
        with postgres.own_server(prepare=prepare) as running:
            administrator = Administrator(f"{running.url}&port={port}")
            administrator.run("CREATE DATABASE made")
            Database.open(administrator.seen_by("tuner", "made"), create=True).close()
            administrator.run(f"CREATE ROLE maker LOGIN PASSWORD 'hidden' IN ROLE {OWNER}")
            (folder / "password").write_text("hidden\n")
            yield Secured(
                administrator=administrator,
                port=port,
                authority=ours,
                stranger=theirs,
                password=folder / "password",
            )
    except LookupError as error:
        if os.environ.get("CI"):
            pytest.fail(f"{error}: CI must test TLS")
        pytest.skip(f"{error}: install openssl and a Postgres that was built with it")


def run_study(url: str) -> None:
    ours = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    with Database.open(url) as database:
        study = find_study(database, "toy")
        make_worker(database, study, "reporting").run()
        assert progress(database, study).is_over
        assert len(database.storage.get_all_trials(study.study_id)) == 6
        with database.transaction() as session:
            assert session.scalar(ours) is True
        with database.storage.engine.connect() as connection:
            assert connection.scalar(ours) is True


def test_a_study_runs_over_a_connection_whose_server_has_proved_who_it_is(
    secured: Secured, tmp_path: Path
) -> None:
    path = tmp_path / "toy.toml"
    path.write_text(TOY_STUDY)

    code, output = apart(call, secured.url(), "create", str(path))

    assert code == 0, output
    assert "hidden" not in output
    apart(run_study, secured.url())


def open_after_tensorflow(url: str) -> None:
    parse_url(url)
    importlib.import_module("tensorflow")
    Database.open(url).close()


def test_tensorflow_in_the_same_process_spoils_no_connection_whose_url_was_read_before(
    secured: Secured,
) -> None:
    apart(open_after_tensorflow, secured.url())


@pytest.mark.parametrize(
    ("host", "file", "why"),
    [
        ("127.0.0.1", "authority", 'does not match host name "127.0.0.1"'),
        ("localhost", "stranger", "certificate verify failed"),
        ("localhost", "missing", 'missing.crt" does not exist'),
    ],
)
def test_a_server_that_does_not_prove_who_it_is_is_not_waited_for(
    secured: Secured, tmp_path: Path, host: str, file: str, why: str
) -> None:
    signer = secured.authority.with_name(f"{file}.crt")
    url = secured.url(host, sslrootcert=str(signer))

    code, output = apart(call, url, "list")

    assert code == 2
    assert why in output
    assert "check the host's name against its certificate, and sslrootcert" in output


def turn(administrator: Administrator, state: str) -> None:
    administrator.run(f"ALTER SYSTEM SET ssl = {state}", "SELECT pg_reload_conf()")
    while administrator.ask("SHOW ssl") != [state]:
        time.sleep(0.02)


def test_a_server_without_tls_is_refused_where_the_url_asks_for_it(secured: Secured) -> None:
    turn(secured.administrator, "off")
    try:
        with pytest.raises(InputError, match="server does not support SSL"):
            apart(Database.open, secured.url())
    finally:
        turn(secured.administrator, "on")


def test_a_server_that_wants_tls_tells_who_comes_without(secured: Secured) -> None:
    with pytest.raises(InputError, match=r"pg_hba\.conf.*no encryption"):
        apart(Database.open, secured.url(sslmode="disable"))


def test_a_misspelt_parameter_of_the_url_is_named(secured: Secured) -> None:
    with pytest.raises(InputError, match=r'invalid connection option "sslmod".*the \'\?\''):
        apart(Database.open, secured.url(sslmod="verify-full"))
