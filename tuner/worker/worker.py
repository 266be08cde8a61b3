"""The only loop that runs trials: claim a slot, open its trial, have it trained, close it."""

import logging
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tuner.bucket import Bucket
from tuner.config import StudyConfig
from tuner.confirmation import Task
from tuner.errors import (
    LostSlotError,
    NoPointLeftError,
    StudyNotFoundError,
    StudyStoppedError,
)
from tuner.gpus import Gpu
from tuner.host import this_process, versions
from tuner.mirror import open_store
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
)
from tuner.storage.adoption import Watch
from tuner.storage.confirming import read_task
from tuner.storage.history import History
from tuner.storage.openings import Opening, read_opening
from tuner.strategy import check_sampler, propose
from tuner.worker.fetching import fetched
from tuner.worker.interruption import InterruptedWorkerError, Interruption
from tuner.worker.keeper import TrainerKeeper
from tuner.worker.messages import Prepare, Ready
from tuner.worker.outage import Outage
from tuner.worker.process import TrainerProcess
from tuner.worker.trial_run import TrialRun
from tuner.worker.versions import compare_versions
from tuner.worker.waiting import wait_for_slot

log = logging.getLogger(__name__)

#: Makes the objective that trains Keras GRUs.
GRU_OBJECTIVE = "tuner.worker.gru:gru_objective"

