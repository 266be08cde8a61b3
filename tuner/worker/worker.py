"""The only loop that runs trials: claim a slot, open its trial, have it trained, close it."""

import contextlib
import logging
import os
import random
import secrets
import select
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from tuner.checkpoints import CheckpointStore
from tuner.errors import (
    InputError,
    LostSlotError,
    StudyNotFoundError,
    TrainerError,
    TunerError,
)
from tuner.host import this_process, versions
from tuner.storage import (
    LEASE,
    Claim,
    Database,
    PointTakenError,
    Proposal,
    Slots,
    StoredStudy,
    TrialEndedOutsideError,
    agree_on_data,
    other_versions,
)
from tuner.storage.history import History
from tuner.strategy import propose
from tuner.worker.keeper import TrainerKeeper
from tuner.worker.messages import Prepare, Ready
from tuner.worker.outage import Outage
from tuner.worker.process import TrainerProcess
from tuner.worker.trial_run import TrialRun

log = logging.getLogger(__name__)

#: Makes the objective that trains Keras GRUs.
GRU_OBJECTIVE = "tuner.worker.trainer:gru_objective"

#: Seconds between looks for a slot while others hold all that are left.
IDLE_SECONDS = 2.0
#: Seconds after a signal at which the worker ends, whatever it waits for.
LAST_SECONDS = 9.0


