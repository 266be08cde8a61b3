"""Look at a study again and again: a live view on a terminal, lines elsewhere."""

import json
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import click
from rich.console import Console
from rich.live import Live

from tuner.cli.group import say
from tuner.cli.query import print_status
from tuner.cli.show import progress_view
from tuner.cli.terminal import console
from tuner.cli.words import best_line, headline
from tuner.errors import StorageUnavailableError
from tuner.results import progress
from tuner.storage import Database, StoredStudy

Answer = TypeVar("Answer")

#: Seconds between looks at the database.
LOOK_SECONDS = 1.0


class Glance:
    """Looks at a database beside workers, who wait for it where it is away for a while."""

    def __init__(self) -> None:
        self._is_away = False

    def at(self, look: Callable[[], Answer]) -> Answer | None:
        """Look; None where the database is away, which is told once."""
        try:
            found = look()
        except StorageUnavailableError as error:
            if not self._is_away:
                say(f"{error} The workers go on, and wait for it where they must.")
            self._is_away = True
            return None
        self._is_away = False
        return found


def show_workers(
    database: Database, study: StoredStudy, screen: Console, *, work: Callable[[], bool]
) -> None:
    """Show a study on a terminal, for as long as somebody works."""
    glance = Glance()
    with Live(console=screen, auto_refresh=False, transient=True) as live:
        while work():
            now = glance.at(partial(progress, database, study))
            if now is not None:
                live.update(progress_view(study, now), refresh=True)
            time.sleep(LOOK_SECONDS)


def _show_live(database: Database, study: StoredStudy, screen: Console) -> None:
    """Show a study on a terminal until it is over."""
    with Live(console=screen, auto_refresh=False, transient=True) as live:
        while not (now := progress(database, study)).is_over:
            live.update(progress_view(study, now), refresh=True)
            time.sleep(LOOK_SECONDS)


def watch_study(database: Database, study: StoredStudy, form: str) -> None:
    """Print how far a study is until it is over; wait for a database that is away."""
    screen = console(stderr=False)
    last = ""
    while True:
        try:
            if form == "table" and screen.is_terminal:
                _show_live(database, study, screen)
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
