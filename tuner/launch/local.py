"""Workers on this machine, as child processes that each have a place of their own."""

import collections
import contextlib
import logging
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Self

from tuner.errors import InputError, StorageUnavailableError, TunerError
from tuner.host import own_module
from tuner.places import Place, place_environment
from tuner.worker.interruption import LAST_SECONDS

log = logging.getLogger(__name__)

#: Exit codes that a new worker would only meet again, and the errors that they stand for.
_HOPELESS = {2: InputError, 3: StorageUnavailableError}
#: Times in a row that a worker which was killed is started again ...
MAX_RESTARTS = 3
#: ... where it lived for fewer seconds than this; after a longer life counting begins anew.
LONG_LIFE_SECONDS = 600.0
#: Seconds that workers have to hand their trials back; they end by themselves before.
GRACE_SECONDS = LAST_SECONDS + 2.0
#: Lines of a worker's log that are kept for the day it fails.
_KEPT_LINES = 200


class _Child:
    """One worker process, and what it said last.

    Args:
        command: What to run.
        environment: What it sees.
        echo: Gets each line of its log, behind its process's number.
        n_restarts: How often it was started again.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        echo: Callable[[str], None] | None,
        n_restarts: int = 0,
    ) -> None:
        self._command = command
        self._environment = environment
        self._echo = echo
        self._started = time.monotonic()
        self._lines: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        self._n_restarts = n_restarts
        self._is_given_up = False
        self.process = subprocess.Popen(  # noqa: S603 - our own command
            command,
            stdin=subprocess.PIPE,  # when this process dies, it closes, and they end
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # a terminal's Ctrl-C is ours to pass on
        )
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, log_lines: IO[bytes]) -> None:
        for line in log_lines:
            text = line.decode(errors="replace").rstrip("\n")
            self._lines.append(text)
            if self._echo is not None:
                # A log that is full, or closed, must not stop a worker: its words are read on.
                with contextlib.suppress(OSError):
                    self._echo(f"[{self.process.pid}] {text}")

    def checked(self) -> "_Child":
        """Give itself, or its like at the same place where it was killed from outside."""
        code = self.process.poll()
        if code is None or code >= 0 or self._is_given_up:
            return self
        was = f"worker {self.process.pid} was ended by {signal.Signals(-code).name}"
        lived = time.monotonic() - self._started
        n_restarts = 1 if lived >= LONG_LIFE_SECONDS else self._n_restarts + 1
        if n_restarts > MAX_RESTARTS:
            log.error("%s, as %d before it; it is not started again", was, MAX_RESTARTS)
            self._is_given_up = True
            return self
        log.warning("%s; it is started again", was)
        self.close()
        return _Child(self._command, self._environment, self._echo, n_restarts)

    def last_words(self) -> str:
        """Give its error message, or else the end of its log."""
        self._reader.join(GRACE_SECONDS)  # what is still in the pipe
        text = "\n".join(self._lines)
        # At the start of a line: a traceback may hold the words too.
        _, marker, message = f"\n{text}".rpartition("\nerror: ")
        if marker:
            return message.strip()
        code = self.process.returncode
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        return f"A worker ended with {how}. Its log ends with:\n{text[-2_000:].strip()}"

    def close(self) -> None:
        """Free what a process that has ended leaves; its last lines are read first."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self._reader.join(GRACE_SECONDS)
        if self.process.stdout is not None and not self._reader.is_alive():
            self.process.stdout.close()


class LocalWorkers:
    """Some workers on this machine, each restarted at its own place when it is killed.

    Args:
        study: Name of a stored study; None for all that are open.
        storage: URL of its storage; handed over in the environment, where no process list shows it.
        places: What each worker trains on.
        environment: The environment they get, besides what their places decide.
        artifacts: ``--artifacts``; None for what the environment or the default says.
        options: More words for ``tuner work``.
        echo: Gets each line that a worker says; None where only the last ones count.
    """

    def __init__(
        self,
        study: str | None,
        *,
        storage: str,
        places: Sequence[Place],
        environment: Mapping[str, str],
        artifacts: str | None = None,
        options: Sequence[str] = (),
        echo: Callable[[str], None] | None = None,
    ) -> None:
        words = [
            *(*own_module("tuner"), "work"),
            *(() if study is None else (study,)),
            *("--workers", "1", "--until-stdin-closes"),
            *(() if artifacts is None else ("--artifacts", artifacts)),
            *options,
        ]
        self._children = [
            _Child(
                [*words, *_place_options(place)],
                {
                    **environment,
                    **place_environment(place.gpu.uuid if place.gpu else "", environment),
                    "TUNER_STORAGE": storage,
                },
                echo,
            )
            for place in places
        ]

    def check(self) -> bool:
        """Look after the workers.

        Returns:
            Whether any still works.

        Raises:
            TunerError: All of them ended, or one did in a way that starting it again would not
                mend.
        """
        for index, child in enumerate(self._children):
            code = child.process.poll()
            if code in _HOPELESS:
                raise _HOPELESS[code](child.last_words())
            self._children[index] = child.checked()
        still = [child for child in self._children if child.process.poll() is None]
        failed = [child for child in self._children if child.process.poll() not in {None, 0}]
        is_over = any(child.process.poll() == 0 for child in self._children)
        if still and is_over:
            # One has seen that the study is over; those who wait look only now and then.
            self.stop()
            still = []
        if failed and not still and not is_over:
            raise TunerError(failed[0].last_words())
        return bool(still)

    def stop(self) -> None:
        """Ask the workers to hand their trials back, and see that they end."""
        for child in self._children:
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        for child in self._children:
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
            child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _place_options(place: Place) -> list[str]:
    """Say a place in words of ``tuner work``; its GPU is in the environment."""
    words = ["--threads", str(place.threads)]
    if place.memory_limit_mb is not None:
        words += ["--gpu-memory", str(place.memory_limit_mb)]
    return words
