"""A trainer at hand: started when needed, used again while it is well, replaced when it is not."""

import logging
import time
from collections.abc import Callable, Mapping

from tuner.errors import InputError, TrainerError
from tuner.worker.memory import MemoryWatch
from tuner.worker.messages import Prepare, Ready, Unusable
from tuner.worker.process import TrainerDiedError, TrainerProcess

log = logging.getLogger(__name__)

#: Trainers in a row that may die before they are ready.
MAX_DEAD_STARTS = 3
#: Seconds within which one is ready: to prepare much data takes minutes, a broken driver for ever.
READY_SECONDS = 3600.0
#: Trials after which a trainer is replaced: what leaks in it, ends with it.
TRIALS_PER_TRAINER = 100


class TrainerKeeper:
    """Keeps one trainer.

    Args:
        objective: ``module:function`` that makes the objective.
        prepare: Gives what each new trainer is told first: the study, with its data at hand.
        environment: The worker's environment, to choose the trainer's from.
        wake: A descriptor that becomes readable when waiting should end early.
        check: Called while waiting; may raise.
        when_ready: Called with a new trainer's first message.
    """

    def __init__(
        self,
        objective: str,
        prepare: Callable[[], Prepare],
        *,
        environment: Mapping[str, str],
        wake: int,
        check: Callable[[], None],
        when_ready: Callable[[Ready], None],
    ) -> None:
        self._objective = objective
        self._prepare = prepare
        self._environment = environment
        self._wake = wake
        self._check = check
        self._when_ready = when_ready
        self._trainer: TrainerProcess | None = None
        self._n_trials = 0
        #: Evidence about its memory.
        self.memory = MemoryWatch()

    @property
    def has_trainer(self) -> bool:
        """Whether one is running."""
        return self._trainer is not None

    def ready(self) -> TrainerProcess:
        """Give a trainer that is ready for a trial, starting one where there is none.

        Raises:
            InputError: The study cannot be trained here.
            TrainerError: Trainers die before they are ready, several in a row.
        """
        for n_dead in range(1, MAX_DEAD_STARTS + 1):
            try:
                return self._trainer or self._start()
            except TrainerDiedError as error:
                self.end()
                if n_dead == MAX_DEAD_STARTS:
                    raise TrainerError(
                        f"{MAX_DEAD_STARTS} trainers in a row ended before they were ready. {error}"
                    ) from error
                log.warning("%s Another one is started.", error)
        raise AssertionError("unreachable")

    def _start(self) -> TrainerProcess:
        self._trainer = TrainerProcess(
            self._objective, self._prepare(), environment=self._environment, wake=self._wake
        )
        self._n_trials = 0
        self.memory.start(self._trainer.pid)
        ends = time.monotonic() + READY_SECONDS
        while (message := self._trainer.receive(min(60.0, READY_SECONDS))) is None:
            self._check()
            if time.monotonic() > ends:
                raise TrainerDiedError(f"was not ready after {READY_SECONDS:g} s", "")
        if isinstance(message, Unusable):
            raise InputError(message.message)
        if not isinstance(message, Ready):
            raise TrainerError(f"The trainer said {message!r} before it was ready.")
        self._when_ready(message)
        return self._trainer

    def after_trial(self) -> None:
        """Replace a trainer that has done its share, or has grown."""
        self._n_trials += 1
        reason = self.memory.growth() if self._trainer else None
        if reason is None and self._n_trials >= TRIALS_PER_TRAINER:
            reason = f"it has trained {self._n_trials} trials"
        if reason is not None:
            log.info("the trainer is replaced: %s", reason)
            self.end()

    def end(self) -> None:
        """End the trainer, by force where it does not listen."""
        if self._trainer is not None:
            self._trainer.close()
            self._trainer = None
