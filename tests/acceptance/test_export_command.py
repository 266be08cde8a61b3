"""`export` through the command line: a process of its own does it, which sees no GPU."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.artifacts import make_artifact, words_of
from tests.commands import ask, command

TEXTS = ["A great movie!", "", "not great at all"]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("artifacts") / "tiny.model"
    make_artifact(target, words_of(TEXTS))
    return target


def start(*words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("export", *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ) | {"CUDA_VISIBLE_DEVICES": "0", "PGPASSWORD": "secret"},
    )


def child_of(process: subprocess.Popen[str]) -> psutil.Process:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for child in psutil.Process(process.pid).children():
            if "tuner.deliver.export" in child.cmdline():
                return child
        time.sleep(0.02)
    pytest.fail("no process began to export within a minute")


def test_the_process_that_exports_sees_no_gpu_and_no_secret(artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text("text\ngreat\nnot great\n")
    running = start(
        artifact,
        *("--to", "saved_model", "-o", tmp_path / "out", "--texts", tmp_path / "texts.csv"),
        *("--format", "json"),
    )
    seen = child_of(running).environ()
    printed, said = running.communicate(timeout=240)

    assert running.returncode == 0, said
    assert seen["CUDA_VISIBLE_DEVICES"] == "-1"
    assert "PGPASSWORD" not in seen
    told = json.loads(printed)
    assert (told["export"], told["to"]) == (str(tmp_path / "out"), "saved_model")
    assert told["parity"]["texts"].endswith(", 2 of texts.csv")
    assert told["parity"]["difference"] < 1e-6
    assert (tmp_path / "out" / "model" / "saved_model.pb").exists()
    assert [line.split()[0] for line in said.splitlines()] == ["Converting", "Comparing"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "last"),
    [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "Converting")],
)
def test_an_interrupted_export_leaves_nothing(
    artifact: Path,
    tmp_path: Path,
    heard_interruptions: None,
    number: signal.Signals,
    code: int,
    last: str,
) -> None:
    running = start(artifact, "--to", "saved_model", "-o", tmp_path / "out")
    child = child_of(running)
    assert running.stderr is not None
    assert running.stderr.readline().startswith("Converting")
    running.send_signal(number)
    _, said = running.communicate(timeout=60)

    assert running.returncode == code
    assert not said or said.splitlines()[-1] == last
    assert not child.is_running()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_ends_with_the_reason(tmp_path: Path) -> None:
    done = ask("export", tmp_path, "--to", "saved_model", "-o", tmp_path / "out", storage=None)

    assert done.returncode == 2
    assert "is no artifact" in done.stderr
    assert "Traceback" not in done.stderr
