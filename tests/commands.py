"""The command line as tests call it, with a study that trains in no time."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tuner.cli import main
from tuner.errors import InputError
from tuner.results import progress
from tuner.storage import Database, find_study

ROOT = Path(__file__).parents[1]

#: Real GRUs, as small as they can be.
TINY = """
name   = "tiny"
metric = "val_accuracy"

[data]
source     = "demo"
examples   = 120
vocabulary = 300

[budget]
trials = 3
epochs = 1

[space]
learning_rate = { low = 1e-3, high = 1e-1, log = true }
units         = [2, 4]
embedding     = 4
bidirectional = false
pooling       = "max"
max_length    = 16
"""

Done = subprocess.CompletedProcess[str]


def command(*words: str | Path) -> list[str]:
    """Give what starts tuner in a process of its own."""
    return [sys.executable, "-m", "tuner", *map(str, words)]


def settings(*changes: str) -> list[str]:
    """Give the words that change keys of a study file."""
    return [word for change in changes for word in ("--set", change)]


def environment(storage: str | None) -> dict[str, str]:
    """Give what such a process sees: the test's own environment, and where studies are."""
    return dict(os.environ) | ({"TUNER_STORAGE": storage} if storage else {})


def start(*words: str | Path, storage: str) -> subprocess.Popen[str]:
    """Start a command; the caller ends it, or waits for it."""
    return subprocess.Popen(
        command(*words),
        env=environment(storage),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def call(*words: str | Path, storage: str | None) -> Done:
    """Run a command to its end, in a process of its own."""
    return subprocess.run(
        command(*words),
        capture_output=True,
        text=True,
        env=environment(storage),
        cwd=ROOT,
        timeout=240,
    )


def ask(*words: str | Path, storage: str | None) -> Done:
    """Give a command that takes no time to this process, which has imported everything already."""
    done = CliRunner(env=environment(storage)).invoke(main, [*map(str, words)])
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


def data(*words: str | Path, storage: str) -> Any:
    """Read the JSON that a command prints."""
    done = (call if words[0] == "reproduce" else ask)(*words, storage=storage)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def wait_for(storage: str, condition: Callable[[Any], Any]) -> None:
    """Wait until the status of the tiny study fulfils a condition."""
    deadline = time.monotonic() + 120
    with contextlib.ExitStack() as opened:
        database: Database | None = None
        while time.monotonic() < deadline:
            # Not by commands: each would take a second of what the workers need.
            with contextlib.suppress(InputError):
                database = database or opened.enter_context(Database.open(storage))
                if condition(progress(database, find_study(database, "tiny")).to_json()):
                    return
            time.sleep(0.1)
    pytest.fail("it did not happen within two minutes")
