"""What do the workers cost on top of training, beside plain `study.optimize`?

Every trial sleeps (10 s unless told otherwise) with 10 reports, over the space of
`studies/imdb.toml`. For each number of workers two studies run, one after the other, each in a
fresh database of the same kind and with as many processes: our workers with their trainers, TPE
and ASHA as a study file gets them; and plain processes with Optuna's defaults and a pruner that is
asked after every report. Nobody is pruned, as all values are equal. Starting up does not count:
all processes wait until all are ready. They begin one after the other, spread over the length of
a trial, as the workers of a real study do not move in step either; with ``--together`` at once.

Numbers are per trial, from the starting signal on: SQL statements; commits, those of transactions
that only read included; CPU of the workers, of their trainers, and of the Postgres server where we
run it; and the busy share, which is the time that trials take anyway over the time that workers
were there, from their turn to begin to the end of their last trial. The server's cores are its CPU
time over the study's length: what one database has to be for so many workers.

Run it from the repository's root; the defaults take 5 minutes on two idle cores::

    python -m tests.benchmarks.overhead [--workers 1,4,16] [--storage sqlite|postgres]

Where does it bend? More workers, then shorter trials::

    python -m tests.benchmarks.overhead --storage postgres --systems ours \\
        --workers 8,16,32,64 --seconds 10,3,1
"""

import argparse
import contextlib
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import optuna
import psutil
import sqlalchemy
from optuna.trial import FrozenTrial

from tests import postgres
from tests.benchmarks import overhead_worker
from tests.benchmarks.overhead_worker import PRUNERS, STUDY_FILE, STUDY_NAME
from tuner.storage import Database, create_study
from tuner.study_file import load_study_file

System = Literal["ours", "plain"]
SYSTEMS: tuple[System, ...] = ("ours", "plain")
#: Seconds that processes have to get ready: many of them share few cores.
START_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is measured."""

    #: ``sqlite`` or ``postgres``.
    storage: str
    #: Processes that run trials.
    n_workers: int
    #: Trials of each, on average.
    trials_per_worker: int
    #: Length of a trial.
    seconds: float
    #: Whether all workers begin at the same moment.
    together: bool
    #: Name of the plain processes' pruner.
    pruner: str


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one study cost; CPU in seconds, per trial."""

    #: Who ran it.
    system: System
    #: Seconds from the starting signal to the end of the last trial.
    wall: float
    #: Trials that are complete.
    n_complete: int
    #: Trials that are not.
    n_others: int
    #: Processes that did not come to their end; what they cost is missing below.
    n_died: int
    #: Part of the workers' time that was training.
    busy_share: float
    #: SQL statements.
    statements: float
    #: Transactions that were committed.
    commits: float
    #: CPU of the processes that own trials.
    worker_cpu: float
    #: CPU of their child processes.
    trainer_cpu: float
    #: CPU of the database server; None where there is none of ours.
    server_cpu: float | None
    #: Cores that it kept busy from the first trial to the last one's end.
    server_cores: float | None
    #: SQL statements a second, of all workers.
    statements_per_second: float
    #: Cores that were busy with anything else meanwhile: much above 0 spoils the comparison.
    other_cores: float


#: What psutil tells of a machine's time that some process used.
BUSY = {"user", "nice", "system", "irq", "softirq"}

#: Rows of the table: a title, how to read it, how to write it.
ROWS: tuple[tuple[str, Callable[[Measurement], float | None], str], ...] = (
    ("busy share", lambda m: m.busy_share, "{:.3f}"),
    ("wall, s", lambda m: m.wall, "{:.2f}"),
    ("SQL statements/trial", lambda m: m.statements, "{:.1f}"),
    ("commits/trial", lambda m: m.commits, "{:.1f}"),
    ("worker CPU, ms/trial", lambda m: m.worker_cpu * 1000, "{:.0f}"),
    ("trainer CPU, ms/trial", lambda m: m.trainer_cpu * 1000, "{:.0f}"),
    (
        "server CPU, ms/trial",
        lambda m: None if m.server_cpu is None else m.server_cpu * 1000,
        "{:.0f}",
    ),
    ("server, cores", lambda m: m.server_cores, "{:.3f}"),
    ("SQL statements/s", lambda m: m.statements_per_second, "{:.0f}"),
    ("cores busy elsewhere", lambda m: m.other_cores, "{:.2f}"),
    ("trials complete", lambda m: m.n_complete, "{:.0f}"),
    ("trials otherwise", lambda m: m.n_others, "{:.0f}"),
    ("workers that died", lambda m: m.n_died, "{:.0f}"),
)


