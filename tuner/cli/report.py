"""`importance` and `report`: what mattered in a study, and all about it on one page."""

import json
from pathlib import Path

import click
from rich.table import Table

from tuner.cli.group import say
from tuner.cli.terminal import console
from tuner.cli.writing import check_file, write_whole
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
        check_file(path)
    page = render(database, study)
    if file == STDOUT:
        click.echo(page, nl=False)
        return
    write_whole(path, page)
    say(f"Wrote {path} ({path.stat().st_size / 1e6:.1f} MB). Open it in a browser.")
