"""The workers: real processes, each replaced by a new one when it ended before its study."""

import multiprocessing
import os
import random
import signal
import socket
import time
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.acceptance.chaos.deaths import Death, read_deaths
from tests.acceptance.chaos.member import Member, work
from tests.acceptance.chaos.plan import Plan
from tests.acceptance.chaos.stage import Stage

#: Share of the workers that will kill themselves inside an operation.
DOOMED = 0.3
#: Seconds in which a worker ends after SIGTERM.
GRACE_SECONDS = 10.0


@dataclass(kw_only=True)
class Worker:
    """A worker process and what was done to it."""

    #: The process.
    process: ForkServerProcess
    #: As it is called in the slots table.
    name: str
    #: When it was started; epoch seconds.
    started: float
    #: When we sent SIGKILL; seconds of the monotonic clock.
    killed_at: float | None = None
    #: What it was doing then.
    killed_while: str = ""
    #: When we sent SIGTERM; seconds of the monotonic clock.
    terminated_at: float | None = None
    #: Whether we have stopped it or its trainer for a while.
    is_frozen: bool = False

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid or 0

    @property
    def is_left_alone(self) -> bool:
        """Whether trouble may come to it."""
        return self.killed_at is None and self.terminated_at is None and not self.is_frozen


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a worker ended."""

    #: Who.
    worker: Worker
    #: In words, for counting.
    how: str
    #: Whether that is one of the ways in which a worker may end.
    is_expected: bool
    #: Its last words, where it killed itself.
    death: Death | None
    #: From SIGTERM to the end; None where there was none.
    seconds_to_end: float | None


class Crew:
    """Keeps some workers at work on one study after the other.

    Args:
        plan: How many, and how.
        stage: Where.
    """

    def __init__(self, plan: Plan, stage: Stage) -> None:
        self._plan = plan
        self._stage = stage
        self._generator = random.Random(f"{plan.seed}/crew")  # noqa: S311 - no secret
        # Forked from a process that has imported everything: a start costs 0.1 s, not 1.5.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.acceptance.chaos.member"])
        self._study = ""
        #: Those that live.
        self.workers: list[Worker] = []
        #: How many were started.
        self.n_started = 0

    def turn_to(self, study: str) -> None:
        """Work on another study from now on."""
        self._study = study

    def fill_up(self, *, may_be_doomed: bool) -> None:
        """Start workers until the crew is complete."""
        while len(self.workers) < self._plan.workers:
            doomed = may_be_doomed and self._generator.random() < DOOMED
            self.start(self._plan.die_probability if doomed else 0.0)

    def start(self, die_probability: float) -> Worker:
        """Start one worker."""
        plan, stage = self._plan, self._stage
        self.n_started += 1
        member = Member(
            storage=stage.url,
            study=self._study,
            objective=plan.kind.objective,
            artifacts=stage.artifacts,
            lease=plan.lease,
            die_probability=die_probability,
            seed=f"{plan.seed}/{self.n_started}",
            deaths=stage.folder / "deaths",
            ready=stage.folder / "ready",
            words=stage.folder / "words",
            mark=stage.folder / "mark",
        )
        process = self._context.Process(target=work, args=(member,))
        process.start()
        name = f"{socket.gethostname()}:{process.pid}"
        worker = Worker(process=process, name=name, started=time.time())
        self.workers.append(worker)
        return worker

    def is_ready(self, worker: Worker) -> bool:
        """Say whether a worker minds signals yet."""
        return self._ready_file(worker).exists()

    def _ready_file(self, worker: Worker) -> Path:
        return self._stage.folder / "ready" / str(worker.pid)

    def kill(self, worker: Worker, while_: str) -> None:
        """Kill a worker without a word."""
        worker.killed_at = time.monotonic()
        worker.killed_while = while_
        _signal(worker.pid, signal.SIGKILL)

    def terminate(self, worker: Worker) -> None:
        """Ask a worker to hand its trial back and end."""
        worker.terminated_at = time.monotonic()
        _signal(worker.pid, signal.SIGTERM)

    def bury(self) -> list[Ended]:
        """Take those that have ended out of the crew, and those that never end after SIGTERM."""
        now = time.monotonic()
        for worker in self.workers:
            late = worker.terminated_at is not None and now > worker.terminated_at + 20.0
            if late and worker.killed_at is None:
                self.kill(worker, "deaf to SIGTERM")
        ended = [worker for worker in self.workers if worker.process.exitcode is not None]
        if not ended:
            return []
        self.workers = [worker for worker in self.workers if worker not in ended]
        deaths = read_deaths(self._stage.folder / "deaths")
        explained = [self._explain(worker, deaths) for worker in ended]
        for worker in ended:
            self._ready_file(worker).unlink(missing_ok=True)  # process ids come again
        return explained

    def _explain(self, worker: Worker, deaths: list[Death]) -> Ended:
        code = worker.process.exitcode
        own = [d for d in deaths if d.pid == worker.pid and d.time >= worker.started]
        took = None
        if worker.terminated_at is not None:
            took = time.monotonic() - worker.terminated_at
        how, expected = f"exit code {code}, unasked", False
        if code == -signal.SIGKILL and own:
            how, expected = "killed inside an operation", True
        elif code == -signal.SIGKILL and worker.killed_while == "deaf to SIGTERM":
            how = "did not end after SIGTERM"
        elif code == -signal.SIGKILL and worker.killed_at is not None:
            how, expected = "killed from outside", True
        elif code == 128 + signal.SIGTERM and took is not None:
            how, expected = "143, stopped by SIGTERM", took <= GRACE_SECONDS
        elif code == 0:
            how, expected = "0, the study was done", True
        elif code == 3 and not self.is_ready(worker):
            how, expected = "3, no database when it began", True
        return Ended(
            worker=worker,
            how=how,
            is_expected=expected,
            death=own[-1] if own and code == -signal.SIGKILL else None,
            seconds_to_end=took,
        )


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # it ended first
        return
