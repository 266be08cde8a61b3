"""Try TensorFlow in a child process, as a trainer would get it, and survive what it does."""

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.host import own_module

#: Seconds that TensorFlow has to be imported and tried; the first import from a slow disk is long.
TIMEOUT = 180.0
#: Makes TensorFlow tell of each library that it looks for.
_TALKATIVE = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "dso_loader=1"}
#: What it tells, and what the loader said: a library may lack another one.
_MISSING = re.compile(r"Could not load dynamic library '([^']+)'; dlerror: (?:(lib[^:\s]+): )?")
#: Lines of TensorFlow's log in which it complains.
_COMPLAINT = re.compile(r"^[EF]\d{4} [^\]]*\] (.*)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What became of TensorFlow."""

    #: How the process died, such as ``signal SIGSEGV``; empty where it did not.
    death: str = ""
    #: What it said last, in one line.
    words: str = ""
    #: TensorFlow's version; empty where it could not be imported.
    tensorflow: str = ""
    #: Keras's version.
    keras: str = ""
    #: Seconds that both took to import.
    seconds: float = 0.0
    #: Version of CUDA that TensorFlow was built for; None for a build without.
    cuda: str | None = None
    #: Version of cuDNN that TensorFlow was built for.
    cudnn: str | None = None
    #: GPU generations that it was built for, such as ``sm_60`` or ``compute_90``.
    built_for: tuple[str, ...] = ()
    #: Names of the GPUs that it sees; None where it did not get so far.
    gpus: tuple[str, ...] | None = None
    #: By GPU, how much cuDNN's GRU differs from the generic one.
    differences: tuple[float, ...] = ()
    #: Libraries that it looked for and that could not be loaded.
    missing: tuple[str, ...] = ()
    #: The first thing that it complained of.
    complaint: str = ""


def probe(environment: Mapping[str, str], *, timeout: float = TIMEOUT) -> Probed:
    """Start Python, import TensorFlow, try the GPUs.

    Args:
        environment: All that the process gets.
        timeout: Seconds after which it is ended.
    """
    reads, writes = os.pipe()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [*own_module("tuner.doctor.probe"), str(writes)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(writes,),
            env={**environment, **_TALKATIVE},
            start_new_session=True,
        )
        os.close(writes)
        try:
            told = _read_all(reads, timeout)
            death = _death(process, in_time=told is not None, timeout=timeout)
        finally:
            os.close(reads)
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        log.seek(0)
        words = log.read().decode(errors="replace")
    return _probed(told or b"", death=death, log=words)


def _read_all(descriptor: int, timeout: float) -> bytes | None:
    """Read until the other end is closed; None where that takes too long."""
    deadline, told = time.monotonic() + timeout, b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            chunk = os.read(descriptor, 65_536)
            if not chunk:
                return told
            told += chunk
    return None


def _death(process: subprocess.Popen[bytes], *, in_time: bool, timeout: float) -> str:
    """Say how the process ended; nothing where it ended as it should."""
    if in_time:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(timeout)
            if code < 0:
                return f"signal {signal.Signals(-code).name}"
            return f"exit code {code}" if code else ""
    return f"no answer in {timeout:g} s"


def _probed(told: bytes, *, death: str, log: str) -> Probed:
    facts: dict[str, Any] = {}
    differences = []
    for line in told.splitlines():
        said = json.loads(line)
        if "difference" in said:
            differences.append(said.pop("difference"))
        facts |= {k: tuple(v) if isinstance(v, list) else v for k, v in said.items()}
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    complaint = _COMPLAINT.search(log)
    return Probed(
        death=death,
        words=lines[-1] if death and lines else "",
        differences=tuple(differences),
        missing=missing_libraries(log),
        complaint=complaint[1] if complaint else "",
        **facts,
    )


def missing_libraries(log: str) -> tuple[str, ...]:
    """Find in TensorFlow's log which libraries could not be loaded.

    Args:
        log: With the lines of ``dso_loader``, which tell why as well.

    Returns:
        Names in the order of the log; where a library is there and lacks another, the other.
    """
    found = (match[2] or match[1] for match in _MISSING.finditer(log))
    return tuple(dict.fromkeys(found))


def installed_at(library: str, folders: tuple[str, ...]) -> Path | None:
    """Find a CUDA library that pip installed.

    Args:
        library: Its name, such as ``libcusolver.so.11``.
        folders: With CUDA libraries.
    """
    return next((Path(folder) for folder in folders if (Path(folder) / library).exists()), None)
