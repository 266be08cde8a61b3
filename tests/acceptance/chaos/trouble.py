"""The trouble makers: who is struck by what, and when."""

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.chaos.crew import Crew, Worker
from tests.acceptance.chaos.ledger import Ledger
from tests.acceptance.chaos.plan import Plan
from tests.acceptance.chaos.processes import trainers_of
from tests.acceptance.chaos.stage import Stage
from tests.acceptance.chaos.watch import Watch

#: Cards of each trouble in a deck that is shuffled and dealt to its end: each one comes.
CARDS = {
    "kill worker": 10,
    "kill trainer": 9,
    "freeze": 2,
    "terminate": 2,
    "tear checkpoint": 1,
    "fill disk": 1,
}
#: What a victim is preferred to be doing.
PLACES = {
    "trial running": 0.70,
    "trainer starting": 0.12,
    "trial opening": 0.06,
    "between trials": 0.08,
    "worker starting": 0.04,
}
#: Seconds to look for a victim that does this, before anybody will do.
SECONDS_TO_LOOK = 2.0


@dataclass(frozen=True, kw_only=True)
class _Wish:
    """A trouble that waits for its victim."""

    trouble: str
    place: str
    deadline: float


class Troubles:
    """Makes trouble until the plan's kills are used up.

    Args:
        plan: How much, and how often.
        stage: Database and disk.
        crew: The victims.
        watch: What they do.
        ledger: What is done is written there.
    """

    def __init__(self, plan: Plan, stage: Stage, crew: Crew, watch: Watch, ledger: Ledger) -> None:
        self._plan = plan
        self._stage = stage
        self._crew = crew
        self._watch = watch
        self._ledger = ledger
        self._generator = random.Random(f"{plan.seed}/trouble")  # noqa: S311 - no secret
        self._wish: _Wish | None = None
        self._next = 0.0
        #: What mends earlier trouble, and when.
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._n_restarts = plan.restarts if stage.server else 0
        possible = {
            "tear checkpoint": plan.tear_checkpoints,
            "fill disk": stage.disk is not None,
        }
        self._cards = [
            trouble
            for trouble, n_cards in CARDS.items()
            for _ in range(n_cards)
            if possible.get(trouble, True)
        ]
        self._deck: list[str] = []

    @property
    def is_over(self) -> bool:
        """Say whether the kills are used up and the server was restarted often enough."""
        enough = self._ledger.n_kills >= self._plan.kills
        return enough and self._ledger.others["restart server"] >= self._n_restarts

    def tick(self) -> None:
        """Do what is to be done now; call it many times a second."""
        now = time.monotonic()
        self._mend(now)
        if self.is_over:
            return
        if self._restart_is_due():
            self._restart(now)
        if self._wish is None and now >= self._next:
            if not self._deck:
                self._deck = self._generator.sample(self._cards, len(self._cards))
            (place,) = self._generator.choices(list(PLACES), list(PLACES.values()))
            self._wish = _Wish(
                trouble=self._deck.pop(), place=place, deadline=now + SECONDS_TO_LOOK
            )
        if self._wish is not None and self._fulfil(self._wish, now):
            self._wish = None
            self._next = now + self._generator.expovariate(self._plan.rate)

    def mend_all(self) -> None:
        """End all trouble that lasts."""
        self._mend(float("inf"))

    def _mend(self, now: float) -> None:
        for due, mend in [entry for entry in self._due if entry[0] <= now]:
            self._due.remove((due, mend))
            mend()

    # --- the server and the disk -----------------------------------------------------------------

    def _restart_is_due(self) -> bool:
        n_done = self._ledger.others["restart server"]
        share = self._ledger.n_kills / self._plan.kills
        return (
            self._stage.is_up
            and n_done < self._n_restarts
            and share >= (n_done + 1) / (self._n_restarts + 1)
        )

    def _restart(self, now: float) -> None:
        self._stage.stop_server()
        self._ledger.others["restart server"] += 1
        pause = self._generator.uniform(0.2, self._plan.lease)
        self._due.append((now + pause, self._stage.start_server))

    def _fill_disk(self, now: float) -> None:
        self._stage.fill_disk()
        self._ledger.others["fill disk"] += 1
        self._due.append((now + self._generator.uniform(0.5, 3.0), self._stage.empty_disk))

    def _tear_checkpoint(self) -> None:
        """Damage a newest checkpoint, and kill the worker that wrote it."""
        newest = _newest_checkpoints(self._stage.artifacts)
        if not newest:
            self._ledger.others["tear checkpoint: there was none"] += 1
            return
        torn = self._generator.choice(newest)
        try:
            _damage(torn, self._generator)
        except FileNotFoundError:  # its trial ended
            return
        self._ledger.others["tear checkpoint"] += 1
        for worker in self._crew.workers:
            held = self._watch.held_by(worker.name)
            if held is not None and str(held.token) in torn.parts and worker.is_left_alone:
                self._crew.kill(worker, "checkpoint torn")

    # --- processes -------------------------------------------------------------------------------

    def _fulfil(self, wish: _Wish, now: float) -> bool:
        """Make the trouble, where a victim is found."""
        match wish.trouble:
            case "fill disk":
                self._fill_disk(now)
                return True
            case "tear checkpoint":
                self._tear_checkpoint()
                return True
        if self._stage.is_up:
            self._watch.look(self._stage.up_since)
        left_alone = [worker for worker in self._crew.workers if worker.is_left_alone]
        fitting = [w for w in left_alone if self._watch.place_of(w.name) == wish.place]
        if not fitting and (now < wish.deadline or not left_alone):
            return False
        victim = self._generator.choice(fitting or left_alone)
        place = self._watch.place_of(victim.name) if self._stage.is_up else "database away"
        match wish.trouble:
            case "kill worker":
                self._crew.kill(victim, place)
            case "kill trainer":
                self._kill_trainers(victim, place)
            case "freeze":
                self._freeze(victim, now)
            case _:
                if self._crew.is_ready(victim):
                    self._crew.terminate(victim)
                    self._ledger.others["SIGTERM worker"] += 1
        return True

    def _kill_trainers(self, worker: Worker, place: str) -> None:
        for pid in trainers_of(worker.pid):
            if not _send(pid, signal.SIGKILL):
                continue
            self._ledger.trainers[place] += 1
        self._watch.trainer_died(worker.name)

    def _freeze(self, worker: Worker, now: float) -> None:
        """Stop a worker beyond its lease, its trainer for some time, or both."""
        trainers = trainers_of(worker.pid)
        groups = [[worker.pid], [worker.pid, *trainers], trainers or [worker.pid]]
        stopped = self._generator.choice(groups)
        seconds = self._plan.lease * self._generator.uniform(1.2, 2.0)
        for pid in stopped:
            _send(pid, signal.SIGSTOP)
        names = {True: "worker", False: "trainer"}
        what = " and ".join(sorted({names[pid == worker.pid] for pid in stopped}, reverse=True))
        self._ledger.others[f"freeze {what}"] += 1
        worker.is_frozen = True

        def thaw() -> None:
            worker.is_frozen = False
            for pid in stopped:
                _send(pid, signal.SIGCONT)

        self._due.append((now + seconds, thaw))


def _send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; say whether the process was still there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # it ended by itself, or with its worker
        return False
    return True


def _newest_checkpoints(artifacts: Path) -> list[Path]:
    """List the newest checkpoint of each folder."""
    newest: dict[Path, tuple[float, Path]] = {}
    for path in artifacts.rglob("*.ckpt"):
        try:
            modified = path.stat().st_mtime
        except FileNotFoundError:  # replaced by a newer one
            continue
        newest[path.parent] = max(newest.get(path.parent, (0.0, path)), (modified, path))
    return sorted(path for _, path in newest.values())


def _damage(path: Path, generator: random.Random) -> None:
    """Cut a file short, or turn some of its bytes."""
    size = path.stat().st_size
    if size == 0 or generator.random() < 0.5:
        os.truncate(path, generator.randrange(size + 1))
        return
    with path.open("r+b") as file:
        for _ in range(generator.randint(1, 20)):
            place = generator.randrange(size)
            file.seek(place)
            (byte,) = file.read(1)
            file.seek(place)
            file.write(bytes([byte ^ generator.randint(1, 255)]))
