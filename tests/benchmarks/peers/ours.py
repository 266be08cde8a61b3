"""`tuner run` with SQLite, as its users start it, with the peers' space or the recommended one.

``peers``: a study file with the peers' space, everything else by default. ``own``:
`studies/imdb.toml` as it is, but for the reviews and the number of words. In the first table
`--workers auto`, as the README advises for a search on a processor; in the second one worker, whose
trainings come one after the other with all cores, as everybody's there.

What is told is read from the database, twice a second, through the views that the README describes.
"""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.benchmarks.peers import space
from tests.benchmarks.peers.protocol import (
    EPOCHS,
    STATES,
    VALIDATION,
    VOCABULARY,
    Job,
    Journal,
    Params,
    read_job,
)

NAME = "peers"
#: More than there is time for.
ENDLESS = 1_000
#: Seconds between looks at the database.
LOOK_SECONDS = 0.5
#: Reports of whole epochs are each fourth one; those before use a part of the validation reviews.
STEPS_PER_EPOCH = 4


def peers_study(words: int) -> str:
    """Write a study file with the peers' space."""
    low, high, step = space.UNITS
    low_rate, high_rate = space.LEARNING_RATE
    low_share, high_share = space.DROPOUT
    fixed = [f"{name} = {json.dumps(value)}" for name, value in space.PLAIN_NET.items()]
    return "\n".join(
        [
            "[data]",
            'source = "set by the command line"',
            f"vocabulary = {VOCABULARY}",
            f"validation = {VALIDATION}",
            "[budget]",
            f"trials = {ENDLESS}",
            f"epochs = {EPOCHS}",
            "[space]",
            f"units = {{ low = {low}, high = {high}, step = {step} }}",
            f"learning_rate = {{ low = {low_rate}, high = {high_rate}, log = true }}",
            f"batch_size = {json.dumps(space.BATCH_SIZE)}",
            f"layers = {json.dumps(space.LAYERS)}",
            f"dropout = {{ low = {low_share}, high = {high_share} }}",
            f"max_length = {words}",
            *fixed,
        ]
    )


def command(kind: str, job: Job, database: Path) -> list[str]:
    """Say what a user would type."""
    file = Path("studies/imdb.toml")
    if kind == "peers":
        file = Path(job.scratch) / "peers.toml"
        file.write_text(peers_study(job.words), encoding="utf-8")
    settings = {
        "name": NAME,
        "seed": job.seed,
        "data.source": str(Path(job.data, "reviews.jsonl").resolve()),
        "budget.trials": ENDLESS,
        "space.max_length": job.words,
    }
    return [
        *(sys.executable, "-m", "tuner", "run", str(file)),
        *("--storage", f"sqlite:///{database}", "--artifacts", str(Path(job.scratch, "artifacts"))),
        *(("--workers", "auto") if job.table == 1 else ()),
        *(word for name, value in settings.items() for word in ("--set", f"{name}={value}")),
    ]


class Follower:
    """Reads what is new in the database into the journal.

    Args:
        database: The database's file, which may come later.
        journal: Where to write.
    """

    def __init__(self, database: Path, journal: Journal) -> None:
        self._database = database
        self._journal = journal
        self._told: set[tuple[int, int]] = set()
        self._ended: set[int] = set()

    def look(self) -> None:
        """Tell what is new."""
        if not self._database.exists():
            return
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as connection:
            views = "SELECT count(*) FROM sqlite_master WHERE type = 'view' AND name = ?"
            if not connection.execute(views, ["tuner_workers"]).fetchone()[0]:
                return  # the last of them is not made yet
            self._look_at(connection)

    def _look_at(self, connection: sqlite3.Connection) -> None:
        reports = connection.execute(
            "SELECT trial, step, value FROM tuner_reports "
            "WHERE study = ? AND step % ? = 0 AND value_kind = 'finite' ORDER BY trial, step",
            [NAME, STEPS_PER_EPOCH],
        )
        for trial, step, value in reports.fetchall():
            if (trial, step) not in self._told:
                self._told.add((trial, step))
                params = _params(connection, trial)
                epoch = step // STEPS_PER_EPOCH
                self._journal.evaluated(trial, epoch=epoch, value=value, params=params)
        states = connection.execute(
            "SELECT trial, state FROM tuner_trials WHERE study = ? ORDER BY trial", [NAME]
        )
        for trial, state in states.fetchall():
            if state in STATES and trial not in self._ended:
                self._ended.add(trial)
                self._journal.ended(trial, state)


def _params(connection: sqlite3.Connection, trial: int) -> Params:
    rows = connection.execute(
        "SELECT name, value, kind FROM tuner_params WHERE study = ? AND trial = ?", [NAME, trial]
    )
    return {name: _value(value, kind) for name, value, kind in rows.fetchall()}


def _value(value: str, kind: str) -> Any:
    read: Mapping[str, Any] = {"boolean": json.loads, "integer": int, "real": float, "text": str}
    return read[kind](value)


def main() -> None:
    """Run `tuner run` until somebody ends it, and follow."""
    kind, job = sys.argv[-2], read_job()
    database = Path(job.scratch).resolve() / "tuner.db"
    follower = Follower(database, Journal(job))
    with subprocess.Popen(command(kind, job, database)) as process:
        while process.poll() is None:
            follower.look()
            time.sleep(LOOK_SECONDS)
    follower.look()
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
