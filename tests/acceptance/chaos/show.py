"""A whole run: studies one after the other, with trouble, until all kills are used up."""

import logging
import os
import random
import signal
import statistics
import time
from collections.abc import Callable, Iterator

from tests.acceptance.chaos.again import train_again
from tests.acceptance.chaos.certificate import Certificate, Check, merged
from tests.acceptance.chaos.checks import check_formula, check_study, check_trained_again
from tests.acceptance.chaos.crew import GRACE_SECONDS, Crew
from tests.acceptance.chaos.ledger import Ledger
from tests.acceptance.chaos.plan import Plan
from tests.acceptance.chaos.processes import marked
from tests.acceptance.chaos.rows import read_rows
from tests.acceptance.chaos.stage import Stage, set_up
from tests.acceptance.chaos.trouble import Troubles
from tests.acceptance.chaos.watch import Watch
from tuner.storage import Database, StoredStudy, create_study

log = logging.getLogger(__name__)

#: Seconds between two looks at the slots.
LOOK_EVERY = 0.2
#: Seconds that workers have to see that their study is done, and trainers to end with them.
SECONDS_TO_END = 30.0
#: Share of the kills that should hit the inside of an operation, at least ...
SHARE_INSIDE = 0.05
#: ... where there are so many that chance does not decide.
MANY_KILLS = 500


def run(plan: Plan) -> Certificate:
    """Make chaos as planned and certify what came of it.

    Raises:
        NoPostgresError: There is no Postgres to be run.
    """
    with set_up(plan) as stage:
        show = Show(plan, stage)
        try:
            return show.run()
        finally:
            show.end()


