"""What all commands share: the one boundary for errors, common options, and their help."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Literal, NoReturn, TypeAlias, TypeVar

import click

from tuner.errors import TunerError
from tuner.processor import MOST_WORKERS

Command = TypeVar("Command", bound=Callable[..., Any])
#: What ``--workers`` says; None where it was not given.
WorkerCount: TypeAlias = int | Literal["auto"] | None

STUDY = click.argument("study", metavar="STUDY")
FILE = click.argument("file", metavar="FILE")
FOLDER = click.argument("folder", metavar="DIR")


class _NobodyReadsError(Exception):
    """The reader of what is printed has ended, as `| head` does when it has enough."""


class TunerGroup(click.Group):
    """The one place where an error becomes a message and an exit code."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run the command line and end the process with its exit code."""
        words = kwargs.get("args") or sys.argv[1:]
        debug = "--debug" in words
        try:
            code = super().main(*args, **kwargs | {"standalone_mode": False})
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            click.echo("Interrupted.", err=True)
            sys.exit(130)
        except TunerError as error:
            if debug:
                raise
            click.echo(f"error: {error}" if error.is_trouble else str(error), err=True)
            sys.exit(error.exit_code)
        except _NobodyReadsError:
            # What is not printed yet would fail once more at the end of the process.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:  # closed from the start
                    os.dup2(nowhere, stream.fileno())
            sys.exit(128 + signal.SIGPIPE)
        except Exception as error:
            if debug:
                raise
            click.echo(
                f"error: a bug in tuner, {type(error).__name__}: {error}. "
                f"Run it again with --debug for the traceback, and report that.",
                err=True,
            )
            sys.exit(1)
        sys.exit(code or 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; where nobody reads what it prints, that is no error of click's."""
        try:
            code = super().invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError as error:
            raise _NobodyReadsError from error
        return code

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List commands in the order in which they are used, not by letter."""
        del ctx
        return list(self.commands)


def _set_debug(_context: click.Context, _option: click.Parameter, debug: bool) -> None:
    logging.getLogger("tuner").setLevel(logging.DEBUG if debug else logging.INFO)
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING,  # of the libraries that we use
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
    )


def common(command: Command) -> Command:
    """Add the options that every command takes that opens a storage."""
    command = click.option(
        "--storage",
        metavar="URL",
        help="Where studies live: sqlite:///FILE or postgresql://USER@HOST/DATABASE. "
        "Else TUNER_STORAGE, the study file's `storage`, sqlite:///studies/tuner.db.",
    )(command)
    return debugging(command)


def debugging(command: Command) -> Command:
    """Add ``--debug``."""
    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_set_debug,
        help="Show tracebacks.",
    )(command)


def artifacts_folder(command: Command) -> Command:
    """Add ``--artifacts``."""
    return click.option(
        "--artifacts",
        metavar="DIR",
        help="Folder for checkpoints, or s3://BUCKET/FOLDER and the like. Else TUNER_ARTIFACTS, "
        "then the folder beside the SQLite file, such as studies/tuner.artifacts; for a server "
        "studies/artifacts.",
    )(command)


def _worker_count(
    context: click.Context, option: click.Parameter, value: str | None
) -> WorkerCount:
    """Read ``--workers``."""
    if value is None:
        return None
    if value == "auto":
        return "auto"
    if value.isdecimal() and 1 <= int(value) <= MOST_WORKERS:
        return int(value)
    raise click.BadParameter(
        f"expected a number from 1 to {MOST_WORKERS}, or auto. Received {value!r}.", context, option
    )


def worker_places(command: Command) -> Command:
    """Add ``--workers``, ``--per-gpu`` and ``--require-gpu``."""
    command = click.option(
        "--require-gpu",
        is_flag=True,
        help="Refuse to train on the processor, instead of warning.",
    )(command)
    command = click.option(
        "--per-gpu",
        metavar="K",
        type=click.IntRange(min=1, max=64),
        help="Workers on each GPU, which share its memory. [default: 1]",
    )(command)
    return click.option(
        "--workers",
        metavar="N|auto",
        callback=_worker_count,
        help="Workers in all, shared out over the GPUs; `auto`, where there is none, for one with "
        "one thread on each core that memory allows. [default: one per GPU, or one]",
    )(command)


def anywhere(command: Command) -> Command:
    """Add `worker_places`, and ``--on`` with what belongs to a Ray cluster."""
    command = click.option(
        "--gpus-per-worker",
        metavar="F",
        type=click.FloatRange(min=0, max=1),
        help="GPU that each worker takes of a Ray cluster; below 1 they share. "
        "[default: 1 where there are GPUs]",
    )(command)
    command = click.option(
        "--address",
        metavar="HOST:PORT",
        help="Of the Ray cluster; `auto` for the one that this machine belongs to. "
        "[default: RAY_ADDRESS, else a new one on this machine]",
    )(command)
    command = click.option(
        "--on",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Run workers on this machine or on a Ray cluster.",
    )(command)
    return worker_places(command)


def patient(minutes: float) -> Callable[[Command], Command]:
    """Add ``--patience``, with what it is where nobody says it."""
    return click.option(
        "--patience",
        default=minutes,
        show_default=True,
        metavar="MINUTES",
        type=click.FloatRange(min=0),
        help="Wait so long for a database that is away.",
    )


def like_another(command: Command) -> Command:
    """Add ``--like``."""
    return click.option(
        "--like",
        metavar="STUDY",
        help="Let a new study begin with the best points of an earlier one in the same storage.",
    )(command)


def overrides(command: Command) -> Command:
    """Add ``--set``."""
    return click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a key of the study file, such as budget.trials=6. Repeatable.",
    )(command)


def as_format(*choices: str) -> Callable[[Command], Command]:
    """Add ``--format``."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(choices),
        default=choices[0],
        show_default=True,
        help="How to print the data.",
    )


def say(message: str) -> None:
    """Talk to the person: on stderr, so that stdout holds data alone."""
    click.echo(message, err=True)
