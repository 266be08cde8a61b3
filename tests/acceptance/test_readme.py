"""What the README says is true."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from tuner.cli import main
from tuner.config import StudyConfig
from tuner.params import GRUParams

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def command_lines() -> list[str]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [
        part.strip()
        for line in lines
        for part in line.split("&&")
        if re.match(r"(\.venv/bin/)?tuner ", part.strip())
    ]


def test_the_two_first_commands_install_what_the_locks_pin_and_run() -> None:
    run, tests = (block.strip() for block in blocks("sh")[:2])

    assert run.startswith("python3 -m venv .venv && ")
    assert run.endswith("tuner run studies/quickstart.toml --workers 2")
    assert tests.endswith("pytest")
    assert ".venv/bin/pip install -q -r requirements-test.lock" in tests


@pytest.mark.parametrize("line", command_lines())
def test_each_command_line_is_one_that_the_command_line_takes(line: str) -> None:
    _, name, *words = shlex.split(line, comments=True)

    command = main.commands[name]
    with command.make_context(name, words) as context:
        assert context.params


def test_every_command_is_in_the_readme() -> None:
    missing = [
        name
        for name, command in main.commands.items()
        if isinstance(command, click.Command) and f"`tuner {name}" not in README
    ]

    assert missing == []


def test_the_study_file_in_it_loads(tmp_path: Path) -> None:
    text, goals = map(tomllib.loads, blocks("toml"))
    text |= {"name": "readme", "folder": str(tmp_path)}

    config = StudyConfig.model_validate(text)
    small = StudyConfig.model_validate(text | goals)

    assert config.budget.trials == 60
    assert (small.objectives, small.constraints) == (
        ("val_accuracy", "bytes"),
        {"bytes": 2_000_000},
    )


def test_the_notebook_example_runs() -> None:
    (code,) = blocks("python")

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=240
    )

    assert done.returncode == 0, done.stderr
    assert "learning_rate" in done.stdout


def test_the_locks_hold_hashes_and_no_address() -> None:
    for name in ("requirements.lock", "requirements-test.lock"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        pins = re.findall(r"^[a-z0-9_.-]+==\S+", text, flags=re.MULTILINE)
        assert len(pins) > 30
        assert text.count("--hash=sha256:") > len(pins)


def test_every_hyperparameter_is_told_with_its_default() -> None:
    table = README.split("| In `[space]` |")[1].split("\n\n")[0]
    told: dict[str, object] = {}
    for row in table.splitlines()[2:]:
        names, defaults = (cell.strip() for cell in row.split("|")[1:3])
        values = [tomllib.loads(f"x = {d.strip('` ')}")["x"] for d in defaults.split(", ")]
        told |= dict(zip(re.findall(r"`(\w+)`", names), values, strict=True))

    assert told == GRUParams().model_dump()
