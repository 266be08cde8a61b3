"""`export`: start the child process that exports, pass on what it says, and end it with us."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from typing import Any

import click

from tuner.cli.group import say
from tuner.cli.patience import end_at_sigterm
from tuner.errors import InputError, TunerError
from tuner.host import own_module
from tuner.processor import usable_cores
from tuner.worker.process import trainer_environment

#: Seconds that an interrupted child has to remove what it began to write.
GRACE = 20.0
#: Characters of a dead child's last words that are told.
LAST_WORDS = 2_000


def export_artifact(
    folder: str, *, to: str, output: str, texts: str | None, column: str, force: bool, form: str
) -> None:
    """Export an artifact and print what came of it.

    Args:
        folder: The artifact's.
        to: The format.
        output: Folder of the export.
        texts: File with texts to compare on; None for none.
        column: The file's column that holds them.
        force: Whether an export that is there may go.
        form: ``text`` or ``json``.
    """
    order = {
        "artifact": folder,
        "to": to,
        "target": output,
        "replace": force,
        "texts": texts,
        "column": column,
    }
    written = _in_child(order)
    if form == "json":
        click.echo(json.dumps({"export": output, **written}, ensure_ascii=False))
        return
    parity = written["parity"]
    click.echo(f"export: {output}")
    click.echo(f"format: {written['to']}")
    click.echo(f"runs in: {parity['runtime']}")
    click.echo(f"largest difference from Keras: {parity['difference']:.1e} ({parity['texts']})")


def _in_child(order: Mapping[str, object]) -> Mapping[str, Any]:
    """Let a process export that sees no GPU and no secrets; give what the export says of itself."""
    end_at_sigterm()  # like Ctrl-C: the child is ended, too
    reads, writes = os.pipe()
    outcome: Mapping[str, Any] = {}
    with os.fdopen(reads, encoding="utf-8") as told, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [*own_module("tuner.deliver.export"), str(writes), json.dumps(order)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(writes,),
            env=trainer_environment(os.environ, threads=usable_cores()),
            start_new_session=True,  # a terminal's Ctrl-C is ours to pass on, once
        )
        os.close(writes)
        try:
            for outcome in map(json.loads, told):
                if "said" in outcome:
                    say(outcome["said"])
            code = process.wait()
        finally:
            _end(process)
        if code:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LAST_WORDS))
            words = log.read().decode(errors="replace").strip()
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise TunerError(f"The process that exports ended: {how}. Its last words:\n{words}")
    if "error" in outcome:
        raise InputError(outcome["error"])
    written: Mapping[str, Any] = outcome["written"]
    return written


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the child, as a Ctrl-C does, so that it removes what it began to write."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