#: Seconds to wait for an object store at the end.
CLOSE_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How a worker works."""

    #: Threads for the training.
    threads: int
    #: GPU to train on; None for none: then the trainer sees none.
    gpu: Gpu | None = None
    #: MiB of it that the trainer may take; None for as much as it needs.
    memory_limit_mb: int | None = None
    #: Whether to refuse to train on the processor where TensorFlow does not find the GPU.
    require_gpu: bool = False
    #: ``module:function`` that makes the objective from a `Prepare` and a stop event.
    objective: str = GRU_OBJECTIVE
    #: Folder in which relative data paths are looked up first.
    data_root: Path | None = None
    #: Folder for checkpoints, best shared by all workers, or in an object store; None for none.
    artifacts: Path | Bucket | None = None
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


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a worker that serves many studies wants of its time at one of them."""

    #: Called when a trainer is ready: the study can be served here.
    begins: Callable[[], None]
    #: Asked after each trial whether another one may follow.
    goes_on: Callable[[], bool]


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
        interruption: Whether this process has been asked to end.
        watch: What was seen of others' leases already.
    """

    def __init__(
        self,
        database: Database,
        study: StoredStudy,
        *,
        options: WorkerOptions,
        environment: Mapping[str, str],
        interruption: Interruption | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.database = database
        self.study = study
        self.config = study.config
        self._stored_config = ""
        self.options = options
        self.environment = environment
        self.holder = this_process()
        self.interruption = interruption or Interruption()
        self._watch = watch or Watch(self.holder, lease=options.lease)
        self.slots = Slots(
            database, study, holder=self.holder, lease=options.lease, watch=self._watch
        )
        self._history = History(database, study.study_id)
        self.store = open_store(options.artifacts, study.key) if options.artifacts else None
        self._outage = Outage(
            patience=options.patience,
            lease=options.lease,
            when_lost=self.slots.database_was_away,
            pause=self.interruption.pause,
        )
        self._device = ""
        self._turn: Turn | None = None
        self._keeper = TrainerKeeper(
            options.objective,
            self._prepare,
            environment=environment,
            wake=self.interruption.wake,
            check=self.interruption.check,
            when_ready=self._meet_trainer,
        )

    # --- the loop --------------------------------------------------------------------------------

    def run(self, turn: Turn | None = None) -> None:
        """Work until the study is over, or for a turn.

        Args:
            turn: Of a worker that serves other studies too; it also ends where others hold all
                slots that are left.

        Raises:
            InterruptedWorkerError: A signal came; a trial that ran was handed back.
            InputError: The study cannot be trained here, or was deleted.
            StorageUnavailableError: The database was away for too long.
            StudyStoppedError: Different trials fail in the same way, here or elsewhere.
            TrainerError: Trainers end before they are ready.
        """
        self._turn = turn
        try:
            check_sampler(self.config.sampler.name)
            must_agree = self.options.same_versions
            self._outage.bridge(lambda: compare_versions(self.database, self.study, must_agree))
            self._sweep()
            while self._keeper.has_trainer or not self._outage.bridge(self.slots.is_over):
                self.interruption.check()
                # A lease begins when a trial can: preparing the data may take minutes.
                trainer = self._keeper.ready()
                if not self._goes_on(had_slot=self._run_one(trainer)):
                    break
            self._sweep()
            self._say_why_over()
        except StudyNotFoundError:
            self._forget_checkpoints()
            raise
        finally:
            self._keeper.end()
            if self.store is not None:
                self.store.close(CLOSE_SECONDS)

    def _run_one(self, trainer: TrainerProcess) -> bool:
        """Claim a slot and have it trained; say whether there was one."""
        token = secrets.randbits(63)
        claim = self._outage.bridge(lambda: self.slots.claim(token))
        if claim is None:
            return False
        run: TrialRun | None = None
        try:
            self._obey(claim.standing.config)
            if claim.trial_id is None:
                opened = self._open(claim)
                if opened is None:
                    return True
                claim = opened
            task = self._outage.bridge(partial(read_task, self.database, self.study, claim.slot))
            run = self._trial_run(claim, task)
            run.run(trainer)
        except (LostSlotError, TrialEndedOutsideError) as error:
            # Whatever we still had for the trial counts no more; the next one may.
            log.warning("trial %s: %s", claim.number, error)
            if run is not None:
                run.free_trainer()
        except StudyNotFoundError:
            raise  # nothing is there that a slot could be handed back to
        except BaseException as error:
            self.interruption.quiet()
            (run or self._trial_run(claim)).hand_back()
            if isinstance(error, InterruptedWorkerError):
                error.cut_off_a_trial()
            raise
        return True

    def _trial_run(self, claim: Claim, task: Task | None = None) -> TrialRun:
        return TrialRun(
            database=self.database,
            study=self.study,
            slots=self.slots,
            claim=claim,
            keeper=self._keeper,
            outage=self._outage,
            store=self.store,
            facts=self._facts(),
            task=task,
            checkpoint_seconds=self.options.checkpoint_seconds,
            hang_seconds=self.options.hang_seconds,
            check=self.interruption.check,
        )

    def _obey(self, stored: str) -> None:
        """Take up what may change of a study while it runs, such as its sampler and its pruner.

        A trainer needs to know nothing of it.
        """
        if stored == self._stored_config:
            return
        config = StudyConfig.from_json(stored)
        check_sampler(config.sampler.name)
        self._stored_config, self.config = stored, config
        self.study = replace(self.study, config=config)

    def _open(self, claim: Claim) -> Claim | None:
        """Propose a point and create the trial; None where no point is left."""
        while True:
            try:
                proposal = self._outage.bridge(lambda: self._propose(claim))
            except NoPointLeftError as error:
                log.info("%s", error)
                self._outage.bridge(partial(self.slots.give_up, claim))
                return None
            try:
                return self._outage.bridge(partial(self.slots.open, claim, proposal))
            except PointTakenError:  # another worker was faster: look again
                continue

    def _goes_on(self, *, had_slot: bool) -> bool:
        if self._turn is not None:
            return had_slot and self._turn.goes_on()
        return had_slot or wait_for_slot(
            self._look, self._watch, lease=self.options.lease, pause=self.interruption.pause
        )

    def _look(self) -> Opening | None:
        return self._outage.bridge(lambda: read_opening(self.database, self.study, self.holder))

    def _propose(self, claim: Claim) -> Proposal:
        finite = self.config.n_points is not None
        taken = self.slots.taken_points(except_slot=claim.slot) if finite else ()
        trial, params = propose(
            self._history.read,
            self.config,
            slot=claim.slot,
            planned=claim.planned,
            taken=taken,
            shape=self.study.shape,
        )
        return Proposal(trial=trial, params=params.model_dump(), unique=finite)

    # --- before and after ------------------------------------------------------------------------

    def _prepare(self) -> Prepare:
        """Give what a new trainer is told first; it has no credentials to fetch data with."""
        options = self.options
        # A standing worker serves other studies meanwhile.
        patience = options.patience if self._turn is None else 0.0
        config = fetched(self.config, patience=patience, interruption=self.interruption)
        return Prepare(
            config=config.to_json(),
            data_root=str(options.data_root) if options.data_root else None,
            threads=options.threads,
            gpu=options.gpu.uuid if options.gpu else "",
            memory_limit_mb=options.memory_limit_mb,
            require_gpu=options.require_gpu,
        )

    def _meet_trainer(self, ready: Ready) -> None:
        for note in ready.notes:
            log.warning("%s", note)
        if ready.fingerprint:
            facts = ready.fingerprint, ready.shape
            self._outage.bridge(lambda: agree_on_data(self.database, self.study, *facts))
        self._device = ready.device
        if self._turn is not None:
            self._turn.begins()

    def _sweep(self) -> None:
        """Remove checkpoints that nobody needs, also those of workers that were killed."""
        if self.store is not None:
            self.store.sweep(self._outage.bridge(self.slots.unfinished))

    def _forget_checkpoints(self) -> None:
        """Remove what was written after somebody deleted the study with its checkpoints."""
        self._keeper.end()
        if self.store is not None:
            self.store.settle(CLOSE_SECONDS)
            self.store.remove()

    def _say_why_over(self) -> None:
        standing = self._outage.bridge(self.slots.standing)
        if standing.ended == "bug":
            raise StudyStoppedError(standing.message)
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
