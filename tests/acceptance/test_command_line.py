"""The command line as a person uses it: real processes, real tiny trainings."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.commands import (
    TINY,
    ask,
    call,
    command,
    data,
    environment,
    settings,
    start,
    wait_for,
)
from tests.integration.test_budget import fail_a_trial
from tuner.cli import main
from tuner.host import own_module
from tuner.processor import usable_cores
from tuner.storage import Database, agree_on_data, find_study


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'studies.db'}"


def test_a_study_file_becomes_a_best_model_that_every_command_can_tell_of(
    empty_url: str, study_file: Path
) -> None:
    done = call("run", study_file, "--workers", "auto", storage=empty_url)

    assert done.returncode == 0, done.stderr
    n = re.search(r"Starting (\d+) workers? on the processor, 1 thread.*: \d+ core", done.stderr)
    assert n is not None, done.stderr
    assert 1 <= int(n[1]) <= min(3, usable_cores())
    assert "Best of 'tiny': trial" in done.stdout
    assert "[space]\n" in done.stdout
    assert "Created study 'tiny'" in done.stderr
    best = data("best", "tiny", "--format", "json", storage=empty_url)
    assert best.keys() == {"number", "value", "params"}
    assert best["params"]["embedding"] == 4  # fixed values belong to the answer
    top = data("best", study_file, "--top", "5", "--format", "json", storage=empty_url)
    assert top[0] == best
    assert [row["value"] for row in top] == sorted((r["value"] for r in top), reverse=True)
    status = data("status", "tiny", "--format", "json", storage=empty_url)
    assert (status["budget"], status["done"], status["held"]) == (3, 3, 0)
    assert data("list", "--format", "json", storage=empty_url)["name"] == "tiny"
    shown = data("show", "tiny", str(best["number"]), "--format", "json", storage=empty_url)
    assert [report["step"] for report in shown["reports"]] == [1, 2, 3, 4]
    assert shown["attributes"]["val_accuracy"] == shown["value"] == best["value"]
    assert shown["attributes"]["best_epoch"] == 1
    assert shown["attributes"]["device"] == "cpu"
    assert sys.platform != "linux" or shown["attributes"]["peak_memory_mb"] > 100
    lines = ask("trials", "tiny", "--format", "json", storage=empty_url).stdout.splitlines()
    assert [json.loads(line)["number"] for line in lines] == [0, 1, 2]
    text = ask("trials", "tiny", "--format", "csv", storage=empty_url).stdout
    assert [row["number"] for row in csv.DictReader(io.StringIO(text))] == ["0", "1", "2"]
    for words in (["trials", "tiny"], ["status", "tiny"], ["show", "tiny", "0"], ["list"]):
        table = ask(*words, storage=empty_url)
        assert table.returncode == 0, table.stderr
        assert "tiny" in table.stdout or "learning_rate" in table.stdout

    again = call("run", study_file, storage=empty_url)  # nothing is left to do

    assert again.returncode == 0
    assert again.stdout == done.stdout
    assert "going on with it" in again.stderr
    grown = call("run", study_file, "--set", "budget.trials=4", storage=empty_url)
    assert grown.returncode == 0, grown.stderr
    assert "budget.trials: 3 -> 4" in grown.stderr
    assert data("status", "tiny", "--format", "json", storage=empty_url)["done"] == 4


@pytest.mark.slow
def test_create_and_work_are_the_two_halves_of_run(sqlite: str, study_file: Path) -> None:
    assert ask("create", study_file, storage=sqlite).returncode == 0
    queued = ask("enqueue", "tiny", "units=4", "learning_rate=0.02", storage=sqlite)
    assert queued.returncode == 0, queued.stderr

    worked = call("work", "tiny", storage=sqlite)

    assert worked.returncode == 0, worked.stderr
    first = data("show", "tiny", "0", "--format", "json", storage=sqlite)
    assert (first["params"]["units"], first["params"]["learning_rate"]) == (4, 0.02)
    deleted = ask("delete", "tiny", "--yes", storage=sqlite)
    assert deleted.returncode == 0
    assert ask("status", "tiny", storage=sqlite).returncode == 2


def test_ctrl_c_hands_the_trials_back_and_the_next_worker_goes_on_with_them(
    empty_url: str, study_file: Path, tmp_path: Path
) -> None:
    artifacts = ("--artifacts", str(tmp_path / "artifacts"))
    threads = str(max(1, usable_cores() // 2))
    slow = settings("data.examples=2000", "budget.epochs=200", "pruner.name=none")
    running = start("run", study_file, "--workers", "2", *slow, *artifacts, storage=empty_url)
    wait_for(
        empty_url,
        lambda status: [bool(row["last_step"]) for row in status["running"]] == [True, True],
    )

    listed = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=True)
    assert "tuner.worker.trainer" in listed.stdout  # workers and trainers are in the list ...
    assert empty_url not in listed.stdout  # ... and nothing there tells where the storage is

    running.send_signal(signal.SIGINT)
    _, talk = running.communicate(timeout=30)

    assert running.returncode == 130, talk
    assert "handed back" in talk
    assert "Traceback" not in talk
    after = data("status", "tiny", "--format", "json", storage=empty_url)
    assert (after["held"], after["free"], after["done"]) == (0, 3, 0)
    assert [row["state"] for row in after["running"]] == ["waiting", "waiting"]
    # With other threads a value may differ in its last bits: it would begin anew.
    again = ("work", "tiny", "--threads", threads, *artifacts)
    with start(*again, storage=empty_url) as worker:
        assert worker.stderr is not None
        assert any(re.search(r"goes on after \d+ batches", line) for line in worker.stderr)
        worker.send_signal(signal.SIGTERM)
        assert "Traceback" not in worker.stderr.read()
        assert worker.wait(10) == 143


def test_a_signal_to_all_processes_of_a_service_leaves_checkpoints_and_hands_trials_back(
    sqlite: str, study_file: Path, tmp_path: Path
) -> None:
    slow = settings("data.examples=2000", "budget.epochs=200", "pruner.name=none")
    assert ask("create", study_file, *slow, storage=sqlite).returncode == 0
    with start("work", "tiny", "--workers", "2", storage=sqlite) as service:
        wait_for(
            sqlite,
            lambda status: [bool(row["last_step"]) for row in status["running"]] == [True, True],
        )
        everyone = psutil.Process(service.pid).children(recursive=True)
        assert len(everyone) >= 4  # workers and trainers
        for pid in [*(process.pid for process in everyone), service.pid]:
            os.kill(pid, signal.SIGTERM)
        _, talk = service.communicate(timeout=30)

    assert service.returncode == 143, talk
    after = data("status", "tiny", "--format", "json", storage=sqlite)
    assert (after["held"], after["done"]) == (0, 0)
    assert [row["state"] for row in after["running"]] == ["waiting", "waiting"]
    assert len(list(tmp_path.glob("studies.artifacts/*/slot-*/*/*.ckpt"))) == 2
    assert "Traceback" not in talk


@pytest.mark.parametrize(
    "words", [("list",), ("trials", "tiny"), ("trials", "tiny", "--format", "csv")]
)
def test_a_reader_that_has_enough_is_no_error(
    sqlite: str, study_file: Path, words: tuple[str, ...]
) -> None:
    assert ask("create", study_file, storage=sqlite).returncode == 0
    reads, writes = os.pipe()
    os.close(reads)

    done = subprocess.run(
        command(*words), stdout=writes, stderr=subprocess.PIPE, text=True, env=environment(sqlite)
    )

    os.close(writes)
    assert (done.returncode, done.stderr) == (141, "")


def test_files_of_the_current_folder_are_not_taken_for_modules(
    sqlite: str, study_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("tuner", "keras", "random", "queue"):
        (folder / f"{name}.py").write_text("raise SystemExit(f'{__file__} was run')")

    done = subprocess.run(
        [*own_module("tuner"), "run", str(study_file), *settings("budget.trials=1")],
        cwd=folder,
        env=environment(sqlite),
        capture_output=True,
        text=True,
        timeout=240,
    )

    assert done.returncode == 0, done.stderr
    assert "was run" not in done.stderr


@pytest.mark.slow
def test_an_interrupted_trial_goes_on_from_its_checkpoint_to_the_value_it_would_have_had(
    sqlite: str, study_file: Path, tmp_path: Path
) -> None:
    long = settings("data.examples=2000", "budget.epochs=30", "budget.trials=1")
    with start("run", study_file, *long, storage=sqlite) as running:
        wait_for(sqlite, lambda status: any(row["last_step"] for row in status["running"]))
        running.send_signal(signal.SIGTERM)
        assert running.stderr is not None
        talk = running.stderr.read()
        assert running.wait(30) == 143, talk
    assert "handed back" in talk
    assert data("status", "tiny", "--format", "json", storage=sqlite)["trials"] == {"waiting": 1}
    assert list(tmp_path.glob("studies.artifacts/*/slot-000000/*/*.ckpt"))

    done = call("run", study_file, *long, storage=sqlite)

    assert done.returncode == 0, done.stderr
    shown = data("show", "tiny", "0", "--format", "json", storage=sqlite)
    assert shown["state"] == "complete"
    assert 0 < shown["attributes"]["resumed_epochs"] <= 30
    assert not list(tmp_path.glob("studies.artifacts/*/*"))  # nobody needs them any more
    again = data("reproduce", "tiny", "0", "--format", "json", storage=sqlite)
    assert again["equal"]
    assert [report["step"] for report in again["reports"]][:5] == [1, 2, 3, 4, 8]


def test_a_study_that_is_stopped_ends_and_goes_on_when_it_is_extended(
    empty_url: str, study_file: Path
) -> None:
    with start("run", study_file, *settings("budget.trials=500"), storage=empty_url) as running:
        wait_for(empty_url, lambda status: status["done"])
        stopped = ask("stop", "tiny", storage=empty_url)
        out, talk = running.communicate(timeout=60)
        assert running.returncode == 0, talk
    assert stopped.returncode == 0, stopped.stderr
    assert "Stopped 'tiny'" in stopped.stderr
    assert "ended before its budget was used up: stopped by `tuner stop`" in talk
    assert "Best of 'tiny': trial" in out
    status = data("status", "tiny", "--format", "json", storage=empty_url)
    assert (status["ended"], status["held"]) == ("stopped", 0)
    assert 0 < status["done"] < 500
    assert "why: stopped by `tuner stop`" in ask("status", "tiny", storage=empty_url).stdout
    assert "ended: stopped" in ask("list", storage=empty_url).stdout
    assert "had ended before" in ask("stop", "tiny", storage=empty_url).stderr

    worked = call("work", "tiny", storage=empty_url)

    assert worked.returncode == 0
    assert "ended before its budget: stopped by `tuner stop`" in worked.stderr
    assert data("status", "tiny", "--format", "json", storage=empty_url) == status
    extended = ask("extend", "tiny", "--trials", "2", storage=empty_url)
    assert extended.returncode == 0, extended.stderr
    assert "has 502 trials now" in extended.stderr
    assert data("status", "tiny", "--format", "json", storage=empty_url)["ended"] is None


@pytest.mark.slow
def test_a_study_that_is_done_is_extended_and_run_again(sqlite: str, study_file: Path) -> None:
    one = settings("budget.trials=1")
    assert call("run", study_file, *one, storage=sqlite).returncode == 0

    extended = ask("extend", study_file, "--trials", "1", storage=sqlite)

    assert extended.returncode == 0, extended.stderr
    again = call("run", study_file, *one, storage=sqlite)
    assert again.returncode == 0, again.stderr
    assert "budget.trials stays 2" in again.stderr
    assert data("status", "tiny", "--format", "json", storage=sqlite)["done"] == 2
    assert ask("extend", "tiny", "--trials", "0", storage=sqlite).returncode == 2


@pytest.mark.slow
def test_a_failed_trial_gets_another_go(empty_url: str, study_file: Path) -> None:
    one = settings("budget.trials=1")
    assert ask("create", study_file, *one, storage=empty_url).returncode == 0
    with Database.open(empty_url) as database:
        fail_a_trial(database, find_study(database, "tiny"))
    failed = call("run", study_file, *one, storage=empty_url)
    assert failed.returncode == 4
    assert "tuner trials tiny" in failed.stderr

    retried = ask("retry", "tiny", storage=empty_url)

    assert retried.returncode == 0, retried.stderr
    assert "1 failed trial gets another go" in retried.stderr
    assert call("run", study_file, *one, storage=empty_url).returncode == 0
    lines = ask("trials", "tiny", "--format", "json", storage=empty_url).stdout.splitlines()
    old, new = (json.loads(line) for line in lines)
    assert (old["state"], old["superseded"]) == ("failed", True)
    assert (new["state"], new["superseded"]) == ("complete", False)
    assert old["params"].items() <= new["params"].items()
    assert "failed, superseded" in ask("trials", "tiny", storage=empty_url).stdout
    assert "No trial of 'tiny' has failed" in ask("retry", "tiny", storage=empty_url).stderr
    refused = call("reproduce", "tiny", "0", storage=empty_url)
    assert refused.returncode == 2
    assert "its slot was given to another trial" in refused.stderr


@pytest.mark.slow
def test_trials_complete_and_pruned_come_out_the_same_when_they_are_trained_again(
    sqlite: str, study_file: Path
) -> None:
    more = settings("data.examples=200", "budget.epochs=2", "budget.trials=8")
    assert call("run", study_file, *more, storage=sqlite).returncode == 0
    lines = ask("trials", "tiny", "--format", "json", storage=sqlite).stdout.splitlines()
    before = [json.loads(line) for line in lines]

    for state, steps in (("complete", [1, 2, 3, 4, 8]), ("pruned", [1, 2, 3, 4])):
        number = next(row["number"] for row in before if row["state"] == state)
        again = data("reproduce", "tiny", str(number), "--format", "json", storage=sqlite)
        assert again["equal"]
        assert again["differences"] == []
        assert [report["step"] for report in again["reports"]] == steps
        assert all(report["now"] == report["then"] for report in again["reports"])

    told = call("reproduce", "tiny", "0", storage=sqlite)
    assert told.returncode == 0, told.stderr
    assert "comes out the same, bit for bit" in told.stdout
    after = ask("trials", "tiny", "--format", "json", storage=sqlite).stdout.splitlines()
    assert after == lines


def test_deleting_a_study_removes_its_checkpoints(
    sqlite: str, study_file: Path, tmp_path: Path
) -> None:
    ask("create", study_file, storage=sqlite)
    with Database.open(sqlite) as database:
        key = find_study(database, "tiny").key
    for folder in ("studies.artifacts", "elsewhere"):
        (tmp_path / folder / key / "slot-000000").mkdir(parents=True)

    assert ask("delete", "tiny", "--yes", storage=sqlite).returncode == 0

    assert not (tmp_path / "studies.artifacts" / key).exists()
    assert (tmp_path / "elsewhere" / key).exists()


@pytest.mark.slow
def test_a_study_is_watched_until_it_is_over_and_keeps_its_trials_under_a_new_name(
    sqlite: str, study_file: Path
) -> None:
    created = ask("create", study_file, storage=sqlite)
    assert created.returncode == 0, created.stderr
    watch = ("status", "tiny", "--watch", "--format", "json")
    with start(*watch, storage=sqlite) as watching:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        assert ask("rename", "tiny", "other", storage=sqlite).returncode == 0
        done = call("work", "other", storage=sqlite)
        seen = [json.loads(line) for line in watching.stdout]

    assert done.returncode == 0, done.stderr
    assert watching.returncode == 0
    assert (first["done"], seen[-1]["done"]) == (0, 3)
    assert data("status", "other", "--format", "json", storage=sqlite)["done"] == 3


def test_a_changed_study_file_is_answered_with_a_diff(sqlite: str, study_file: Path) -> None:
    ask("create", study_file, storage=sqlite)

    refused = ask("create", study_file, "--set", "space.units=[2,8]", storage=sqlite)

    assert refused.returncode == 2
    assert "space.units: [2, 4] -> [2, 8]" in refused.stderr
    assert "--set name=tiny-2" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_check_says_what_would_run_and_stores_nothing(
    sqlite: str, study_file: Path, tmp_path: Path
) -> None:
    checked = ask("check", study_file, storage=sqlite)

    assert checked.returncode == 0, checked.stderr
    for words in (
        "maximize val_accuracy",
        "120 examples",
        "3 trials of at most 1 epoch",
        "~ units",
    ):
        assert words in checked.stdout
    assert not (tmp_path / "studies.db").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run", "nowhere.toml"], 2, "no such study file"),
        (["run", "{file}", "--set", "budget.trails=3"], 2, "Did you mean `trials`"),
        (["run", "{file}", "--set", "data.source=nothing.csv"], 2, "nothing.csv"),
        (["best", "tiny"], 2, "There is no database at"),
        (["best", "tiny", "--storage", "postgresql://tuner@localhost:1/tuner"], 3, "localhost"),
        (["best", "tiny", "--storage", "postgresql://tuner:s3cret@localhost/tuner"], 2, "password"),
        (["best", "tiny", "--storage", "mysql://tuner@localhost/tuner"], 2, "sqlite:///FILE"),
        (["best", "tiny", "--storage", "studies/tuner.db"], 2, "sqlite:///studies/tuner.db"),
        (["trials", "tiny", "--format", "xml"], 2, "'xml' is not one of"),
        (["refit", "tiny", "-o", "m", "--trial", "1", "--top", "2"], 2, "Give one of the two"),
        (["tell"], 2, "No such command"),
    ],
)
def test_a_mistake_has_its_exit_code_and_no_traceback(
    words: list[str], code: int, message: str, sqlite: str, study_file: Path, tmp_path: Path
) -> None:
    done = ask(*(word.format(file=study_file) for word in words), storage=sqlite)

    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "studies.db").exists()


def test_a_study_without_a_complete_trial_has_its_own_exit_code(
    sqlite: str, study_file: Path
) -> None:
    ask("create", study_file, storage=sqlite)

    done = call("best", "tiny", storage=sqlite)

    assert done.returncode == 4
    assert "tuner work tiny" in done.stderr


def test_what_a_worker_cannot_do_reaches_the_person_who_ran_it(
    sqlite: str, study_file: Path
) -> None:
    assert ask("create", study_file, storage=sqlite).returncode == 0
    with Database.open(sqlite) as database:
        agree_on_data(database, find_study(database, "tiny"), "what the first worker saw")

    done = call("run", study_file, storage=sqlite)

    assert done.returncode == 2, done.stderr
    assert "The data here is not what this study began with" in done.stderr


def test_help_is_quick_because_it_imports_nothing_heavy() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from tuner.cli import main; "
        "import tuner.cli.commands; CliRunner().invoke(main, ['--help']); "
        "heavy = {'tensorflow', 'keras', 'optuna', 'sqlalchemy', 'numpy', 'pydantic', 'rich'}; "
        "sys.exit(', '.join(sorted(heavy & sys.modules.keys())) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", list(main.commands))
def test_every_command_has_help(name: str) -> None:
    done = ask(name, "--help", storage=None)

    assert done.returncode == 0
    needs_no_study = {"cache", "predict", "explain", "export"}
    assert ("--storage URL" in done.stdout) == (name not in needs_no_study)
    assert r"\b" not in done.stdout, "examples keep their lines"
