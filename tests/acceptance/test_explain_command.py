"""`explain` through the command line: JSON, a page, and what many texts say."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.artifacts import TINY, make_artifact, words_of
from tests.commands import ask, call, command, environment

TEXT = "A great <script>alert(1)</script> movie"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("artifacts") / "two"
    make_artifact(target, words_of([TEXT]), params=[TINY, TINY])
    return target


def test_texts_of_stdin_are_explained_in_order(folder: Path) -> None:
    done = subprocess.run(
        command("explain", folder, "-", "--class", "class 1", "--format", "json", "--each-model"),
        input=f"{TEXT}\n\n",
        capture_output=True,
        text=True,
        env=environment(None),
    )

    assert done.returncode == 0, done.stderr
    first, empty = map(json.loads, done.stdout.splitlines())
    assert [word["text"] for word in first["words"]] == TEXT.split()
    assert first["class"] == "class 1"
    change = first["log_odds"] - first["baseline"]
    assert sum(word["attribution"] for word in first["words"]) == pytest.approx(change, abs=0.01)
    assert [model["file"] for model in first["models"]] == ["model-0.keras", "model-1.keras"]
    assert [word["text"] for word in empty["words"]] == [""]


def test_a_page_is_written_and_many_texts_are_summed_up(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"

    done = call("explain", folder, TEXT, "-o", page, "--each-model", storage=None)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.read_text()
    assert "<script" not in page.read_text()

    (tmp_path / "reviews.csv").write_text(f"review,film\n{TEXT},a\n{TEXT},b\n")
    words = ("explain", folder, tmp_path / "reviews.csv", "--column", "review", "--summary")
    done = call(*words, "--min-texts", "2", "--group", "film", storage=None)
    assert done.returncode == 0, done.stderr
    assert "Words for class 0" in done.stdout
    assert "Words on which the models disagree" in done.stdout
    assert "2 texts, 4 words in 2 texts or more" in done.stdout


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--group", "film"), "--group is about many texts: with --summary only"),
        (("--summary", "-o", "page.html"), "-o shows single texts: without --summary only"),
        (("--format", "json", "-o", "page.html"), "Leave out one of them"),
        (("-o", "nowhere/page.html"), "there is no folder nowhere"),
        (("--summary", "--group", "film"), "Received no file"),
    ],
)
def test_what_does_not_go_together_is_refused_before_any_work(
    tmp_path: Path, words: tuple[str, ...], reason: str
) -> None:
    done = ask("explain", tmp_path, "a text", *words, storage=None)

    assert done.returncode == 2
    assert reason in done.stderr