class InterruptedWorkerError(TunerError):
    """A signal ended the worker; its trial was handed back."""

    def __init__(self, signal_number: int) -> None:
        name = signal.Signals(signal_number).name
        super().__init__(f"Stopped by {name}; a trial that ran was handed back.")
        self.exit_code = 128 + signal_number


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How a worker works."""

    #: Threads for the training.
    threads: int
    #: ``module:function`` that makes the objective from a `Prepare` and a stop event.
    objective: str = GRU_OBJECTIVE
    #: Folder in which relative data paths are looked up first.
    data_root: Path | None = None
    #: Folder for checkpoints, best shared by all workers; None for none.
    artifacts: Path | None = None
    #: Time from one checkpoint of a training to the next.
    checkpoint_seconds: float = 30.0
    #: Seconds that a slot stays ours without a sign of life.
    lease: float = LEASE
    #: Seconds to wait for a database that is away.
    patience: float = 3600.0
    #: Seconds without a step after which a trainer counts as hung; three times that for the first.
    hang_seconds: float = 300.0
    #: Whether to refuse a study that began with other versions of the packages.
    same_versions: bool = False


class Worker:
    """Runs trials of one study until none is left.

    It holds the database and the lease and never imports TensorFlow; a trainer, its child process,
    does the training, so that whatever kills a training leaves the worker alive to record it.
    A process has one worker: what it holds is recognised by its process.

    Args:
        database: Where the study is.
        study: The study.
        options: How to work.
        environment: What the trainer's environment is chosen from.
    """

    def __init__(
        self,
        database: Database,
        study: StoredStudy,
        *,
        options: WorkerOptions,
        environment: Mapping[str, str],
    ) -> None:
        self.database = database
        self.study = study
        self.config = study.config
        self.options = options
        self.environment = environment
        self.holder = this_process()
        self.slots = Slots(database, study, holder=self.holder, lease=options.lease)
        self._history = History(database, study.study_id)
        self.store = CheckpointStore(options.artifacts, study.key) if options.artifacts else None
        self._outage = Outage(
            patience=options.patience,
            lease=options.lease,
            when_lost=self.slots.database_was_away,
            pause=self._pause,
        )
        self._device = ""
        self._signal: int | None = None
        self._wake_reads, self._wake_writes = os.pipe()
        os.set_blocking(self._wake_reads, False)
        self._keeper = TrainerKeeper(
            options.objective,
            Prepare(
                config=self.config.to_json(),
                data_root=str(options.data_root) if options.data_root else None,
                threads=options.threads,
            ),
            environment=environment,
            wake=self._wake_reads,
            check=self._check_signal,
            when_ready=self._meet_trainer,
        )

    # --- from outside --------------------------------------------------------------------------

    def interrupt(self, signal_number: int) -> None:
        """End the worker soon, from a signal handler or another thread."""
        self._signal = signal_number
        os.write(self._wake_writes, b"!")

    def handle_signals(self, end_process: Callable[[int], None]) -> None:
        """Let SIGINT and SIGTERM hand the trial back.

        Args:
            end_process: Called with an exit code at the second signal, when somebody does not
                want to wait, and when handing back takes too long: the lease ends by itself then.
        """

        def handler(number: int, _frame: FrameType | None) -> None:
            if self._signal is not None:
                end_process(128 + number)
            signal.setitimer(signal.ITIMER_REAL, LAST_SECONDS)
            self.interrupt(number)

        signal.signal(signal.SIGALRM, lambda *_: end_process(128 + (self._signal or 0)))
        signal.signal(signal.SIGINT, handler)
        signal.signal(signal.SIGTERM, handler)

    # --- the loop --------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until the study is over.

        Raises:
            InterruptedWorkerError: A signal came; the trial was handed back.
            InputError: The study cannot be trained here, or was deleted.
            StorageUnavailableError: The database was away for too long.
            TrainerError: Trainings fail in a way that more trials would not mend.
        """
        try:
            self._outage.bridge(self._compare_versions)
            self._sweep()
            while self._keeper.has_trainer or not self._outage.bridge(self.slots.is_over):
                self._check_signal()
                # A lease begins when a trial can: preparing the data may take minutes.
                trainer = self._keeper.ready()
                if not self._run_one(trainer) and self._is_over_or_wait():
                    break
            self._sweep()
            self._say_why_over()
        finally:
            self._keeper.end()

    def _run_one(self, trainer: TrainerProcess) -> bool:
        """Claim a slot and have it trained; say whether there was one."""
        token = secrets.randbits(63)
        claim = self._outage.bridge(lambda: self.slots.claim(token))
        if claim is None:
            return False
        run: TrialRun | None = None
        try:
            if claim.trial_id is None:
                claim = self._open(claim)
            run = self._trial_run(claim)
            run.run(trainer)
        except (LostSlotError, TrialEndedOutsideError) as error:
            # Whatever we still had for the trial counts no more; the next one may.
            log.warning("trial %s: %s", claim.number, error)
            if run is not None:
                run.free_trainer()
        except StudyNotFoundError:
            raise  # nothing is there that a slot could be handed back to
        except BaseException:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_reads, 4096)  # what woke us is known
            (run or self._trial_run(claim)).hand_back()
            raise
        return True

    def _trial_run(self, claim: Claim) -> TrialRun:
        return TrialRun(
            database=self.database,
            study=self.study,
            slots=self.slots,
            claim=claim,
            keeper=self._keeper,
            outage=self._outage,
            store=self.store,
            facts=self._facts(),
            checkpoint_seconds=self.options.checkpoint_seconds,
            hang_seconds=self.options.hang_seconds,
            check=self._check_signal,
        )

    def _open(self, claim: Claim) -> Claim:
        """Propose a point and create the trial."""
        while True:
            proposal = self._outage.bridge(lambda: self._propose(claim))
            try:
                return self._outage.bridge(partial(self.slots.open, claim, proposal))
            except PointTakenError:  # another worker was faster: look again
                continue

    def _is_over_or_wait(self) -> bool:
        if self._outage.bridge(self.slots.is_over):
            return True
        self._pause(min(IDLE_SECONDS, self.options.lease / 10) * (0.5 + random.random()))  # noqa: S311 - jitter
        return False

    def _propose(self, claim: Claim) -> Proposal:
        finite = self.config.space.size() is not None
        taken = self.slots.taken_points(except_slot=claim.slot) if finite else ()
        trial, params = propose(
            self._history.read,
            self.config,
            slot=claim.slot,
            planned=claim.planned,
            taken=taken,
        )
        return Proposal(trial=trial, params=params.model_dump(), unique=finite)

    # --- before and after ------------------------------------------------------------------------

    def _compare_versions(self) -> None:
        """See whether the study's values were and will be made by the same software.

        Raises:
            InputError: They were not, and the options ask for that.
        """
        others = other_versions(self.database, self.study, versions())
        if not others:
            return
        listed = ", ".join(f"{name} {was} -> {here}" for name, (was, here) in others.items())
        if self.options.same_versions:
            raise InputError(
                f"Study {self.config.name!r} began with other versions: {listed}. Install those, "
                f"or leave out --same-versions."
            )
        log.warning("The study began with other versions, values may differ: %s", listed)

    def _meet_trainer(self, ready: Ready) -> None:
        for note in ready.notes:
            log.warning("%s", note)
        if ready.fingerprint:
            self._outage.bridge(lambda: agree_on_data(self.database, self.study, ready.fingerprint))
        self._device = ready.device

    def _sweep(self) -> None:
        """Remove checkpoints that nobody needs, also those of workers that were killed."""
        if self.store is not None:
            self.store.sweep(self._outage.bridge(self.slots.unfinished))

    def _say_why_over(self) -> None:
        standing = self._outage.bridge(self.slots.standing)
        if standing.ended == "bug":
            raise TrainerError(standing.message)
        if standing.ended is not None:
            log.info("the study ended before its budget: %s", standing.message)

    def _facts(self) -> dict[str, Any]:
        """What is worth knowing of where a trial ran."""
        return {
            "host": socket.gethostname(),
            "pid": self.holder.pid,
            "worker": self.holder.name,
            "device": self._device,
            "threads": self.options.threads,
            "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        }

    # --- waiting -------------------------------------------------------------------------------

    def _check_signal(self) -> None:
        if self._signal is not None:
            raise InterruptedWorkerError(self._signal)

    def _pause(self, seconds: float) -> None:
        select.select([self._wake_reads], [], [], seconds)
        self._check_signal()
