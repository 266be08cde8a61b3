"""One training as its worker follows it: what the trainer says, and that it goes on at all."""

import time
from collections.abc import Callable

from tuner.errors import InputError, TrainerError
from tuner.worker.messages import (
    Failed,
    Finished,
    Resumed,
    Stop,
    Train,
    TrialMessage,
    Unusable,
)
from tuner.worker.process import TrainerDiedError, TrainerProcess

#: The first step takes so many times longer than others may: it is compiled.
FIRST_STEP_FACTOR = 3.0


class Conversation:
    """Orders a training and listens to it.

    Args:
        trainer: Who trains; free.
        order: What.
        hang_seconds: Time without a sign of life after which the trainer counts as hung.
    """

    def __init__(self, trainer: TrainerProcess, order: Train, *, hang_seconds: float) -> None:
        self._trainer = trainer
        self._token = order.token
        self._hang_seconds = hang_seconds
        self._started = self._last_sign = time.monotonic()
        self._earlier_seconds = 0.0
        self._has_begun = False
        #: Whether the trainer is free for the next trial.
        self.is_over = False
        trainer.send(order)

    @property
    def seconds(self) -> float:
        """Time spent on this training, before an interruption too."""
        return self._earlier_seconds + time.monotonic() - self._started

    def receive(self, timeout: float) -> TrialMessage | None:
        """Wait for the next message about this training.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            The message; None when the time is over, or something else is to be looked at.

        Raises:
            TrainerDiedError: The trainer ended, or hung and was ended.
            InputError: The study cannot be trained here.
        """
        left = self._last_sign + self._allowed - time.monotonic()
        message = self._trainer.receive(max(0.0, min(timeout, left)))
        if message is None:
            if left <= 0:
                self._trainer.kill()
                raise TrainerDiedError(
                    f"SIGKILL from its worker: it took no step for {self._allowed:.0f} s",
                    self._trainer.last_words(),
                )
            return None
        if isinstance(message, Unusable):
            raise InputError(message.message)
        if not isinstance(message, TrialMessage):
            raise TrainerError(f"The trainer said {message!r} while training.")
        if message.token != self._token:
            return None  # the last words about an earlier trial
        self._last_sign = time.monotonic()
        self._has_begun = True
        if isinstance(message, Resumed):
            self._earlier_seconds = message.seconds
        self.is_over = isinstance(message, Finished | Failed)
        return message

    @property
    def _allowed(self) -> float:
        return self._hang_seconds * (1.0 if self._has_begun else FIRST_STEP_FACTOR)

    def end(self) -> None:
        """End a trainer that is too busy to hear."""
        self._trainer.kill()

    def stop(self, *, keep: bool, patience: float, check: Callable[[], None]) -> bool:
        """End the training before its time.

        Args:
            keep: Whether somebody will go on with it: then a checkpoint is left.
            patience: Seconds to wait for that.
            check: Called now and then; may raise.

        Returns:
            Whether the trainer has stopped and is free, or is gone.

        Raises:
            TrainerDiedError: The trainer ended.
        """
        if self.is_over or self._trainer.is_closed:
            return True
        self._trainer.send(Stop(token=self._token, keep=keep))
        deadline = time.monotonic() + patience
        while not self.is_over and (left := deadline - time.monotonic()) > 0:
            self.receive(left)
            check()
        return self.is_over