class Databases:
    """Gives fresh databases of one kind.

    Args:
        folder: For files.
        server: URL of a Postgres server; None for SQLite.
    """

    def __init__(self, folder: Path, server: str | None) -> None:
        self._folder = folder
        self._server = sqlalchemy.make_url(server) if server else None
        self._n_made = 0

    def fresh(self) -> str:
        """Make an empty database and give its URL."""
        self._n_made += 1
        name = f"tuner_overhead_{self._n_made}"
        if self._server is None:
            return f"sqlite:///{self._folder}/{name}.db"
        engine = sqlalchemy.create_engine(self._server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"DROP DATABASE IF EXISTS {name}"))
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self._server.set(database=name).render_as_string(hide_password=False)

    def server_cpu(self) -> float | None:
        """Sum the CPU seconds of all server processes, those that ended included."""
        if self._server is None or not isinstance(host := self._server.query.get("host"), str):
            return None
        main_pid = int((Path(host) / "data" / "postmaster.pid").read_text().splitlines()[0])
        postmaster = psutil.Process(main_pid)
        times = postmaster.cpu_times()
        ended = times.children_user + times.children_system
        return times.user + times.system + ended + sum(map(cpu, postmaster.children()))


@contextlib.contextmanager
def databases_of(storage: str, *, n_workers: int) -> Iterator[Databases]:
    """Start what databases of that kind need."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        server = None
        if storage == "postgres":
            server = stack.enter_context(postgres.server(max_connections=4 * n_workers + 20))
        yield Databases(Path(folder), server)


def cpu(process: psutil.Process) -> float:
    """CPU seconds of a process, without its children; 0 where it is gone."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def machine_cpu() -> float:
    """CPU seconds that all processes of this machine have used since its boot."""
    times = psutil.cpu_times()._asdict()
    # What waits for a disk is idle, and guests are counted as users already.
    return float(sum(spent for kind, spent in times.items() if kind in BUSY))


def create(system: System, url: str, setting: Setting) -> None:
    """Make the study in the database."""
    n_trials = setting.n_workers * setting.trials_per_worker
    settings = [f"name={STUDY_NAME}", f"budget.trials={n_trials}"]
    config, _ = load_study_file(STUDY_FILE, settings)
    if system == "plain":
        optuna.create_study(study_name=STUDY_NAME, storage=url, direction=config.direction)
        return
    with Database.open(url, create=True) as database:
        create_study(database, config)


def start(system: System, url: str, folder: Path, setting: Setting) -> subprocess.Popen[bytes]:
    """Start one process."""
    command = [
        *(sys.executable, "-m", overhead_worker.__name__, system, url, str(folder)),
        *("--trials", str(setting.trials_per_worker), "--pruner", setting.pruner),
    ]
    with (folder / "words").open("ab") as words:
        return subprocess.Popen(command, stdout=words, stderr=words)


