"""The worker's handle on its trainer: start it, talk to it, end it, say how it died."""

import contextlib
import logging
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from typing import Self

from tuner.errors import TrainerError
from tuner.host import own_module
from tuner.places import place_environment
from tuner.worker.messages import Message, Prepare, Warned, parse_message, write_message

log = logging.getLogger(__name__)

#: What a trainer may see of the environment: nothing that holds a secret.
_ALLOWED = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "PYTHONPATH",
    "PYTHONWARNINGS",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "KERAS_HOME",
    "TUNER_CACHE",
    "XDG_CACHE_HOME",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
_ALLOWED_PREFIXES = ("CUBLAS_", "CUDA_", "CUDNN_", "NVIDIA_", "TF_", "XLA_")

#: Seconds that a trainer has to end by itself.
GRACE = 2.0
#: Characters of a dead trainer's last words that are kept.
LAST_WORDS = 2_000


class TrainerDiedError(TrainerError):
    """The trainer process ended unasked, or had to be ended.

    Args:
        how: In a few words, the same for the same kind of death.
        words: What it said last.
    """

    def __init__(self, how: str, words: str) -> None:
        super().__init__(
            f"The trainer {how}.{f' Its last words:{chr(10)}{words}' if words else ''}"
        )
        #: In a few words.
        self.how = how
        #: Whether it was ended by SIGKILL, as the kernel does when memory runs out.
        self.was_killed = how == "signal SIGKILL"


def trainer_environment(
    environment: Mapping[str, str], *, threads: int, gpu: str = "", memory_is_limited: bool = False
) -> dict[str, str]:
    """Choose what a trainer sees.

    Args:
        environment: The worker's.
        threads: How many the trainer may use.
        gpu: UUID of the GPU that it may see; empty for none.
        memory_is_limited: Whether it takes a fixed part of the GPU's memory, and does not grow.

    Returns:
        An environment without credentials.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if name in _ALLOWED or name.startswith(_ALLOWED_PREFIXES)
    }
    return {
        **kept,
        **place_environment(gpu, kept),
        "KERAS_BACKEND": "tensorflow",
        "OMP_NUM_THREADS": str(threads),
        "TF_CPP_MIN_LOG_LEVEL": kept.get("TF_CPP_MIN_LOG_LEVEL", "2"),
        "TF_FORCE_GPU_ALLOW_GROWTH": "false" if memory_is_limited else "true",
    }


class TrainerProcess:
    """A running trainer.

    Args:
        objective: ``module:function`` that makes the objective.
        prepare: The study, sent at once.
        environment: The worker's environment, to choose from.
        wake: A descriptor that becomes readable when waiting should end early.
    """

    def __init__(
        self, objective: str, prepare: Prepare, *, environment: Mapping[str, str], wake: int
    ) -> None:
        child_reads, we_write = os.pipe()
        we_read, child_writes = os.pipe()
        # TensorFlow writes to stdout and stderr: a file takes it, for the day it dies.
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [
                *own_module("tuner.worker.trainer"),
                str(child_reads),
                str(child_writes),
                objective,
                str(os.getpid()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._words,
            stderr=self._words,
            pass_fds=(child_reads, child_writes),
            env=trainer_environment(
                environment,
                threads=prepare.threads,
                gpu=prepare.gpu,
                memory_is_limited=prepare.memory_limit_mb is not None,
            ),
            start_new_session=True,  # a terminal's Ctrl-C is the worker's to handle
        )
        os.close(child_reads)
        os.close(child_writes)
        self._writing = os.fdopen(we_write, "wb")
        self._reading = we_read
        self._wake = wake
        self._buffer = b""
        self.send(prepare)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def is_closed(self) -> bool:
        """Whether it was ended."""
        return self._words.closed

    def send(self, message: Message) -> None:
        """Say something to the trainer.

        Raises:
            TrainerDiedError: It is not there any more.
        """
        try:
            write_message(self._writing, message)
        except BrokenPipeError as error:
            raise self._died() from error

    def receive(self, timeout: float) -> Message | None:
        """Wait for the trainer's next message.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            The message; None when the time is over, something woke us, or what came was a warning,
            which is logged.

        Raises:
            TrainerDiedError: It ended instead.
        """
        deadline = time.monotonic() + timeout
        while b"\n" not in self._buffer:
            with selectors.DefaultSelector() as selector:
                selector.register(self._reading, selectors.EVENT_READ)
                selector.register(self._wake, selectors.EVENT_READ)
                ready = selector.select(max(0.0, deadline - time.monotonic()))
            descriptors = {key.fd for key, _ in ready}
            if self._reading not in descriptors:
                return None
            chunk = os.read(self._reading, 65_536)
            if not chunk:
                raise self._died()
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\n", 1)
        message = parse_message(line)
        if isinstance(message, Warned):
            log.warning("trainer: %s", message.message)
            return None
        return message

    def _died(self) -> TrainerDiedError:
        code = self._process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return TrainerDiedError(how, self.last_words())

    def last_words(self) -> str:
        """Read what the process said last, on stdout or stderr."""
        self._words.seek(max(0, self._words.seek(0, os.SEEK_END) - LAST_WORDS))
        return self._words.read().decode(errors="replace").strip()

    def kill(self) -> None:
        """End a process that does not answer any more, whatever it is at."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # it leads its own group

    def close(self) -> None:
        """End the process, by force where it does not listen."""
        if self.is_closed:
            return
        with contextlib.suppress(BrokenPipeError):  # what it never read is of no use now
            self._writing.close()
        os.close(self._reading)
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        self._words.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
