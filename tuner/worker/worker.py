"""The only loop that runs trials: claim a slot, open its trial, have it trained, close it."""

import logging
import os
import platform
import random
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import optuna
from optuna.trial import TrialState

import tuner
from tuner.errors import InputError, LostSlotError, TrainerError, TunerError
from tuner.metrics import STEPS_PER_EPOCH
from tuner.storage import (
    LEASE,
    Claim,
    Database,
    Ending,
    PointTakenError,
    Proposal,
    Slots,
    StoredStudy,
    TrialEndedOutsideError,
    agree_on_data,
)
from tuner.storage.database import translated
from tuner.strategy import RungRule, make_rule, propose
from tuner.worker.messages import (
    Failed,
    Finished,
    Message,
    Prepare,
    Ready,
    Reported,
    Stop,
    Train,
    Unusable,
)
from tuner.worker.process import TrainerDiedError, TrainerProcess

log = logging.getLogger(__name__)

#: Makes the objective that trains Keras GRUs.
GRU_OBJECTIVE = "tuner.worker.trainer:gru_objective"

#: Times that a slot is claimed before its trial is given up.
MAX_ATTEMPTS = 5
#: Failures of unexpected kind in a row after which something is wrong with more than a trial.
MAX_FAILURES = 3
#: Seconds between looks for a slot while others hold all that are left.
IDLE_SECONDS = 2.0
#: Seconds that a trainer has to stop a training before it is replaced.
STOP_SECONDS = 30.0


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