def wait_until_ready(folder: Path, processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait until every process waits for the starting signal."""
    deadline = time.monotonic() + START_SECONDS
    while len(list(folder.glob("ready-*"))) < len(processes):
        if time.monotonic() > deadline or any(process.poll() for process in processes):
            raise RuntimeError((folder / "words").read_text())
        time.sleep(0.1)
    time.sleep(1.0)  # the last one's start is not to be paid by the first trials


@dataclass(frozen=True, kw_only=True)
class Account:
    """What was spent until a moment."""

    #: When, in seconds since 1970.
    moment: float
    #: Seconds that the workers were there, together.
    presence: float = 0.0
    #: SQL statements.
    n_statements: int = 0
    #: Transactions that were committed.
    n_commits: int = 0
    #: CPU seconds of the processes that own trials.
    workers: float
    #: CPU seconds of their child processes.
    trainers: float
    #: CPU seconds of the database server; None where there is none of ours.
    server: float | None
    #: CPU seconds of the whole machine.
    machine: float


def account_at_start(processes: Sequence[subprocess.Popen[bytes]], databases: Databases) -> Account:
    """Sum up what getting ready took."""
    watched = [psutil.Process(process.pid) for process in processes]
    return Account(
        moment=time.time(),
        workers=sum(map(cpu, watched)),
        trainers=sum(cpu(child) for one in watched for child in one.children(recursive=True)),
        server=databases.server_cpu(),
        machine=machine_cpu(),
    )


def account_at_end(folder: Path, databases: Databases) -> Account:
    """Sum up what the processes wrote down when they ended."""
    spent = [json.loads(path.read_text()) for path in folder.glob("spent-*.json")]
    return Account(
        moment=time.time(),
        presence=sum(one["seconds"] for one in spent),
        n_statements=sum(one["n_statements"] for one in spent),
        n_commits=sum(one["n_commits"] for one in spent),
        workers=sum(one["own_cpu"] for one in spent),
        trainers=sum(one["trainer_cpu"] for one in spent),
        server=databases.server_cpu(),
        machine=machine_cpu(),
    )


def ends_by_worker(trials: Sequence[FrozenTrial]) -> dict[int, float]:
    """Say when each worker of ours ended its last trial, by process id; plain ones do not tell."""
    ends: dict[int, float] = {}
    for trial in trials:
        if "pid" in trial.user_attrs and trial.datetime_complete is not None:
            worker, end = trial.user_attrs["pid"], trial.datetime_complete.timestamp()
            ends[worker] = max(end, ends.get(worker, 0.0))
    return ends


def run_study(system: System, url: str, setting: Setting, databases: Databases) -> Measurement:
    """Run one study from its creation to the end of its last process."""
    create(system, url, setting)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "seconds").write_text(str(setting.seconds))
        processes = [start(system, url, folder, setting) for _ in range(setting.n_workers)]
        for i, process in enumerate(processes):
            share = 0.0 if setting.together else i / setting.n_workers
            (folder / f"offset-{process.pid}").write_text(str(share * setting.seconds))
        try:
            wait_until_ready(folder, processes)
            before = account_at_start(processes, databases)
            (folder / "start.new").write_text(str(before.moment))
            (folder / "start.new").rename(folder / "start")
            n_died = sum(process.wait() != 0 for process in processes)
            after = account_at_end(folder, databases)
            begins = {
                process.pid: overhead_worker.turn_of(folder, process.pid) for process in processes
            }
        finally:
            for process in processes:
                process.kill()
                process.wait()
        if n_died:
            print((folder / "words").read_text()[-2_000:], file=sys.stderr)
    study = optuna.load_study(study_name=STUDY_NAME, storage=url)
    trials = study.get_trials(deepcopy=False)
    n_complete = sum(trial.state == optuna.trial.TrialState.COMPLETE for trial in trials)
    ends = [trial.datetime_complete for trial in trials if trial.datetime_complete is not None]
    wall = max(ends).timestamp() - before.moment
    # Ours stay until all trials are done, to take over those of workers that die.
    presence = sum(end - begins[worker] for worker, end in ends_by_worker(trials).items())
    workers, trainers = after.workers - before.workers, after.trainers - before.trainers
    has_server = before.server is not None and after.server is not None
    server = (after.server or 0.0) - (before.server or 0.0)
    elsewhere = after.machine - before.machine - workers - trainers - server
    n = max(1, n_complete)
    return Measurement(
        system=system,
        wall=wall,
        n_complete=n_complete,
        n_others=len(trials) - n_complete,
        n_died=n_died,
        busy_share=n_complete * setting.seconds / (presence or after.presence),
        statements=after.n_statements / n,
        commits=after.n_commits / n,
        worker_cpu=workers / n,
        trainer_cpu=trainers / n,
        server_cpu=server / n if has_server else None,
        server_cores=server / wall if has_server else None,
        statements_per_second=after.n_statements / wall,
        other_cores=elsewhere / (after.moment - before.moment),
    )


def print_table(setting: Setting, measured: Sequence[Measurement]) -> None:
    """Print one column a system, and their ratio where there are two."""
    print(
        f"\n{setting.storage}, {setting.n_workers} workers, {setting.trials_per_worker} trials of "
        f"{setting.seconds:g} s each; plain with the {setting.pruner} pruner"
    )
    is_pair = len(measured) == len(SYSTEMS)
    titles = [measurement.system for measurement in measured]
    print(f"{'':22}", *(f"{title:>9}" for title in titles), "ours/plain" if is_pair else "")
    for title, read, form in ROWS:
        values = [value for value in map(read, measured) if value is not None]
        if not values:
            continue
        ratio = f"{values[0] / values[1]:.2f}" if is_pair and values[1] else ""
        print(f"{title:22}", *(f"{form.format(v):>9}" for v in values), f"{ratio:>10}", flush=True)


def main() -> None:
    """Measure every number of workers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", default="1,4,16", help="numbers of them, with commas")
    parser.add_argument("--storage", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--trials-per-worker", type=int, default=3)
    parser.add_argument("--seconds", default="10", help="lengths of a trial, with commas")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="ours, plain or both")
    parser.add_argument("--together", action="store_true", help="all workers begin at once")
    parser.add_argument("--pruner", choices=list(PRUNERS), default="halving", help="plain's")
    parser.add_argument("--json", type=Path, help="add a line per study to this file")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    counts = [int(count) for count in given.workers.split(",")]
    lengths = [float(length) for length in given.seconds.split(",")]
    systems = [system for system in SYSTEMS if system in given.systems.split(",")]
    with databases_of(given.storage, n_workers=max(counts)) as databases:
        for seconds, n_workers in itertools.product(lengths, counts):
            setting = Setting(
                storage=given.storage,
                n_workers=n_workers,
                trials_per_worker=given.trials_per_worker,
                seconds=seconds,
                together=given.together,
                pruner=given.pruner,
            )
            measured = [
                run_study(system, databases.fresh(), setting, databases) for system in systems
            ]
            print_table(setting, measured)
            if given.json is not None:
                with given.json.open("a") as file:
                    for measurement in measured:
                        file.write(json.dumps(asdict(setting) | asdict(measurement)) + "\n")


if __name__ == "__main__":
    main()
