"""Workers on this machine, as child processes that share its cores."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from tuner.errors import InputError, StorageUnavailableError, TunerError
from tuner.worker.worker import LAST_SECONDS

#: Exit codes that a new worker would only meet again, and the errors that they stand for.
_HOPELESS = {2: InputError, 3: StorageUnavailableError}
#: Times that a worker which died is started again.
MAX_RESTARTS = 3
#: Seconds that workers have to hand their trials back; they end by themselves before.
GRACE_SECONDS = LAST_SECONDS + 2.0


def usable_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_per_worker(n_workers: int) -> int:
    """Share the cores between workers, so that they do not fight for them."""
    return max(1, usable_cores() // n_workers)


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    words: IO[bytes]
    n_restarts: int


class LocalWorkers:
    """Some workers of one study on this machine.

    Args:
        study: Name of a stored study.
        storage: URL of its storage; handed over in the environment, where no process list shows it.
        artifacts: Folder for checkpoints.
        n_workers: How many.
        environment: The environment they get.
    """

    def __init__(
        self,
        study: str,
        *,
        storage: str,
        artifacts: Path,
        n_workers: int,
        environment: Mapping[str, str],
    ) -> None:
        self._command = [
            *(sys.executable, "-m", "tuner", "work", study),
            *("--threads", str(threads_per_worker(n_workers)), "--until-stdin-closes"),
            *("--artifacts", str(artifacts)),
        ]
        self._environment = dict(environment) | {"TUNER_STORAGE": storage}
        self._children = [self._start(0) for _ in range(n_workers)]

    def _start(self, n_restarts: int) -> _Child:
        words = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the worker
        process = subprocess.Popen(  # noqa: S603 - our own command
            self._command,
            stdin=subprocess.PIPE,  # when this process dies, it closes, and they end
            stdout=words,
            stderr=words,
            env=self._environment,
            start_new_session=True,  # a terminal's Ctrl-C is ours to pass on
        )
        return _Child(process, words, n_restarts)

    def check(self) -> bool:
        """Look after the workers.

        Returns:
            Whether any still works.

        Raises:
            TunerError: All of them ended in a way that starting them again would not mend.
        """
        ended = [child for child in self._children if child.process.poll() is not None]
        for child in ended:
            code = child.process.returncode
            if code in _HOPELESS:
                raise _HOPELESS[code](_last_words(child))
            if code < 0 and child.n_restarts < MAX_RESTARTS:  # killed from outside
                self._children.remove(child)
                child.words.close()
                self._children.append(self._start(child.n_restarts + 1))
        still = [child for child in self._children if child.process.poll() is None]
        failed = [child for child in self._children if child.process.poll() not in {None, 0}]
        if failed and not still:
            raise TunerError(_last_words(failed[0]))
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
            if child.process.stdin is not None:
                child.process.stdin.close()
            child.words.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _last_words(child: _Child) -> str:
    """What the worker said last: its error message, or the end of its log."""
    child.words.seek(0)
    text = child.words.read().decode(errors="replace")
    # At the start of a line: a traceback may hold the words too.
    _, marker, message = f"\n{text}".rpartition("\nerror: ")
    if marker:
        return message.strip()
    return (
        f"A worker ended with exit code {child.process.returncode}. Its log ends with:\n"
        f"{text[-2_000:].strip()}"
    )
