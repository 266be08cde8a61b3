"""One claim from its open trial to an end: trained and closed, or given back for another go."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from optuna.trial import TrialState

from tuner.checkpoint_store import CheckpointStore
from tuner.confirmation import Task
from tuner.errors import LostSlotError, StorageUnavailableError
from tuner.storage import (
    Claim,
    Database,
    Slots,
    StoredStudy,
)
from tuner.worker.conversation import Conversation
from tuner.worker.delivery import Delivery
from tuner.worker.keeper import TrainerKeeper
from tuner.worker.messages import Failed, Finished, Reported, Resumed, Saved, Train
from tuner.worker.outage import Outage
from tuner.worker.process import TrainerDiedError, TrainerProcess
from tuner.worker.trial_end import TrialEnd

log = logging.getLogger(__name__)

#: Trainers that may die over a trial without any progress between, before it is given up.
MAX_ATTEMPTS = 5
#: When memory runs out, a batch is cut into so many times more parts ...
MICRO_BATCHES_FACTOR = 4
#: ... up to this.
MAX_MICRO_BATCHES = 16
#: Seconds that a trainer has to stop a training before it is replaced ...
STOP_SECONDS = 30.0
#: ... and when the worker itself has to end: a checkpoint is written meanwhile, and copied.
HAND_BACK_SECONDS = 7.0
#: Seconds to wait for checkpoints from an object store before a training begins without them.
BRING_SECONDS = 300.0


class TrialRun:
    """Has one trial trained.

    Args:
        database: Where the study is.
        study: The study.
        slots: Its slots.
        claim: The slot, with its open trial.
        keeper: Who has the trainer.
        outage: Whether the database is away.
        store: Where checkpoints go; None for nowhere.
        facts: What is to be stored with the trial about where it ran.
        task: What it is to do in a study that confirms; None in a search.
        checkpoint_seconds: Time from one checkpoint to the next.
        hang_seconds: Time without a step after which a trainer counts as hung.
        check: Called now and then; may raise.
    """

    def __init__(
        self,
        *,
        database: Database,
        study: StoredStudy,
        slots: Slots,
        claim: Claim,
        keeper: TrainerKeeper,
        outage: Outage,
        store: CheckpointStore | None,
        facts: Mapping[str, Any],
        task: Task | None,
        checkpoint_seconds: float,
        hang_seconds: float,
        check: Callable[[], None],
    ) -> None:
        self._config = study.config
        self._slots = slots
        self._claim = claim
        self._keeper = keeper
        self._outage = outage
        self._store = store
        self._where = facts
        self._task = task
        self._checkpoint_seconds = checkpoint_seconds
        self._hang_seconds = hang_seconds
        self._check = check
        self._peak_memory_mb: int | None = None
        self._talk: Conversation | None = None
        self._delivery = Delivery(slots, claim, self._config, outage, self._facts)
        self._end = TrialEnd(database, study, slots, claim, outage, self._facts)

    # --- the training ----------------------------------------------------------------------------

    def run(self, trainer: TrainerProcess) -> None:
        """Train to whatever end.

        Raises:
            LostSlotError: Another worker has the slot.
            TrialEndedOutsideError: Somebody else finished the trial.
            StudyStoppedError: Its trials fail all in the same way.
            StorageUnavailableError: The database was away for too long.
        """
        claim = self._claim
        if claim.standing.ended == "hours":  # somebody's trial that was not finished in time
            self._close_early(f"time: {claim.standing.message}")
            return
        shown = {p.name: claim.params.get(p.name) for p in self._config.space.parameters}
        log.info(
            "trial %s%s: %s",
            claim.number,
            " again" if claim.reports else "",
            " ".join(f"{name}={value}" for name, value in shown.items() if value is not None),
        )
        if self._store is not None and claim.was_begun:
            self._bring_checkpoints(self._store)
        folder = self._store.folder(claim.slot, claim.token) if self._store else None
        order = Train(
            token=claim.token,
            params=claim.params,
            checkpoints=str(folder) if folder else None,
            checkpoint_seconds=self._checkpoint_seconds,
            micro_batches=claim.micro_batches,
            task=None if self._task is None else asdict(self._task),
        )
        try:
            self._talk = Conversation(trainer, order, hang_seconds=self._hang_seconds)
            self._follow(self._talk)
            self.free_trainer()
            self._keeper.after_trial()
        except TrainerDiedError as error:
            self._keeper.end()
            self._after_death(error)
        finally:
            if self._end.is_closed and self._store is not None:
                self._store.forget(claim.slot)

    def _bring_checkpoints(self, store: CheckpointStore) -> None:
        """Wait until earlier holders' checkpoints are here; the lease goes on."""
        store.bring(self._claim.slot)
        deadline = time.monotonic() + BRING_SECONDS
        while not store.settle(min(1.0, self._delivery.seconds_to_wait)):
            self._check()
            self._delivery.work()
            if time.monotonic() > deadline:
                log.warning(
                    "trial %s: no checkpoints after %.0f s; it begins without them",
                    *(self._claim.number, BRING_SECONDS),
                )
                return

    def _follow(self, talk: Conversation) -> None:
        delivery = self._delivery
        while True:
            message = talk.receive(min(delivery.seconds_to_wait, self._seconds_left(talk)))
            self._check()
            self._keeper.memory.sample()
            match message:
                case Reported(step=step, value=value, peak_memory_mb=peak):
                    self._peak_memory_mb = peak
                    delivery.add(step, value)
                case Resumed(n_batches=n_batches):
                    log.info("trial %s goes on after %d batches", self._claim.number, n_batches)
                case Saved():
                    delivery.progressed = True
                    if self._store is not None:
                        self._store.saved(self._claim.slot, self._claim.token)
                case Finished() | Failed():
                    if not self._is_pruned():
                        self._after_training(message)
                    return
            if delivery.work():  # pruned, and stored as that with its last report
                self._end.is_closed = True
                return
            if delivery.standing.ended == "hours":
                self._close_early(f"time: {delivery.standing.message}")
                return
            if self._seconds_left(talk) <= 0:
                self._close_slow(talk)
                return

    def _is_pruned(self) -> bool:
        """Deliver what the database lacks; say whether the trial ended with that."""
        self._end.is_closed = self._outage.bridge(self._delivery.finish)
        return self._end.is_closed

    def _seconds_left(self, talk: Conversation) -> float:
        limit = self._config.budget.trial_minutes
        return float("inf") if limit is None else 60 * limit - talk.seconds

    def free_trainer(self) -> None:
        """See that the trainer does not work for this trial any more."""
        try:
            if self._talk is not None and not self._talk.stop(
                keep=False, patience=STOP_SECONDS, check=self._check
            ):
                log.warning("the trainer did not stop within %.0f s; replaced", STOP_SECONDS)
                self._keeper.end()
        except TrainerDiedError:
            self._keeper.end()

    # --- endings ---------------------------------------------------------------------------------

    def hand_back(self) -> None:
        """Leave a checkpoint and the slot to whoever goes on; never raises for the database."""
        deadline = time.monotonic() + HAND_BACK_SECONDS
        try:
            if self._talk is not None and not self._talk.stop(
                keep=True, patience=HAND_BACK_SECONDS, check=lambda: None
            ):
                log.warning(
                    "trial %s: the trainer did not stop within %.0f s; an older checkpoint stays",
                    *(self._claim.number, HAND_BACK_SECONDS),
                )
                self._talk.end()
        except TrainerDiedError as error:
            log.warning("%s", error)
        store = self._store if self._talk is not None else None
        if store is not None:
            store.saved(self._claim.slot, self._claim.token)
        self._keeper.end()
        if store is not None and not store.settle(deadline - time.monotonic()):
            log.warning(
                "trial %s: its last checkpoint is not in the object store after %.0f s; another "
                "machine goes on from an older one",
                *(self._claim.number, HAND_BACK_SECONDS),
            )
        try:
            self._slots.release(self._claim)
        except LostSlotError as error:
            log.info("trial %s: %s", self._claim.number, error)
        except StorageUnavailableError as error:
            log.warning("%s The slot is free for others when its lease runs out.", error)

    def _after_training(self, message: Finished | Failed) -> None:
        facts = dict(message.attributes)
        self._peak_memory_mb = facts.pop("peak_memory_mb", self._peak_memory_mb)
        match message:
            case Finished(value=value, further=further) if value is not None:
                log.info("trial %s: %s %.4f", self._claim.number, self._config.metric, value)
                self._end.close(TrialState.COMPLETE, value, facts, further=further)
            case Finished():
                facts["reason"] = "pruned: the objective ended the trial by itself"
                self._end.close(TrialState.PRUNED, None, facts)
            case Failed(reason="out_of_memory"):
                self._after_lack_of_memory(message.message.strip().splitlines()[-1])
            case Failed(infeasible=True):
                log.info("trial %s: %s", self._claim.number, message.message)
                facts["reason"] = f"{message.reason}: {message.message}"
                # A violated constraint, not FAIL: from FAIL a sampler learns nothing.
                self._end.close(TrialState.PRUNED, None, facts, {message.reason: 1.0})
            case Failed():
                reason = message.message.strip().splitlines()[-1]
                self._end.close_failed(message.failed_at, reason, message.message, facts)

    def _after_death(self, error: TrainerDiedError) -> None:
        if self._end.is_closed or self._is_pruned():
            return
        evidence = self._keeper.memory.evidence() if error.was_killed else None
        if evidence is not None:
            self._after_lack_of_memory(evidence)
            return
        attempts = 1 if self._delivery.progressed else self._claim.attempts + 1
        if attempts < MAX_ATTEMPTS:
            log.warning("trial %s: %s\nIt is tried again.", self._claim.number, error)
            self._end.release(replace(self._claim, attempts=attempts))
            return
        reason = f"{attempts} trainers in a row ended over it without progress, the last one with"
        self._end.close_failed(f"trainer {error.how}", f"{reason} {error.how}", str(error), {})

    def _after_lack_of_memory(self, evidence: str) -> None:
        """Try smaller parts of a batch, which take less memory; else let the sampler know."""
        self._keeper.end()
        n_parts = MICRO_BATCHES_FACTOR * self._claim.micro_batches
        batch_size = int(self._claim.params.get("batch_size", 1))
        if n_parts <= min(batch_size, MAX_MICRO_BATCHES):
            log.warning(
                "trial %s ran out of memory (%s); it starts again with each batch in %d parts",
                *(self._claim.number, evidence, n_parts),
            )
            self._end.release(replace(self._claim, micro_batches=n_parts, attempts=0))
            return
        log.warning("trial %s needs too much memory: %s", self._claim.number, evidence)
        reason = {"reason": f"out_of_memory: {evidence}"}
        self._end.close(TrialState.PRUNED, self._last_value(), reason, {"out_of_memory": 1.0})

    def _close_slow(self, talk: Conversation) -> None:
        self._end.close_slow(talk.seconds, self._delivery.last)

    def _close_early(self, reason: str) -> None:
        self._end.close_early(reason, self._last_value())

    def _last_value(self) -> float | None:
        return self._delivery.last[1] if self._delivery.last else None

    def _facts(self) -> dict[str, Any]:
        seconds = self._talk.seconds if self._talk is not None else 0.0
        facts = {**self._where, "seconds": round(seconds, 3)}
        if self._peak_memory_mb is not None:
            facts["peak_memory_mb"] = self._peak_memory_mb
        return facts
