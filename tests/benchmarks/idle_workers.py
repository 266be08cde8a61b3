"""What workers that wait cost one Postgres: statements, processor time, connections.

    python -m tests.benchmarks.idle_workers --seconds 120 --studies 1000

One study has a worker at its only trial, which reports ten times a second, and another one that
waits for that slot; a standing worker finds nothing to do in it, nor in many studies that are done.
Statements are those that the server logs, pings and transactions included; processor time is that
of each worker's process in the server, in ticks of 10 ms: so looks are also timed by themselves.
"""

import argparse
import dataclasses
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
import sqlalchemy
from sqlalchemy import insert, text, update

from tests import postgres
from tests.objectives import TOY_STUDY
from tuner.config import StudyConfig
from tuner.host import this_process
from tuner.results import progress
from tuner.storage import Database, create_study, find_study
from tuner.storage.openings import read_opening, read_openings
from tuner.storage.schema import SLOTS
from tuner.study_file import load_study_file
from tuner.worker.interruption import Interruption
from tuner.worker.pool import Pool
from tuner.worker.worker import Worker, WorkerOptions

#: Slots of each study that is done.
N_SLOTS = 50
#: Looks that are timed.
N_LOOKS = 1000
#: Seconds between looks at the server.
LOOK_SECONDS = 0.1


def run_worker(url: str) -> None:
    """Work at the toy study as `tuner work toy` does."""
    options = WorkerOptions(threads=1, objective="tests.objectives:sleeping")
    with Database.open(url) as database:
        Worker(database, find_study(database, "toy"), options=options, environment=os.environ).run()


def run_pool(url: str) -> None:
    """Stand by as `tuner work` does."""
    options = WorkerOptions(threads=1, objective="tests.objectives:sleeping")
    with Database.open(url) as database:
        Pool(database, options=options, environment=os.environ, interruption=Interruption()).run()


def fill(url: str, folder: Path, n_studies: int) -> None:
    """Store the study that goes on, and others that are done."""
    path = folder / "toy.toml"
    path.write_text(TOY_STUDY)
    config, _ = load_study_file(path, ["budget.trials=1", "pruner.name=none"])
    with Database.open(url, create=True) as database:
        create_study(database, config)
        for n in range(n_studies):
            create_study(database, _named(config, f"done-{n}"))
        with database.transaction() as session:
            others = SLOTS.c.study_id > 1
            session.execute(update(SLOTS).where(others).values(state="done", closed_at=0.0))
            rows = [
                {"study_id": study, "slot": slot, "state": "done", "attempts": 0}
                for study in range(2, n_studies + 2)
                for slot in range(1, N_SLOTS)
            ]
            if rows:
                session.execute(insert(SLOTS), rows)
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("ANALYZE"))
    engine.dispose()


def _named(config: StudyConfig, name: str) -> StudyConfig:
    return config.model_copy(update={"name": name})


@dataclasses.dataclass(kw_only=True)
class Meter:
    """What the server knows of its clients, by the name that each gives."""

    most_connections: Counter[str] = dataclasses.field(default_factory=Counter)
    cpu_seconds: dict[int, tuple[str, float]] = dataclasses.field(default_factory=dict)

    def look(self, connection: sqlalchemy.Connection) -> None:
        """Count connections, and read each server process's time."""
        rows = connection.execute(
            text(
                "SELECT application_name, pid FROM pg_stat_activity "
                "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
        ).all()
        now = Counter(row.application_name for row in rows)
        for name, count in now.items():
            self.most_connections[name] = max(self.most_connections[name], count)
        for name, pid in rows:
            try:
                times = psutil.Process(pid).cpu_times()
            except psutil.NoSuchProcess:
                continue
            self.cpu_seconds[pid] = (name, times.user + times.system)

    def cpu(self, name: str) -> float:
        """Seconds of all processes that served a client."""
        return sum(seconds for whose, seconds in self.cpu_seconds.values() if whose == name)


def statements(log: Path, skip: int) -> Counter[str]:
    """Count logged statements by client."""
    lines = log.read_text(errors="replace").splitlines()[skip:]
    return Counter(line.partition("|")[0] for line in lines if "|LOG:  " in line)


def main() -> None:
    """Print what each kind of worker costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--studies", type=int, default=1000, help="that are done")
    given = parser.parse_args()

    def prepare(server: postgres.Server) -> None:
        server.configure("log_statement = 'all'", "log_line_prefix = '%a|'")

    with postgres.own_server(prepare=prepare) as server:
        folder = folder_of(server.url)
        with tempfile.TemporaryDirectory() as name:
            fill(server.url, Path(name), given.studies)
        context = multiprocessing.get_context("spawn")
        started: list[BaseProcess] = []
        engine = sqlalchemy.create_engine(server.url, isolation_level="AUTOCOMMIT")
        meter = Meter()
        try:
            with engine.connect() as connection, Database.open(server.url) as database:
                study = find_study(database, "toy")
                for name, target in (
                    ("busy", run_worker),
                    ("idle", run_worker),
                    ("pool", run_pool),
                ):
                    url = f"{server.url}&application_name={name}"
                    started.append(context.Process(target=target, args=(url,)))
                    started[-1].start()
                    while not progress(database, study).running:
                        meter.look(connection)
                        time.sleep(LOOK_SECONDS)
                until = time.monotonic() + 60  # pauses have grown by then
                while time.monotonic() < until:
                    meter.look(connection)
                    time.sleep(LOOK_SECONDS)
                at_start = {name: meter.cpu(name) for name in ("busy", "idle", "pool")}
                skip = len((folder / "log").read_text(errors="replace").splitlines())
                most_starting, meter.most_connections = meter.most_connections, Counter()
                until = time.monotonic() + given.seconds
                while time.monotonic() < until:
                    meter.look(connection)
                    time.sleep(LOOK_SECONDS)
                counted = statements(folder / "log", skip)
        finally:
            for process in started:
                process.kill()
            engine.dispose()
        of_one, of_all = milliseconds_a_look(server.url)
        print(f"a look of an idle worker takes the server {of_one:.2f} ms, of a pool {of_all:.2f}")
        print("worker  statements/s  server ms/s  connections  while starting")
        for name in ("busy", "idle", "pool"):
            milliseconds = 1000 * (meter.cpu(name) - at_start[name]) / given.seconds
            print(
                f"{name:6}  {counted[name] / given.seconds:12.2f}  {milliseconds:11.2f}  "
                f"{meter.most_connections[name]:11d}  {most_starting[name]:14d}"
            )


def folder_of(url: str) -> Path:
    """Give the folder of a server on a Unix socket."""
    return Path(str(sqlalchemy.make_url(url).query["host"]))


def milliseconds_a_look(url: str) -> tuple[float, float]:
    """Time the server at looks of one study, and of all."""
    holder = this_process()
    with Database.open(url) as database:
        study = find_study(database, "toy")
        with database.transaction() as session:
            served_by = psutil.Process(session.scalar(text("SELECT pg_backend_pid()")))

        def timed(look: Callable[[], object]) -> float:
            before = served_by.cpu_times()
            for _ in range(N_LOOKS):
                look()
            after = served_by.cpu_times()
            return 1000 * (after.user + after.system - before.user - before.system) / N_LOOKS

        return (
            timed(lambda: read_opening(database, study, holder)),
            timed(lambda: read_openings(database, holder)),
        )


if __name__ == "__main__":
    main()
