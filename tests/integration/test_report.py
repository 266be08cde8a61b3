"""The page about a study, over each database."""

import itertools
import json
import math
import re
import resource
import subprocess
import sys
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import optuna
import plotly.graph_objects as go
import pytest
from click.testing import CliRunner
from optuna.trial import TrialState

from tests.conftest import StudyMaker, on_one_database
from tests.integration.test_storage import open_slot, slots_of
from tests.large_study import fill
from tuner import __version__
from tuner.cli import main
from tuner.report import course, params, render
from tuner.storage import (
    Database,
    Ending,
    StoredStudy,
    agree_on_data,
    create_study,
    end_study,
    extend_study,
    find_study,
    other_versions,
    retry_failed,
)

NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & \u2028 {{ 7 * 7 }}"


class Page(HTMLParser):
    """What a browser would see of a page: elements, figures, text outside of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._scripts: dict[str, str] = {}
        self._is_code = False
        self.feed(text)
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._is_code = tag in {"script", "style"}
        if tag == "script":
            self._script = dict(attrs).get("id") or ""

    def handle_endtag(self, tag: str) -> None:
        self._is_code = self._is_code and tag not in {"script", "style"}

    def handle_data(self, data: str) -> None:
        if not self._is_code:
            self.text += data
        elif self.lasttag == "script":
            self._scripts[self._script] = self._scripts.get(self._script, "") + data

    @property
    def figures(self) -> dict[str, Any]:
        figures = json.loads(self._scripts["figures"])
        assert isinstance(figures, dict)
        for figure in figures.values():
            go.Figure(figure)  # Plotly's own check of names and kinds
        return figures

    def ids(self, tag: str) -> set[str | None]:
        return {attributes.get("id") for name, attributes in self.elements if name == tag}


def page_of(database: Database, study: StoredStudy) -> Page:
    text = render(database, study)
    page = Page(text)
    assert page.figures.keys() == {
        attributes["id"] for _, attributes in page.elements if attributes.get("role") == "img"
    }
    return page


def end_one(
    database: Database,
    study: StoredStudy,
    value: float | None,
    *,
    state: TrialState = TrialState.COMPLETE,
    reports: tuple[float, ...] = (),
    facts: Mapping[str, object] | None = None,
) -> None:
    slots = slots_of(database, study)
    claim = open_slot(database, study, slots)
    for epoch, report in enumerate(reports, start=1):
        slots.report(claim, 4 * epoch, report)
    slots.close(claim, Ending(state=state, value=value, attributes=facts or {}, constraints={}))


def test_a_page_tells_everything_about_a_study(database: Database) -> None:
    study = fill(database, n_trials=120, n_reports=6)
    agree_on_data(database, study, "sha256-of-the-data")
    other_versions(database, study, {"keras": "3.15.1", "tuner": "0.0.9"})
    extend_study(database, study, 5)
    study = find_study(database, "big")

    page = page_of(database, study)

    assert page.figures.keys() > {
        *("history", "curves", "importance", "parallel", "time", "timeline", "slice-0")
    }
    for told in (
        "This study looks for the highest val_accuracy. 116 of 125 trials are done",
        "The best, trial ",
        "learning_rate",
        "within noise",
        "To fix its hyperparameters, put into a study file",
        "learning_rate = 0.00",
        "8 workers on 8 machines ran 120 trials",
        "the trainer died: signal 9 (killed)",
        "among the worse two thirds after epoch #",
        "budget.trials: 120 -> 125",
        'pooling = ["last", "max", "mean", "mean_max"]',
        "sha256-of-the-data",
        "3.15.1",
        f"by tuner {__version__}",
        "idle, between trials",
    ):
        assert told in page.text, told


@on_one_database
def test_a_page_is_whole_by_itself(database: Database) -> None:
    text = render(database, fill(database, n_trials=40, n_reports=3))

    page = Page(text)

    assert text.count("* plotly.js v") == 1
    assert len(text) < 6e6
    assert page.elements[0] == ("html", {"lang": "en"})
    assert "default-src 'none'" in text
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "data"):
            link = attributes.get(name) or ""
            assert not link or link.startswith(("#", "data:")), (tag, link)
        assert not any(name.startswith("on") for name in attributes), tag
    targets = {str(a["href"])[1:] for tag, a in page.elements if tag == "a"}
    assert targets <= page.ids("section")


@on_one_database
def test_headings_are_in_order_and_plots_have_words(database: Database) -> None:
    page = page_of(database, fill(database, n_trials=60, n_reports=3))

    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    captions = page.ids("figcaption")
    for _, attributes in page.elements:
        if attributes.get("role") == "img":
            assert attributes["aria-labelledby"] in captions
        if attributes.get("role") == "region":
            assert attributes["tabindex"] == "0"
            assert attributes["aria-label"]


def test_what_the_database_holds_is_shown_and_never_obeyed(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy(f"data.source={json.dumps(NASTY)}")).study
    names = ("host", "worker", "device", "versions", "reason", "seconds", NASTY)
    facts = dict.fromkeys(names, NASTY)
    end_one(database, study, 0.5, reports=(0.4, 0.5), facts=facts)
    end_one(database, study, 0.4, state=TrialState.PRUNED, reports=(0.4,), facts=facts)
    end_one(database, study, None, state=TrialState.FAIL, facts=facts)
    end_study(database, study, reason="bug", message=f"{NASTY}\n{NASTY}")

    page = page_of(database, study)

    assert [tag for tag, _ in page.elements].count("script") == 4
    assert not any(tag == "img" for tag, _ in page.elements)
    assert "<img src=x onerror=alert(2)>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    labels = page.figures["timeline"]["layout"]["yaxis"]["ticktext"]
    assert labels
    assert not any("<" in label for label in labels)


def test_a_study_without_a_trial_has_a_page(database: Database, toy: StudyMaker) -> None:
    page = page_of(database, create_study(database, toy()).study)

    assert page.figures == {}
    for told in (
        "0 of 6 trials are done",
        "No trial has a value yet.",
        "0 usable trials",
        "No trial has begun yet.",
        "No trial was pruned or failed.",
        "not known yet",
    ):
        assert told in page.text, told


def test_a_study_of_failures_says_why(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    for code in (7, 11):
        reason = f"exit code {code} in <layer>"
        facts = {"reason": reason, "host": "here"}
        end_one(database, study, None, state=TrialState.FAIL, facts=facts)

    page = page_of(database, study)

    assert page.figures.keys() == {"time", "timeline"}
    assert "exit code # in <layer>trial 0: exit code 7 in <layer>" in page.text


def test_trials_that_were_given_another_go_are_told_apart(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    end_one(database, study, None, state=TrialState.FAIL, facts={"host": "here"})
    retry_failed(database, study)
    end_one(database, study, 0.5, facts={"host": "here", "seconds": 0.001})

    page = page_of(database, study)

    assert "1 failed trial was given another go" in page.text
    assert [trace["name"] for trace in page.figures["timeline"]["data"]] == [
        *("complete (1)", "superseded (1)")
    ]
    assert "Training itself took 0 s" in page.text


def test_trials_that_run_are_shown_with_what_they_reported(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    slots = slots_of(database, study)
    claim = open_slot(database, study, slots)
    slots.report(claim, 4, 0.6)
    open_slot(database, study, slots_of(database, study, "other"))

    page = page_of(database, study)

    assert [trace["name"] for trace in page.figures["history"]["data"]] == ["running (1)"]
    assert "2 trials run now." in page.text
    assert "No trial has been completed yet." in page.text


def test_values_that_are_not_finite_leave_gaps(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy("metric=val_loss")).study
    end_one(database, study, 0.7, reports=(0.9, math.nan, 0.7))
    end_one(database, study, math.inf, reports=(math.inf,))
    end_one(database, study, 1e30, reports=(1e30,))
    end_one(database, study, None, state=TrialState.PRUNED, reports=(math.nan,))

    page = page_of(database, study)

    assert "Trial 0: val_loss 0.7" in page.text
    curve = page.figures["curves"]["data"][-1]
    assert curve["y"] == [0.9, None, 0.7]


@pytest.mark.parametrize(
    "space", ["space={learning_rate={low=0.1,high=0.2}}", "space={learning_rate=0.1}"]
)
@on_one_database
def test_few_parameters_are_enough(database: Database, toy: StudyMaker, space: str) -> None:
    study = create_study(database, toy(space)).study
    end_one(database, study, 0.7)

    page = page_of(database, study)

    assert ("slice-0" in page.figures) == ("low" in space)
    assert ("tunes no parameter" in page.text) == ("low" not in space)


def test_trials_made_by_other_means_are_shown_and_not_counted(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    end_one(database, study, 0.5)
    optuna.load_study(study_name="toy", storage=database.storage).ask()

    page = page_of(database, study)

    assert "1 of 6 trials are done: 1 complete." in page.text
    assert "1 more trial was made by other means, outside the budget." in page.text


@on_one_database
def test_what_is_left_out_is_said(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    study = fill(database, n_trials=420, n_reports=2)
    monkeypatch.setattr(course, "MAX_POINTS", 100)
    monkeypatch.setattr(params, "MAX_DOTS", 50)
    monkeypatch.setattr("tuner.report.parallel.MAX_LINES", 80)
    for module in ("page", "work"):
        monkeypatch.setattr(f"tuner.report.{module}.MAX_WORKERS", 3)

    page = page_of(database, study)

    assert re.search(r"Shown are 1\d\d of 420 trials, evenly taken, and all that were", page.text)
    assert "Shown are 300 of 420 curves: the 50 best and an even sample" in page.text
    assert re.search(r"Shown are 80 of 4\d\d trials: the best tenth and an even", page.text)
    assert re.search(r"Shown are 50 of 4\d\d\.", page.text)
    assert "Shown are the 3 workers with the most trials." in page.text
    assert "The 3 busiest of 8 workers" in page.text
    points = sum(len(t["x"]) for t in page.figures["history"]["data"] if t["mode"] == "markers")
    assert points < 200


@on_one_database
def test_time_is_summed_by_outcome(database: Database) -> None:
    study = fill(database, n_trials=80, n_reports=3, n_running=0)

    page = page_of(database, study)

    # 25 s a trial, one each 30 s on each of 8 workers: ten trials take 295 s, of which 45 s idle.
    assert "All workers together spent 39 min 20 s." in page.text
    assert "Between trials workers waited 6 min 0 s." in page.text
    assert "4 min 10 s" in page.text


def call(database: Database, *words: str) -> Any:
    storage = {"TUNER_STORAGE": database.engine.url.render_as_string(hide_password=False)}
    return CliRunner().invoke(main, list(words), env=storage)


@on_one_database
def test_the_command_writes_a_whole_file_and_replaces_an_old_one(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, n_trials=30, n_reports=2)
    monkeypatch.chdir(tmp_path)
    Path("big-report.html").write_text("old")

    done = call(database, "report", "big")

    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert "Wrote big-report.html (4." in done.stderr
    assert Path("big-report.html").read_text().endswith("</html>\n")
    assert [path.name for path in tmp_path.iterdir()] == ["big-report.html"]


@on_one_database
def test_the_command_prints_to_stdout_where_asked(database: Database, toy: StudyMaker) -> None:
    create_study(database, toy())

    done = call(database, "report", "toy", "-o", "-")

    assert done.exit_code == 0
    assert done.stdout.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("name", "told"),
    [("missing/report.html", "there is no folder"), (".", "is a folder. Expected the name")],
)
@on_one_database
def test_a_place_that_cannot_be_written_is_told(
    database: Database, toy: StudyMaker, tmp_path: Path, name: str, told: str
) -> None:
    create_study(database, toy())

    done = call(database, "report", "toy", "-o", str(tmp_path / name))

    assert done.exit_code == 2
    assert told in done.stderr


@on_one_database
def test_a_full_disk_leaves_the_old_report(
    database: Database, toy: StudyMaker, tmp_path: Path
) -> None:
    create_study(database, toy())
    old = tmp_path / "report.html"
    old.write_text("old")
    storage = database.engine.url.render_as_string(hide_password=False)
    words = ["report", "toy", "-o", str(old)]

    def leave_no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    done = subprocess.run(
        [sys.executable, "-c", f"from tuner.cli import main; main({words!r})"],
        env={"TUNER_STORAGE": storage, "PATH": ""},
        preexec_fn=leave_no_room,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2, done.stderr
    assert "cannot be written: File too large. Make room" in done.stderr
    assert old.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if "report" in path.name] == ["report.html"]


@on_one_database
def test_importance_is_printed_as_a_table_and_as_json(database: Database) -> None:
    fill(database, n_trials=90, n_reports=2)

    table = call(database, "importance", "big")
    document = call(database, "importance", "big", "--format", "json")

    assert table.exit_code == document.exit_code == 0
    assert re.search(r"learning_rate +0\.\d\d +0\.\d\d to [01]\.\d\d +0\.\d\d +", table.stdout)
    found = json.loads(document.stdout)
    assert found["reading"] in table.stdout.replace("\n", " ")
    assert found["n_used"] == found["n_complete"] + found["n_pruned"]
    assert {p["name"] for p in found["parameters"]} > {"learning_rate", "layer_dropout"}


@on_one_database
def test_importance_of_a_young_study_is_refused(database: Database, toy: StudyMaker) -> None:
    create_study(database, toy())

    done = call(database, "importance", "toy")

    assert done.exit_code == 4
    assert "0 usable trials" in done.stderr
