"""Signals that end a worker soon, and waiting that they cut short."""

import atexit
import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from tuner.errors import TunerError

#: Seconds after a signal at which the process ends, whatever it waits for.
LAST_SECONDS = 9.0
#: Seconds within which a second signal is the first one, sent to a whole group of processes and
#: passed on by the one that started this one.
SAME_SECONDS = 1.0


class InterruptedWorkerError(TunerError):
    """A signal ended the worker, as somebody wanted; its trial, if it had one, was handed back."""

    is_trouble = False

    def __init__(self, signal_number: int) -> None:
        self._by = f"Stopped by {signal.Signals(signal_number).name}"
        super().__init__(f"{self._by}.")
        self.exit_code = 128 + signal_number

    def cut_off_a_trial(self) -> None:
        """Say that a trial was handed back, for somebody to go on with."""
        self.args = (f"{self._by}; a trial that ran was handed back.",)
        self.is_trouble = True


class Interruption:
    """Whether this process has been asked to end.

    The request is noted at once and acted upon where a worker checks for it, so that it never
    tears what the worker does with the database.
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._signalled_at = 0.0
        #: A descriptor that becomes readable with a request, for whoever waits for more.
        self.wake, self._writes = os.pipe()
        os.set_blocking(self.wake, False)

    def request(self, signal_number: int) -> None:
        """Ask for the end, from a signal handler or another thread."""
        self._signal = signal_number
        os.write(self._writes, b"!")

    def handle_signals(
        self, end_process: Callable[[int], None], *, within: float = LAST_SECONDS
    ) -> None:
        """Let SIGINT and SIGTERM ask for it.

        Args:
            end_process: Called with an exit code at the second signal, when somebody does not
                want to wait, and when handing back takes too long: the lease ends by itself then.
            within: Seconds that it may take.
        """

        def handler(number: int, _frame: FrameType | None) -> None:
            if self._signal is None:
                self._signalled_at = time.monotonic()
                signal.setitimer(signal.ITIMER_REAL, within)
                self.request(number)
            elif time.monotonic() - self._signalled_at > SAME_SECONDS:
                end_process(128 + number)

        signal.signal(signal.SIGALRM, lambda *_: end_process(128 + (self._signal or 0)))
        # A process that shuts down has handed back. Python forgets its handlers then, and the alarm
        # would end it with a code of its own.
        atexit.register(signal.setitimer, signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGINT, handler)
        signal.signal(signal.SIGTERM, handler)

    def check(self) -> None:
        """See that nobody has asked.

        Raises:
            InterruptedWorkerError: Somebody has.
        """
        if self._signal is not None:
            raise InterruptedWorkerError(self._signal)

    def pause(self, seconds: float) -> None:
        """Wait; see that nobody has asked meanwhile.

        Raises:
            InterruptedWorkerError: Somebody has.
        """
        select.select([self.wake], [], [], seconds)
        self.check()

    def quiet(self) -> None:
        """Let `wake` be unreadable again: what woke us is known, and more is to be waited for."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.wake, 4096)


def end_with_parent() -> None:
    """Let SIGTERM end this process when standard input closes: who started it is gone."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # nothing is ever written: it returns when the pipe closes
        # As if somebody had ended this process: whatever it is at, it knows what to do then.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
