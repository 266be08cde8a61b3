"""A short run of chaos over each database: studies come out right whatever is killed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NO_POSTGRES = 2


@pytest.mark.parametrize(
    "storage", [["sqlite"], ["postgres", "--restarts", "2"]], ids=lambda s: s[0]
)
def test_a_study_comes_out_right_whatever_is_killed(storage: list[str]) -> None:
    command = [sys.executable, "-m", "tests.acceptance.chaos", "--json", "--storage", *storage]
    settings = ["--kills", "15", "--lease", "8", "--tear-checkpoints"]

    done = subprocess.run([*command, *settings], cwd=ROOT, capture_output=True, text=True)

    if done.returncode == NO_POSTGRES and not os.environ.get("CI"):
        pytest.skip(done.stderr)
    assert done.stdout, done.stderr
    certificate = json.loads(done.stdout)
    failed = [check for check in certificate["checks"] if not check["passed"]]
    assert certificate["clean"], json.dumps([failed, certificate["facts"]], indent=2)
