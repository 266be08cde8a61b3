"""One worker as a process of its own; the crew forks it from a process that imported this."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

# Imported once, before all forks, instead of by each worker when it opens the database: 1 s.
import alembic.command  # noqa: F401
import psycopg  # noqa: F401

from tests.acceptance.chaos.deaths import doom
from tuner.errors import TunerError
from tuner.storage import Database, find_study
from tuner.worker.worker import Worker, WorkerOptions


@dataclass(frozen=True, kw_only=True)
class Member:
    """What a worker process is told."""

    #: URL of the database.
    storage: str
    #: Name of the study.
    study: str
    #: What its trainer computes.
    objective: str
    #: Where checkpoints are.
    artifacts: Path
    #: Seconds of a lease.
    lease: float
    #: Of death by its own hand, at each occasion; 0 for never.
    die_probability: float
    #: Of the draws for that.
    seed: str
    #: Log of such deaths.
    deaths: Path
    #: Folder for a file named by process id, as soon as the worker minds signals.
    ready: Path
    #: File for what it prints.
    words: Path
    #: Its trainer's folder for temporary files, by which the trainer is recognised later.
    mark: Path


def work(member: Member) -> None:
    """Be a worker until the study is over."""
    words = os.open(member.words, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(words, sys.stdout.fileno())
    os.dup2(words, sys.stderr.fileno())
    environment = dict(os.environ) | {"TMPDIR": str(member.mark)}
    options = WorkerOptions(
        threads=1,
        objective=member.objective,
        artifacts=member.artifacts,
        lease=member.lease,
        checkpoint_seconds=0.5,  # so that there are some to go on from, and to tear
    )
    try:
        with Database.open(member.storage, lock_timeout=member.lease / 3) as database:
            if member.die_probability:
                doom(
                    database.engine,
                    probability=member.die_probability,
                    seed=member.seed,
                    log=member.deaths,
                )
            study = find_study(database, member.study)
            worker = Worker(database, study, options=options, environment=environment)
            worker.interruption.handle_signals(end_process=os._exit)
            (member.ready / str(os.getpid())).touch()
            worker.run()
    except TunerError as error:
        print(f"{os.getpid()} ended by {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
