"""`run`, `create` and `work`: from a study file to workers that are done."""

import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from tuner.cli.check import look_at_data
from tuner.cli.group import say
from tuner.cli.like import plans_like
from tuner.cli.patience import Patience, end_at_sigterm
from tuner.cli.places import LocalPlaces
from tuner.cli.query import print_best
from tuner.cli.studies import StudyFile, artifacts_of
from tuner.cli.terminal import console
from tuner.cli.watch import LOOK_SECONDS, Glance, show_workers
from tuner.cli.words import best_line, end_of, headline, number
from tuner.config import StudyConfig
from tuner.feasible import beyond_limits, notes_on
from tuner.launch.local import LocalWorkers
from tuner.results import TrialRow, progress, trials
from tuner.sizes import Shape
from tuner.storage import Created, Database, Plan, StoredStudy, create_study, shown
from tuner.strategy import check_sampler


def create_from(
    file: StudyFile, patience: Patience | None = None, *, like: str | None = None
) -> StoredStudy:
    """Store the study of a study file, or find it stored, and say which.

    Args:
        file: The study file.
        patience: With a database that is away; None for none.
        like: An earlier study whose best points a new one begins with; None for none.
    """
    check_sampler(file.config.sampler.name)
    data, shape = look_at_data(file.config)
    for note in (*notes_on(file.config, shape), *data.notes):
        say(f"note: {note}")

    def create() -> Created:
        with Database.open(file.storage, create=True) as database:
            plans = plans_like(database, file.config, like) if like else ()
            _say_left_out(file.config, shape, plans)
            return create_study(database, file.config, shape=shape, begin_with=plans)

    created = (patience or Patience()).ask(create)
    _say_created(created, file.storage)
    return created.study


def _say_left_out(config: StudyConfig, shape: Shape, plans: Sequence[Plan]) -> None:
    for plan in plans:
        if excess := beyond_limits(config, shape, plan.point):
            say(f"note: {plan.origin} is beyond the limits and left out: {excess}")


def _say_created(created: Created, storage: str) -> None:
    name = created.study.config.name
    if not created.existed:
        say(f"Created study {name!r} in {shown(storage)}.")
    else:
        say(f"Study {name!r} is in {shown(storage)}; going on with it.")
    for change in created.changes:
        say(f"  {change}")


class Workers(Protocol):
    """Some workers, wherever they run; leaving their context ends them."""

    def __enter__(self) -> Any: ...

    def __exit__(self, *_: object) -> None: ...

    def check(self) -> bool:
        """Look after them and say whether any still works."""


class Launch(Protocol):
    """What starts workers."""

    def __call__(self, study: str, *, artifacts: str, n_open: int) -> Workers:
        """Give workers of a stored study.

        Args:
            study: Its name.
            artifacts: Folder for checkpoints.
            n_open: Slots that are left.
        """


def local_workers(storage: str, *, places: LocalPlaces, require_gpu: bool) -> Launch:
    """Start one worker on this machine for each place."""

    def launch(study: str, *, artifacts: str, n_open: int) -> Workers:
        chosen = places.choose(n_open)
        say(f"Starting {chosen}.")
        return LocalWorkers(
            study,
            storage=_absolute(storage),
            places=chosen.places,
            artifacts=artifacts,
            options=("--require-gpu",) if require_gpu else (),
            environment=os.environ,
        )

    return launch


def run_study(
    file: StudyFile, *, launch: Launch, artifacts: str | None, like: str | None = None
) -> None:
    """Create, run workers to the end, print the best."""
    end_at_sigterm()  # like Ctrl-C: the workers hand their trials back before
    stored = create_from(file, like=like)
    with Database.open(file.storage) as database:
        run_workers(database, stored, launch=launch, artifacts=artifacts)
        print_best(database, stored, None, "text")


def run_workers(
    database: Database, stored: StoredStudy, *, launch: Launch, artifacts: str | None
) -> None:
    """Run workers until nothing is left to do, and show how far they are.

    Args:
        database: Where the study is.
        stored: The study.
        launch: Starts the workers.
        artifacts: ``--artifacts``.
    """
    before = progress(database, stored)
    if not before.is_over:
        workers = launch(
            stored.config.name,
            artifacts=str(artifacts_of(database, artifacts)),
            n_open=before.slots.total - before.slots.done,
        )
        _watch(database, stored, workers)
    now = progress(database, stored)
    if now.ended is not None and now.slots.done < now.slots.total:
        say(f"{now.name!r} ended before its budget was used up: {end_of(now)}")


def _watch(database: Database, stored: StoredStudy, workers: Workers) -> None:
    screen = console(stderr=True)
    try:
        with workers:
            if screen.is_terminal:
                show_workers(database, stored, screen, work=workers.check)
                say(headline(progress(database, stored)))
            else:
                _tell_lines(database, stored, workers)
    except (KeyboardInterrupt, SystemExit):
        say("Running trials were handed back. Run it again to go on.")
        raise


def _tell_lines(database: Database, stored: StoredStudy, workers: Workers) -> None:
    told = {row.number for row in _ended(database, stored)}
    glance = Glance()
    while workers.check():
        glance.at(partial(_tell_finished, database, stored, told))
        time.sleep(LOOK_SECONDS)
    _tell_finished(database, stored, told)


def _ended(database: Database, stored: StoredStudy) -> list[TrialRow]:
    rows = trials(database, stored)
    return [row for row in rows if row.ended is not None and row.slot is not None]


def _absolute(storage: str) -> str:
    prefix = "sqlite:///"
    if storage.startswith(prefix):
        return prefix + str(Path(storage.removeprefix(prefix)).resolve())
    return storage


def _tell_finished(database: Database, stored: StoredStudy, told: set[int]) -> None:
    """Print a line for each trial that ended since the last look, and add it to those told."""
    now = progress(database, stored)
    if now.slots.done == len(told):
        return
    for row in _ended(database, stored):
        if row.number not in told:
            value = "-" if row.value is None else number(row.value)
            say(
                f"trial {row.number} {row.state}: {value}   "
                f"[{now.slots.done}/{now.slots.total}, {best_line(now)}]"
            )
            told.add(row.number)
