"""Look at a study again and again: a live view on a terminal, lines elsewhere."""

import json
import time
from collections.abc import Callable

import click
from rich.console import Console
from rich.live import Live

from tuner.cli.group import say
from tuner.cli.query import print_status
from tuner.cli.show import console, progress_view
from tuner.cli.words import best_line, headline
from tuner.errors import StorageUnavailableError
from tuner.results import Progress, progress
from tuner.storage import Database, StoredStudy

#: Seconds between looks at the database.
LOOK_SECONDS = 1.0


def show_live(
    database: Database, study: StoredStudy, screen: Console, goes_on: Callable[[Progress], bool]
) -> None:
    """Show a study on a terminal, for as long as something goes on."""
    with Live(console=screen, auto_refresh=False, transient=True) as live:
        while goes_on(now := progress(database, study)):
            live.update(progress_view(study, now), refresh=True)
            time.sleep(LOOK_SECONDS)


def watch_study(database: Database, study: StoredStudy, form: str) -> None:
    """Print how far a study is until it is over; wait for a database that is away."""
    screen = console(stderr=False)
    last = ""
    while True:
        try:
            if form == "table" and screen.is_terminal:
                show_live(database, study, screen, lambda now: not now.is_over)
                print_status(database, study, form)
                return
            now = progress(database, study)
        except StorageUnavailableError as error:
            say(f"{error} Looking again in 5 s.")
            time.sleep(5)
            continue
        line = json.dumps(now.to_json()) if form == "json" else f"{headline(now)}; {best_line(now)}"
        if line != last:
            click.echo(last := line)
        if now.is_over:
            return
        time.sleep(LOOK_SECONDS)