class Show:
    """One run.

    Args:
        plan: What to do.
        stage: Where.
    """

    def __init__(self, plan: Plan, stage: Stage) -> None:
        self.plan = plan
        self.stage = stage
        self.ledger = Ledger()
        self.watch = Watch(stage.url)
        self.crew = Crew(plan, stage)
        self.troubles = Troubles(plan, stage, self.crew, self.watch, self.ledger)
        self._next_look = 0.0

    def run(self) -> Certificate:
        """Run studies until the kills are used up."""
        started = time.monotonic()
        checks: list[Check] = []
        n_studies = n_stuck = 0
        while not n_stuck and (n_studies == 0 or not self.troubles.is_over):
            with Database.open(self.stage.url, create=True) as database:
                config = self.plan.kind.config(
                    f"chaos-{n_studies}", self.plan.n_slots, self.plan.seed + n_studies
                )
                study = create_study(database, config).study
            n_studies += 1
            if not self._until_done(study):
                n_stuck += 1
            checks += self._end_of_study(study)
            log.info("study %d: %d kills so far", n_studies, self.ledger.n_kills)
        checks += self._checks_of_run()
        facts = self._facts(n_studies, time.monotonic() - started)
        return Certificate(
            checks=tuple(merged(checks)), facts=facts, skipped=tuple(self.stage.skipped)
        )

    def end(self) -> None:
        """Leave no process behind."""
        self.troubles.mend_all()
        for worker in self.crew.workers:
            self.crew.kill(worker, "at the end")
        for pid in marked(self.stage.folder / "mark"):
            _kill(pid)
        self.watch.close()

    # --- one study -------------------------------------------------------------------------------

    def _until_done(self, study: StoredStudy) -> bool:
        """Let the crew work amid trouble; say whether the study was finished."""
        self.crew.turn_to(study.config.name)
        self.watch.turn_to(study.study_id)
        while self.watch.n_done < self.plan.n_slots:
            self._bury()
            if self.stage.is_up:
                self.crew.fill_up(may_be_doomed=not self.troubles.is_over)
            self.troubles.tick()
            if self.stage.is_up and time.monotonic() >= self._next_look:
                self.watch.look(self.stage.up_since)
                self._next_look = time.monotonic() + LOOK_EVERY
            if time.monotonic() > self.watch.moved_at + self.plan.kind.patience:
                return False
            time.sleep(0.02)
        return True

    def _bury(self) -> None:
        ended = self.crew.bury()
        if ended and self.stage.is_up:
            self.watch.look(self.stage.up_since)  # what the dead hold does not change any more
        for end in ended:
            self.ledger.note(end)
            killed_at = end.worker.killed_at
            if end.death is not None:
                killed_at = time.monotonic() - (time.time() - end.death.time)
            if killed_at is not None:
                self.watch.worker_died(end.worker.name, killed_at)

    def _end_of_study(self, study: StoredStudy) -> Iterator[Check]:
        self.troubles.mend_all()
        name = study.config.name

        def all_ended() -> bool:
            self._bury()
            return not self.crew.workers

        ended = _wait_until(all_ended, SECONDS_TO_END)
        late = [f"{name}: {worker.name}" for worker in self.crew.workers]
        for worker in self.crew.workers:
            self.crew.kill(worker, "after the study")
        _wait_until(all_ended, SECONDS_TO_END)
        yield Check(
            name="workers end when their study is done",
            n_checked=self.plan.workers,
            problems=() if ended else tuple(late),
        )
        if ended:  # one more sweeps away what the others left
            self.crew.start(0.0)
            _wait_until(all_ended, SECONDS_TO_END)
        self.watch.look(self.stage.up_since)
        rows = read_rows(self.watch.engine, study.study_id)
        # `Database.open` looks into a SQLite file, and closing that drops the locks of every other
        # connection of this process: none may be open when the next study is created.
        self.watch.close()
        yield from check_study(name, rows, self.plan.n_slots)
        n_again = self.plan.kind.n_trained_again
        if n_again is None:
            yield from check_formula(name, rows)
            return
        complete = [trial for trial in rows.trials.values() if trial.state == "COMPLETE"]
        generator = random.Random(f"{self.plan.seed}/{name}")  # noqa: S311 - no secret
        sample = generator.sample(complete, min(n_again, len(complete)))
        yield check_trained_again(
            name, rows, sample, lambda params: train_again(study.config, params)
        )

    # --- the whole run ---------------------------------------------------------------------------

    def _checks_of_run(self) -> Iterator[Check]:
        ledger, watch = self.ledger, self.watch
        yield Check(
            name="no slot that was done came back",
            n_checked=ledger.ends.total(),
            problems=(f"{watch.n_undone} slots",) if watch.n_undone else (),
        )
        yield Check(
            name="workers ended only as they may",
            n_checked=ledger.ends.total(),
            problems=tuple(f"{n} times: {how}" for how, n in ledger.surprises.items())
            + self._last_words(),
        )
        yield Check(
            name=f"workers ended within {GRACE_SECONDS:.0f} s of SIGTERM",
            n_checked=len(ledger.seconds_to_end),
            problems=tuple(f"{s:.1f} s" for s in ledger.seconds_to_end if s > GRACE_SECONDS),
            note=_summary(ledger.seconds_to_end),
        )
        promise = 2 * self.plan.lease
        slow = [seconds for seconds in watch.recoveries if seconds > promise + LOOK_EVERY]
        yield Check(
            name=f"a dead worker's trial went on within two leases, {promise:g} s, of a database "
            "that can be written",
            n_checked=len(watch.recoveries),
            problems=tuple(f"after {seconds:.1f} s" for seconds in slow)
            + ((f"{watch.n_abandoned} never",) if watch.n_abandoned else ()),
            note=_summary(watch.recoveries),
        )
        left: list[int] = []

        def none_is_left() -> bool:
            left[:] = marked(self.stage.folder / "mark")
            return not left

        _wait_until(none_is_left, SECONDS_TO_END)
        yield Check(
            name="no trainer is left",
            n_checked=self.crew.n_started,
            problems=tuple(f"process {pid}" for pid in left),
        )
        files = [path for path in self.stage.artifacts.rglob("*") if path.is_file()]
        yield Check(
            name="no file is left among the artifacts",
            n_checked=1,
            problems=tuple(str(path.relative_to(self.stage.artifacts)) for path in files),
        )
        n_kills, n_wanted = ledger.n_kills, self.plan.kills
        yield Check(
            name=f"at least {n_wanted} processes were killed",
            n_checked=n_kills,
            problems=(f"only {n_kills}",) if n_kills < n_wanted else (),
        )
        if n_wanted >= MANY_KILLS:
            yield Check(
                name=f"at least {SHARE_INSIDE:.0%} of them inside an operation on slots",
                n_checked=ledger.n_inside,
                problems=("too few",) if ledger.n_inside < SHARE_INSIDE * n_wanted else (),
            )

    def _last_words(self) -> tuple[str, ...]:
        """The errors that workers ended with, where they should not have."""
        words = self.stage.folder / "words"
        if not self.ledger.surprises or not words.exists():
            return ()
        lines = words.read_text(errors="replace").splitlines()
        errors = [line for line in lines if "Error" in line and "InterruptedWorker" not in line]
        return tuple(line[:240] for line in errors[-5:])

    def _facts(self, n_studies: int, seconds: float) -> dict[str, float | str | dict[str, int]]:
        ledger = self.ledger
        return {
            "storage": self.plan.storage,
            "objective": self.plan.objective,
            "seed": self.plan.seed,
            "minutes": round(seconds / 60, 1),
            "studies": n_studies,
            "slots": n_studies * self.plan.n_slots,
            "workers started": self.crew.n_started,
            "kills": ledger.n_kills,
            "workers killed from outside, by what they did": dict(ledger.workers),
            "trainers killed, by what their workers did": dict(ledger.trainers),
            "workers killed inside an operation": dict(ledger.inside),
            "workers killed inside an operation, by statement": dict(ledger.statements),
            "other troubles": dict(ledger.others),
            "ends of workers": dict(ledger.ends),
        }


def _summary(seconds: list[float]) -> str:
    if not seconds:
        return ""
    return f"median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s"


def _wait_until(is_true: Callable[[], bool], seconds: float) -> bool:
    """Wait for something, at most so long; say whether it came."""
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # it ended by itself
        return
