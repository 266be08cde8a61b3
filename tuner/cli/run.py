"""`run`, `create` and `work`: from a study file to workers that are done."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from tuner.cli.check import summarize_data
from tuner.cli.group import say
from tuner.cli.query import print_best
from tuner.cli.show import console
from tuner.cli.studies import StudyFile, artifacts_of, data_root
from tuner.cli.watch import LOOK_SECONDS, show_live
from tuner.cli.words import best_line, end_of, headline, number
from tuner.launch.local import LocalWorkers, usable_cores
from tuner.results import TrialRow, progress, trials
from tuner.storage import Created, Database, StoredStudy, create_study, shown
from tuner.worker.worker import Worker, WorkerOptions


def create_from(file: StudyFile) -> StoredStudy:
    """Store the study of a study file, or find it stored, and say which."""
    data = summarize_data(file.config)
    for note in (*file.config.notes(), *data.notes):
        say(f"note: {note}")
    with Database.open(file.storage, create=True) as database:
        created = create_study(database, file.config)
    _say_created(created, file.storage)
    return created.study


def _say_created(created: Created, storage: str) -> None:
    name = created.study.config.name
    if not created.existed:
        say(f"Created study {name!r} in {shown(storage)}.")
    else:
        say(f"Study {name!r} is in {shown(storage)}; going on with it.")
    for change in created.changes:
        say(f"  {change}")


def run_study(file: StudyFile, *, n_workers: int, artifacts: str | None) -> None:
    """Create, run local workers to the end, print the best."""
    # SIGTERM like Ctrl-C: the workers hand their trials back before this process ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    stored = create_from(file)
    with Database.open(file.storage) as database:
        if not progress(database, stored).is_over:
            workers = LocalWorkers(
                stored.config.name,
                storage=_absolute(file.storage),
                artifacts=artifacts_of(database, artifacts),
                n_workers=n_workers,
                environment=os.environ,
            )
            _watch(database, stored, workers)
        now = progress(database, stored)
        if now.ended is not None and now.slots.done < now.slots.total:
            say(f"{now.name!r} ended before its budget was used up: {end_of(now)}")
        print_best(database, stored, None, "text")


def _watch(database: Database, stored: StoredStudy, workers: LocalWorkers) -> None:
    screen = console(stderr=True)
    try:
        with workers:
            if screen.is_terminal:
                show_live(database, stored, screen, lambda _: workers.check())
                say(headline(progress(database, stored)))
            else:
                _tell_lines(database, stored, workers)
    except (KeyboardInterrupt, SystemExit):
        say("Running trials were handed back. Run it again to go on.")
        raise


def _tell_lines(database: Database, stored: StoredStudy, workers: LocalWorkers) -> None:
    told = {row.number for row in _ended(database, stored)}
    while workers.check():
        told = _tell_finished(database, stored, told)
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


def _tell_finished(database: Database, stored: StoredStudy, told: set[int]) -> set[int]:
    """Print a line for each trial that ended since the last look."""
    now = progress(database, stored)
    if now.slots.done == len(told):
        return told
    for row in _ended(database, stored):
        if row.number not in told:
            value = "-" if row.value is None else number(row.value)
            say(
                f"trial {row.number} {row.state}: {value}   "
                f"[{now.slots.done}/{now.slots.total}, {best_line(now)}]"
            )
            told = told | {row.number}
    return told


def work_on(
    database: Database,
    stored: StoredStudy,
    *,
    threads: int | None,
    patience_seconds: float,
    same_versions: bool,
    artifacts: Path,
    until_stdin_closes: bool,
) -> None:
    """Be one worker."""
    options = WorkerOptions(
        threads=threads or usable_cores(),
        data_root=data_root(),
        artifacts=artifacts,
        patience=patience_seconds,
        same_versions=same_versions,
    )
    worker = Worker(database, stored, options=options, environment=os.environ)
    worker.handle_signals(end_process=os._exit)
    if until_stdin_closes:
        threading.Thread(target=_end_with_parent, args=(worker,), daemon=True).start()
    worker.run()


def _end_with_parent(worker: Worker) -> None:
    os.read(sys.stdin.fileno(), 1)  # nothing is ever written: it returns when the pipe is closed
    worker.interrupt(signal.SIGTERM)