class Worker:
    """Runs trials of one study until none is left.

    It holds the database and the lease and never imports TensorFlow; a trainer, its child process,
    does the training, so that whatever kills a training leaves the worker alive to record it.

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
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.slots = Slots(database, study.study_id, worker=self.name)
        self.rule: RungRule | None = make_rule(self.config.pruner.name)
        self.last_step = self.config.budget.epochs * STEPS_PER_EPOCH
        self._trainer: TrainerProcess | None = None
        self._training = False
        self._device = ""
        self._failures: list[str] = []  # of the latest trials, in a row
        self._signal: int | None = None
        self._wake_reads, self._wake_writes = os.pipe()

    # --- from outside --------------------------------------------------------------------------

    def interrupt(self, signal_number: int) -> None:
        """End the worker soon, from a signal handler or another thread."""
        self._signal = signal_number
        os.write(self._wake_writes, b"!")

    def handle_signals(self, when_again: Callable[[], None]) -> None:
        """Let SIGINT and SIGTERM hand the trial back.

        Args:
            when_again: Called at the second signal, when somebody does not want to wait.
        """

        def handler(number: int, _frame: FrameType | None) -> None:
            if self._signal is not None:
                when_again()
            self.interrupt(number)

        signal.signal(signal.SIGINT, handler)
        signal.signal(signal.SIGTERM, handler)

    # --- the loop --------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until every slot is closed.

        Raises:
            InterruptedWorkerError: A signal came; the trial was handed back.
            InputError: The study cannot be trained here.
            TrainerError: Trainings fail in a way that more trials would not mend.
        """
        try:
            while True:
                self._check_signal()
                self._check_failures()
                claim = self.slots.claim()
                if claim is not None:
                    self._run_slot(claim)
                elif self._is_over():
                    return
                else:
                    self._pause(IDLE_SECONDS * (0.5 + random.random()))  # noqa: S311 - jitter
        finally:
            self._end_trainer()

    def _is_over(self) -> bool:
        counts = self.slots.counts()
        return counts.done == counts.total

    def _run_slot(self, claim: Claim) -> None:
        try:
            trainer = self._ready_trainer(claim)
            if claim.trial_id is None:
                claim = self._open(claim)
            self._train(trainer, claim)
        except TrainerDiedError as error:
            self._end_trainer()
            self._after_death(claim, error)
        except (LostSlotError, TrialEndedOutsideError) as error:
            # Whatever we still had for the trial counts no more; the next one may.
            log.warning("trial %s: %s", claim.number, error)
            self._free_trainer(claim)
        except BaseException:
            self._end_trainer()
            self._hand_back(claim)
            raise

    def _hand_back(self, claim: Claim, *, tried: bool = False) -> None:
        try:
            self.slots.release(claim, tried=tried)
        except LostSlotError:
            log.info("trial %s: its slot is not ours any more", claim.number)

    def _open(self, claim: Claim) -> Claim:
        finite = self.config.space.size() is not None
        while True:
            taken = self.slots.taken_points(except_slot=claim.slot) if finite else ()
            with translated(self.database.name):
                trial, params = propose(
                    self.database.storage,
                    self.config,
                    slot=claim.slot,
                    planned=claim.planned,
                    taken=taken,
                )
            proposal = Proposal(trial=trial, params=params.model_dump(), unique=finite)
            try:
                return self.slots.open(claim, proposal)
            except PointTakenError:  # another worker was faster: look again
                continue

    # --- one trial -----------------------------------------------------------------------------

    def _train(self, trainer: TrainerProcess, claim: Claim) -> None:
        started = time.monotonic()
        params = self.slots.params(claim)
        known = self.slots.reported_steps(claim.open_trial_id)
        again = "taken over, starts again; " if known else ""
        log.info("trial %s: %s%s", claim.number, again, _short(self.config, params))
        trainer.send(Train(token=claim.token, params=params))
        self._training = True
        while True:
            message = self._receive(trainer, claim)
            facts = self._facts() | {"seconds": round(time.monotonic() - started, 3)}
            match message:
                case Reported(step=step, value=value) if step not in known:
                    if self._report(claim, step, value, facts):
                        self._stop(trainer, claim)
                        return
                case Reported():
                    pass  # an earlier attempt delivered and judged it
                case Finished(value=value, attributes=attributes) if value is not None:
                    self._failures.clear()
                    log.info("trial %s: %s %.4f", claim.number, self.config.metric, value)
                    self._close(claim, TrialState.COMPLETE, value, facts | dict(attributes))
                    return
                case Finished(attributes=attributes):
                    self._failures.clear()
                    reason = {"reason": "pruned: the objective ended the trial by itself"}
                    self._close(claim, TrialState.PRUNED, None, facts | dict(attributes) | reason)
                    return
                case Failed():
                    self._fail(claim, message, facts)
                    return
                case _:
                    raise TrainerError(f"The trainer said {message!r} while training.")

    def _receive(self, trainer: TrainerProcess, claim: Claim) -> Message:
        """Wait for the trainer, prolonging the lease; messages of earlier trials are dropped."""
        while True:
            message = trainer.receive(LEASE / 3)
            self._check_signal()
            if message is None:
                self.slots.renew(claim)
            elif isinstance(message, Unusable):
                raise InputError(message.message)
            elif isinstance(message, Ready):
                return message
            elif isinstance(message, Reported | Finished | Failed):
                if message.token == claim.token:
                    self._training = isinstance(message, Reported)
                    return message
            else:
                raise TrainerError(f"The trainer said {message!r}, which only a worker says.")

    def _report(self, claim: Claim, step: int, value: float, facts: dict[str, Any]) -> bool:
        """Store a report; say whether the trial ends with it."""
        ending = None
        if self.rule is not None and self.rule.is_rung(step) and step < self.last_step:
            rivals = self.slots.rivals(claim, step)
            verdict = self.rule.verdict(value, step, rivals, self.config.direction)
            if verdict.prune:
                log.info("trial %s: pruned, %s", claim.number, verdict.reason)
                ending = Ending(
                    state=TrialState.PRUNED,
                    value=value,
                    attributes=facts | {"reason": f"pruned: {verdict.reason}"},
                    constraints={},
                )
        self.slots.report(claim, step, value, ending)
        return ending is not None

    def _free_trainer(self, claim: Claim) -> None:
        try:
            if self._trainer is not None and self._training:
                self._stop(self._trainer, claim)
        except TrainerDiedError:
            self._end_trainer()

    def _stop(self, trainer: TrainerProcess, claim: Claim) -> None:
        """Wait until the trainer is free for the next trial."""
        self._failures.clear()
        trainer.send(Stop(token=claim.token))
        deadline = time.monotonic() + STOP_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            message = trainer.receive(left)
            self._check_signal()
            if isinstance(message, Finished | Failed) and message.token == claim.token:
                self._training = False
                return
        log.warning("the trainer did not stop within %.0f s and is replaced", STOP_SECONDS)
        self._end_trainer()

    def _fail(self, claim: Claim, failed: Failed, facts: dict[str, Any]) -> None:
        attributes = facts | dict(failed.attributes)
        if failed.infeasible:
            # A violated constraint, not FAIL: from FAIL a sampler learns nothing.
            log.info("trial %s: %s", claim.number, failed.message)
            self._failures.clear()
            reason = f"{failed.reason}: {failed.message}"
            self._close(
                claim,
                TrialState.PRUNED,
                None,
                attributes | {"reason": reason},
                {failed.reason: 1.0},
            )
            return
        log.error("trial %s failed:\n%s", claim.number, failed.message)
        self._close(claim, TrialState.FAIL, None, attributes | {"reason": failed.message})
        self._failures.append(failed.message)

    def _after_death(self, claim: Claim, error: TrainerDiedError) -> None:
        if claim.attempts < MAX_ATTEMPTS:
            log.warning("trial %s: %s\nIt is tried again.", claim.number, error)
            self._hand_back(claim, tried=True)
            return
        if claim.trial_id is None:  # it never even started: no trial is to blame
            self._hand_back(claim)
            raise error
        log.error("trial %s: given up after %d attempts", claim.number, claim.attempts)
        reason = f"the trainer died {claim.attempts} times; {error}"
        self._failures.append(reason)
        try:
            self._close(claim, TrialState.FAIL, None, self._facts() | {"reason": reason})
        except (LostSlotError, TrialEndedOutsideError) as lost:
            log.warning("trial %s: %s", claim.number, lost)

    def _close(
        self,
        claim: Claim,
        state: TrialState,
        value: float | None,
        attributes: Mapping[str, Any],
        constraints: Mapping[str, float] | None = None,
    ) -> None:
        ending = Ending(
            state=state, value=value, attributes=attributes, constraints=constraints or {}
        )
        self.slots.close(claim, ending)

    def _facts(self) -> dict[str, Any]:
        """What is worth knowing of where a trial ran."""
        return {
            "host": socket.gethostname(),
            "worker": self.name,
            "device": self._device,
            "threads": self.options.threads,
            "versions": f"tuner {tuner.__version__}, optuna {optuna.__version__}, "
            f"python {platform.python_version()}",
        }

    # --- the trainer ---------------------------------------------------------------------------

    def _ready_trainer(self, claim: Claim) -> TrainerProcess:
        if self._trainer is None:
            prepare = Prepare(
                config=self.config.to_json(),
                data_root=str(self.options.data_root) if self.options.data_root else None,
                threads=self.options.threads,
            )
            self._trainer = TrainerProcess(
                self.options.objective,
                prepare,
                environment=self.environment,
                wake=self._wake_reads,
            )
            ready = self._receive(self._trainer, claim)
            if not isinstance(ready, Ready):
                raise TrainerError(f"The trainer said {ready!r} before it was ready.")
            for note in ready.notes:
                log.warning("%s", note)
            if ready.fingerprint:
                agree_on_data(self.database, self.study.study_id, ready.fingerprint)
            self._device = ready.device
        return self._trainer

    def _end_trainer(self) -> None:
        if self._trainer is not None:
            self._trainer.close()
            self._trainer = None

    # --- waiting -------------------------------------------------------------------------------

    def _check_signal(self) -> None:
        if self._signal is not None:
            raise InterruptedWorkerError(self._signal)

    def _check_failures(self) -> None:
        if len(self._failures) >= MAX_FAILURES:
            raise TrainerError(
                f"{len(self._failures)} trials in a row failed, the last one with:\n"
                f"{self._failures[-1]}"
            )

    def _pause(self, seconds: float) -> None:
        select.select([self._wake_reads], [], [], seconds)


def _short(config: Any, params: Mapping[str, Any]) -> str:
    shown = {p.name: params[p.name] for p in config.space.parameters if p.name in params}
    return " ".join(f"{name}={value}" for name, value in shown.items())
