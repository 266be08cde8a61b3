"""The Slurm script: what it asks of Slurm when a worker is done, dies or has to end.

The script and the worker are real; in the place of Slurm's programs are three that write down what
they are asked for. As the real ones, `srun` kills its worker where somebody ends it, and `scancel`
passes signals on.
"""

import os
import shlex
import signal
import subprocess
import sysconfig
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.deployed import HOPELESS, ROOT, SLURM
from tuner.cli import main


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A folder with a script for nodes without GPUs, and programs in the place of Slurm's."""
    script = SLURM.read_text().replace("#SBATCH --gres=gpu:1\n", "").replace("--require-gpu ", "")
    (tmp_path / "tuner.sbatch").write_text(script)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").write_text(
        f"export PATH={shlex.quote(str(tmp_path / 'slurm'))}"
        f":{shlex.quote(sysconfig.get_path('scripts'))}:$PATH\n"
    )
    (tmp_path / "slurm").mkdir()
    programs = {
        "srun": """
            echo running >> calls
            [ -z "${DIES:-}" ] || kill -s "$DIES" $$
            "$@" & worker=$!
            echo $worker > step
            trap 'kill -KILL $worker' TERM
            wait $worker
        """,
        "scontrol": 'echo "$@" >> calls',
        "scancel": 'echo "$@" >> calls; kill -TERM "$(cat step)"',
    }
    for name, body in programs.items():
        path = tmp_path / "slurm" / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    return tmp_path


def task(cluster: Path, study: str, **environment: str) -> subprocess.Popen[str]:
    """Run the script as an array task."""
    return subprocess.Popen(
        ["bash", "tuner.sbatch", study],
        cwd=cluster,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(cluster),
            "SLURM_JOB_ID": "4711",
            "TUNER_STORAGE": f"sqlite:///{cluster / 'tuner.db'}",
            **environment,
        },
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(cluster: Path, started: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Wait for a task; its exit code, and what was asked of Slurm."""
    started.communicate(timeout=60)
    calls = cluster / "calls"
    return started.returncode, calls.read_text().splitlines() if calls.exists() else []


def submit(cluster: Path, study: str, **environment: str) -> tuple[int, list[str]]:
    return outcome(cluster, task(cluster, study, **environment))


def waiting(cluster: Path, **environment: str) -> subprocess.Popen[str]:
    """Run the script until its worker waits for a database."""
    nowhere = "postgresql://tuner@127.0.0.1:1/tuner"
    started = task(cluster, "imdb", TUNER_STORAGE=nowhere, **environment)
    assert started.stderr is not None
    while "Waiting for it" not in (line := started.stderr.readline()):
        assert line, "the worker ended"
    return started


def test_a_task_whose_study_is_done_ends(cluster: Path) -> None:
    storage = f"sqlite:///{cluster / 'tuner.db'}"
    for words in (["create", str(ROOT / "studies/quickstart.toml")], ["stop", "quickstart"]):
        done = CliRunner().invoke(main, [*words, "--storage", storage])
        assert done.exit_code == 0, done.output

    assert submit(cluster, "quickstart") == (0, ["running"])


def test_a_task_with_bad_input_ends(cluster: Path) -> None:
    assert submit(cluster, "unknown") == (HOPELESS, ["running"])


def test_a_task_without_a_storage_ends_before_it_runs(cluster: Path) -> None:
    code, calls = submit(cluster, "imdb", TUNER_STORAGE="")

    assert (code != 0, calls) == (True, [])


def test_a_task_that_dies_is_queued_again(cluster: Path) -> None:
    assert submit(cluster, "imdb", DIES="KILL") == (0, ["running", "requeue 4711"])


def test_a_task_that_always_dies_is_queued_again_a_hundred_times(cluster: Path) -> None:
    code, calls = submit(cluster, "imdb", DIES="KILL", SLURM_RESTART_COUNT="100")

    assert (code, calls) == (137, ["running"])


@pytest.mark.parametrize(
    ("array", "name"),
    [({}, "4711"), ({"SLURM_ARRAY_JOB_ID": "4711", "SLURM_ARRAY_TASK_ID": "7"}, "4711_7")],
    ids=["job", "the task whose number is that of its array"],
)
def test_a_task_whose_time_is_over_ends_its_worker_and_is_queued_again(
    cluster: Path, array: dict[str, str], name: str
) -> None:
    started = waiting(cluster, **array)

    started.send_signal(signal.SIGUSR1)

    calls = ["running", f"--signal=TERM {name}", f"requeue {name}"]
    assert outcome(cluster, started) == (0, calls)


def test_a_task_whose_worker_is_ended_from_outside_is_not_queued_again(cluster: Path) -> None:
    assert submit(cluster, "imdb", DIES="TERM") == (143, ["running"])


def test_a_task_that_is_cancelled_is_not_queued_again(cluster: Path) -> None:
    started = waiting(cluster)

    started.send_signal(signal.SIGTERM)  # Slurm ends the script ...
    os.kill(int((cluster / "step").read_text()), signal.SIGTERM)  # ... and its step

    assert outcome(cluster, started) == (-signal.SIGTERM, ["running"])
