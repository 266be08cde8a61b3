"""`importance` and `report`: what mattered in a study, and all about it on one page."""

import json
import os
from pathlib import Path

import click
from rich.table import Table

from tuner.cli.group import say
from tuner.cli.show import console
from tuner.errors import InputError
from tuner.importance import read_importances
from tuner.storage import Database, StoredStudy

#: FILE that stands for stdout.
STDOUT = "-"


def print_importance(database: Database, study: StoredStudy, form: str) -> None:
    """Print how much each parameter matters."""
    found = read_importances(database, study)
    if form == "json":
        click.echo(json.dumps(found.to_json()))
        return
    if found.parameters:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for heading in ("parameter", "share", "90 % interval", "noise", "verdict"):
            left = heading in {"parameter", "verdict"}
            table.add_column(heading, justify="left" if left else "right")
        for row in found.parameters:
            table.add_row(
                row.name,
                f"{row.share:.2f}",
                f"{row.low:.2f} to {row.high:.2f}",
                f"{row.noise:.2f}",
                row.verdict,
            )
        console(stderr=False).print(table)
        click.echo()
    click.echo(found.reading)


def write_report(database: Database, study: StoredStudy, file: str | None) -> None:
    """Write the page about a study.

    Args:
        database: Where the study is.
        study: The study.
        file: Where to; `STDOUT` prints it. By default a file named like the study.

    Raises:
        InputError: The file cannot be written.
    """
    from tuner.report import render

    path = Path(file or f"{study.config.name}-report.html")
    if file != STDOUT:
        _check(path)
    page = render(database, study)
    if file == STDOUT:
        click.echo(page, nl=False)
        return
    _write_whole(path, page)
    say(f"Wrote {path} ({path.stat().st_size / 1e6:.1f} MB). Open it in a browser.")


def _check(path: Path) -> None:
    """Notice before the work what would be wrong after it."""
    if path.is_dir():
        raise InputError(f"{path} is a folder. Expected the name of a file: -o {path}/report.html.")
    if not path.parent.is_dir():
        raise InputError(
            f"{path}: there is no folder {path.parent}. Create it, or name another file with -o."
        )


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody ever sees a part of it."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("x", encoding="utf-8") as stream:
            stream.write(text)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise InputError(
            f"{path}: cannot be written: {error.strerror}. Make room or give the right to write "
            f"there, or name another file with -o."
        ) from error
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
