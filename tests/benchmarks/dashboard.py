"""What does the dashboard cost for a large study, beside plain optuna-dashboard?

Fills a study (10,000 trials of 10 reports unless told otherwise) and asks, as browsers do over a
socket, the answer that every page of a study needs: the first one, all trials, cold and warm; and
the further polls, what is newer. Times are of the whole way, from the request to the last byte;
bytes are what goes over the line. Then many viewers poll every 10 s, as the dashboard's script
does, while another process lets a few trials report; what counts is the CPU time of the serving
process. The same for `optuna_dashboard.wsgi` as its manual says, on the same server.

Plain optuna-dashboard is asked by one viewer only where more of them would take longer than the
measurement (``--all`` asks with all of them).

Run it from the repository's root; it takes 4 minutes::

    python -m tests.benchmarks.dashboard [--storage sqlite|postgres] [--trials N] [--viewers N]
"""

import argparse
import contextlib
import http.client
import itertools
import json
import multiprocessing
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from waitress.server import create_server

from tests import postgres
from tests.large_study import fill
from tuner.storage import Database

#: Trials that run and report.
N_RUNNING = 4
#: Seconds from one poll of a viewer to the next.
INTERVAL = 10.0
#: Polls of which the time is taken.
N_POLLS = 20


def serve_ours(storage: str, port: Any) -> None:
    """Serve the dashboard to somebody who is signed in already."""
    from tuner.dashboard import Address, Role, Settings
    from tuner.dashboard.server import N_THREADS, compose

    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.getsockname()[1]
        address = Address.of("127.0.0.1", number, None)
        app, _ = compose(Settings(storage=storage), address, lambda _: None)
        token = app._signing._sessions.open(Role.VIEWER)
        server = create_server(app, sockets=[listening], threads=N_THREADS)
        port.send((number, f"{address.cookie}={token}"))
        server.run()


def serve_plain(storage: str, port: Any) -> None:
    """Serve optuna-dashboard as it is, given a URL's storage."""
    import optuna_dashboard

    app = optuna_dashboard.wsgi(RDBStorage(storage, skip_table_creation=True))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = create_server(app, sockets=[listening], threads=8)
        port.send((listening.getsockname()[1], ""))
        server.run()


@contextlib.contextmanager
def serving(target: Any, storage: str) -> Iterator[tuple[psutil.Process, int, str]]:
    """Run a server in a process of its own."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=target, args=(storage, there))
    process.start()
    try:
        port, cookie = here.recv()
        yield psutil.Process(process.pid), port, cookie
    finally:
        process.terminate()
        process.join()


def ask(port: int, cookie: str, path: str) -> tuple[float, int]:
    """Ask once; give seconds and bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    headers = {"Accept-Encoding": "gzip", "Cookie": cookie}
    began = time.perf_counter()
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    took = time.perf_counter() - began
    assert answer.status == 200, body[:500]
    connection.close()
    return took, len(body)


def report_on(storage: str, stop: Any) -> None:
    """Let the trials that run report, each every few seconds."""
    opened = RDBStorage(storage, skip_table_creation=True)
    study_id = opened.get_study_id_from_name("big")
    trials = opened.get_all_trials(study_id, deepcopy=False)
    running = [trial._trial_id for trial in trials if trial.state == TrialState.RUNNING]
    for step in itertools.count(1000):
        if stop.wait(1.0):
            return
        opened.set_trial_intermediate_value(running[step % len(running)], step, 0.5)


def cpu(process: psutil.Process) -> float:
    """CPU seconds of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(
    name: str, target: Any, storage: str, *, n_trials: int, n_viewers: int, seconds: float
) -> dict[str, Any]:
    """Measure one kind of dashboard."""
    first, after = "/api/studies/1?after=0", f"/api/studies/1?after={n_trials - N_RUNNING}"
    found: dict[str, Any] = {"dashboard": name}
    with serving(target, storage) as (process, port, cookie):
        found["first_cold_s"], found["bytes"] = ask(port, cookie, first)
        # Ours was kept for twenty times as long as it took: asked for with another number, it is
        # worked out anew from what is warm.
        warm = [ask(port, cookie, f"/api/studies/1?after={n}")[0] for n in (1, 2, 3)]
        found["first_warm_s"] = statistics.median(warm)
        found["first_kept_s"] = ask(port, cookie, first)[0]
        polls = []
        for _ in range(N_POLLS):
            time.sleep(0.7)  # longer than a poll's answer is kept
            before = cpu(process)
            took, size = ask(port, cookie, after)
            polls.append((took, cpu(process) - before, size))
        found["poll_ms"] = 1000 * statistics.median(took for took, _, _ in polls)
        found["poll_cpu_ms"] = 1000 * statistics.mean(used for _, used, _ in polls)
        found["poll_bytes"] = polls[-1][2]
        found |= crowd(process, port, cookie, after, n_viewers=n_viewers, seconds=seconds)
    return found


def crowd(
    process: psutil.Process, port: int, cookie: str, path: str, *, n_viewers: int, seconds: float
) -> dict[str, Any]:
    """Let many viewers poll, each in its own time."""
    stop = threading.Event()
    waits: list[float] = []

    def view(place: int) -> None:
        stop.wait(INTERVAL * place / n_viewers)
        while not stop.is_set():
            waits.append(ask(port, cookie, path)[0])
            stop.wait(INTERVAL)

    viewers = [threading.Thread(target=view, args=(place,)) for place in range(n_viewers)]
    before, began = cpu(process), time.perf_counter()
    for viewer in viewers:
        viewer.start()
    time.sleep(seconds)
    used, took = cpu(process) - before, time.perf_counter() - began
    stop.set()
    for viewer in viewers:
        viewer.join()
    return {
        "viewers": n_viewers,
        "cores": used / took,
        "polls": len(waits),
        "slowest_poll_ms": 1000 * max(waits),
    }


def main() -> None:
    """Measure both and print a line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--storage", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--all", action="store_true", help="all viewers also ask the plain one")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if arguments.storage == "postgres":
            url = stack.enter_context(postgres.own_server()).url
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            url = f"sqlite:///{Path(folder) / 'tuner.db'}"
        with Database.open(url, create=True) as database:
            fill(database, n_trials=arguments.trials, n_running=N_RUNNING)
        context = multiprocessing.get_context("spawn")
        stop = context.Event()
        reporter = context.Process(target=report_on, args=(url, stop))
        reporter.start()
        stack.callback(reporter.join)
        stack.callback(stop.set)
        for name, target in (("ours", serve_ours), ("plain", serve_plain)):
            n_viewers = arguments.viewers if name == "ours" or arguments.all else 1
            found = measure(
                name,
                target,
                url,
                n_trials=arguments.trials,
                n_viewers=n_viewers,
                seconds=arguments.seconds,
            )
            print(
                json.dumps(
                    {k: round(v, 4) if isinstance(v, float) else v for k, v in found.items()}
                )
            )


if __name__ == "__main__":
    main()
