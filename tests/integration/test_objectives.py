"""Several objectives: what workers write and everybody reads, over each database."""

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from click.testing import CliRunner
from optuna.trial import TrialState
from sqlalchemy import select, text

from tests.conftest import Databases, StudyMaker
from tests.objectives import TOY_STUDY
from tests.workers import make_worker
from tuner.cli import main
from tuner.config import StudyConfig
from tuner.dashboard.shelf import Shelf
from tuner.dashboard.truth import TrueStorage
from tuner.errors import FrozenStudyError, TrainerError
from tuner.report.page import render
from tuner.results import best_trials, learning_curves, progress, show_trial, trials
from tuner.sizes import SIZES, Shape
from tuner.storage import (
    Database,
    StoredStudy,
    copy_study,
    create_study,
    delete_study,
    extend_study,
    find_study,
)
from tuner.storage.history import History
from tuner.storage.schema import EVALUATIONS, REPORTS, SHAPES
from tuner.strategy import propose
from tuner.study_file import load_study_file
from tuner.worker.reproduce import reproduce

SHAPE = Shape(n_ids=1000, n_classes=2)
#: What is better is larger, but for the dropout; reports rise towards the value.
SEVERAL = (
    "space.units={low=5,high=256,log=true}",
    "space.embedding={low=4,high=256,log=true}",
    'metrics=["val_accuracy","bytes"]',
    "budget.trials=22",
)


def create(database: Database, config: StudyConfig) -> StoredStudy:
    return create_study(database, config, shape=SHAPE).study


@pytest.fixture(scope="module")
def _made(
    sqlite_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Database, StoredStudy]]:
    file = tmp_path_factory.mktemp("study") / "toy.toml"
    file.write_text(TOY_STUDY)
    with Database.open(sqlite_databases.with_tables()) as database:
        made = create(database, load_study_file(file, SEVERAL)[0])
        make_worker(database, made, "growing").run()
        yield database, made


@pytest.fixture
def study(database: Database, _made: tuple[Database, StoredStudy]) -> StoredStudy:
    """Twenty-two trials that a worker ran, some of them pruned."""
    return copy_study(*_made, database, name="toy", key="toy").study


def front_of(rows: list[tuple[int, float, float]]) -> list[int]:
    """Say by hand which trials no other one outdoes, highest value first."""
    kept = [
        (number, value, size)
        for number, value, size in rows
        if not any((v, -s) != (value, -size) and v >= value and s <= size for _, v, s in rows)
    ]
    return [number for number, _, _ in sorted(kept, key=lambda row: (-row[1], row[2], row[0]))]


def test_a_study_with_several_objectives_is_read_alike_by_all(
    database: Database, study: StoredStudy, tmp_path: Path
) -> None:
    rows = trials(database, study)

    states = [row.state for row in rows]
    assert {*states} == {"complete", "pruned"}
    for row in rows:
        size = SIZES["bytes"](study.config.space.complete(row.params), SHAPE)
        assert row.further == {"bytes": float(size)}
        assert show_trial(database, study, row.number).attributes["bytes"] == size
    complete = [r for r in rows if r.state == "complete"]
    front = front_of([(r.number, r.value or 0.0, r.further["bytes"] or 0.0) for r in complete])
    assert len(front) > 1
    assert [row.number for row in best_trials(database, study, top=None)] == front
    assert [row.number for row in best_trials(database, study, top=1)] == front[:1]
    now = progress(database, study)
    assert (now.best and now.best.number, now.n_front) == (front[0], len(front))
    seen = TrueStorage(Shelf(database, lambda: None))
    plain = seen.get_all_trials(study.study_id)
    curves = learning_curves(database, study)
    for row, trial in zip(rows, plain, strict=True):
        reports = show_trial(database, study, row.number).reports
        assert trial.values == [row.value, row.further["bytes"]]
        assert trial.intermediate_values == reports == dict(curves[row.number])
        assert max(reports) == row.last_step
    with seen._shelf.look(study.study_id) as looked:
        assert [trial.number for trial in looked.trials.best] == front
    page = render(database, study)
    assert f"{len(front)} of {len(complete)} complete trials are on the Pareto front" in page
    with database.transaction() as session:
        assert session.execute(select(REPORTS.c.trial_id)).first() is None


def test_the_views_show_reports_and_values_of_several_objectives(
    database: Database, study: StoredStudy
) -> None:
    def ask(query: str) -> list[tuple[object, ...]]:
        with database.transaction() as session:
            return [tuple(row) for row in session.execute(text(query))]

    rows = trials(database, study)

    assert ask("SELECT metric, direction, best_trial FROM tuner_studies") == [
        ("val_accuracy, bytes", "maximize, minimize", None)
    ]
    assert ask("SELECT trial, value, last_step, last_value FROM tuner_trials ORDER BY trial") == [
        (row.number, row.value, row.last_step, row.last_value) for row in rows
    ]
    values = ask("SELECT trial, metric, direction, value FROM tuner_values ORDER BY 1, 3")
    assert values[:2] == [
        (0, "val_accuracy", "maximize", rows[0].value),
        (0, "bytes", "minimize", rows[0].further["bytes"]),
    ]
    assert len(values) == 2 * len(rows)
    reports = ask("SELECT trial, step, value FROM tuner_reports ORDER BY trial, step")
    assert reports == [
        (number, step, value)
        for number, curve in learning_curves(database, study).items()
        for step, value in curve
    ]


def test_a_trial_is_outdone_at_a_rung_only_by_models_that_are_no_larger(
    database: Database, study: StoredStudy
) -> None:
    rows = [row for row in trials(database, study) if row.last_step]
    pruned = [row for row in rows if row.state == "pruned"]

    smallest = min(rows, key=lambda row: row.further["bytes"] or math.inf)
    assert smallest.state == "complete"  # it has no rivals
    for row in pruned:
        reports = show_trial(database, study, row.number).reports
        assert any(
            other.number < row.number
            and (other.further["bytes"] or math.inf) <= (row.further["bytes"] or 0.0)
            and show_trial(database, study, other.number).reports[4] > reports[4]
            for other in rows
        )


def test_samplers_go_on_after_pruned_and_infeasible_trials(
    database: Database, toy: StudyMaker
) -> None:
    study = create(database, toy(*SEVERAL, "constraints.parameters=100_000"))
    make_worker(database, study, "reporting").run()
    study = extend_study(database, study, 8)
    make_worker(database, study, "diverging").run()
    history = History(database, study.study_id)

    states = {trial.state for trial in history.read()}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}
    assert any(any(v > 0 for v in trial.constraints.values()) for trial in history.read())
    for slot in range(20, 25):
        propose(history.read, study.config, slot=slot, planned={}, taken=(), shape=SHAPE)
    # Optuna's own TPE, of whoever opens the study in a notebook, fails over pruned trials with
    # reports in its table.
    plain = optuna.load_study(study_name="toy", storage=database.storage)
    plain.sampler = optuna.samplers.TPESampler(seed=0)
    asked = plain.ask()
    asked.suggest_float("dropout", 0.0, 0.9)
    plain.tell(asked, (0.5, 1000.0))
    assert len(plain.best_trials) >= 1


def test_best_and_trials_and_status_print_all_objectives(
    database: Database, study: StoredStudy, storage_url: str
) -> None:
    def ask(*words: str) -> str:
        result = CliRunner().invoke(main, [*words], env={"TUNER_STORAGE": storage_url})
        assert result.exit_code == 0, result.output
        return result.stdout

    front = best_trials(database, study, top=None)

    table = ask("best", "toy").splitlines()
    assert table[0].split()[:4] == ["trial", "state", "val_accuracy", "bytes"]
    assert [int(line.split()[0]) for line in table[1:]] == [row.number for row in front]
    assert len(ask("best", "toy", "--top", "1").splitlines()) == 2
    found = json.loads(ask("best", "toy", "--format", "json"))
    assert [each["further"] for each in found] == [dict(row.further) for row in front]
    lines = [*csv.DictReader(io.StringIO(ask("trials", "toy", "--format", "csv")))]
    assert float(lines[0]["bytes"]) == trials(database, study)[0].further["bytes"]
    first = json.loads(ask("trials", "toy", "--format", "json").splitlines()[0])
    assert first["further"] == {"bytes": float(lines[0]["bytes"])}
    assert f"{len(front)} trials on the Pareto front" in ask("status", "toy")
    assert json.loads(ask("status", "toy", "--format", "json"))["front"] == len(front)
    assert "bytes" in ask("show", "toy", "0")
    assert "from 22 trials" in ask("importance", "toy")


def test_reports_go_with_their_study_when_it_is_copied_and_when_it_is_deleted(
    database: Database, study: StoredStudy
) -> None:
    copied = copy_study(database, study, database, name="second", key="other").study
    assert learning_curves(database, copied) == learning_curves(database, study)
    assert copied.shape == SHAPE

    delete_study(database, study)

    with database.transaction() as session:
        left = session.scalars(select(EVALUATIONS.c.trial_id)).all()
        assert len(session.execute(select(SHAPES)).all()) == 1
    assert len(left) == sum(map(len, learning_curves(database, copied).values()))
    storage = database.storage
    storage.delete_study(copied.study_id)  # as Optuna's dashboard would
    with database.transaction() as session:
        assert session.execute(select(EVALUATIONS)).first() is None
        assert session.execute(select(SHAPES)).first() is None


def test_a_trial_is_reproduced_with_its_reports(database: Database, study: StoredStudy) -> None:
    for state in ("complete", "pruned"):
        number = next(row.number for row in trials(database, study) if row.state == state)

        again = reproduce(
            database,
            study,
            number,
            objective="tests.objectives:growing",
            threads=1,
            data_root=None,
            environment={},
        )

        assert again.is_equal


def test_an_objective_gives_as_many_values_as_the_study_has(
    database: Database, toy: StudyMaker
) -> None:
    trained = create_study(database, toy('metrics=["val_accuracy","val_loss"]')).study

    with pytest.raises(TrainerError, match=r"gave 1 values\. Expected 2: val_accuracy, val_loss"):
        make_worker(database, trained, "quadratic").run()


def test_objectives_of_a_stored_study_do_not_change(database: Database, toy: StudyMaker) -> None:
    create(database, toy(*SEVERAL))

    with pytest.raises(FrozenStudyError, match=r"metrics: \[.*\] -> \(not there\)"):
        create(database, toy(*SEVERAL[:2]))
    assert find_study(database, "toy").config.objectives == ("val_accuracy", "bytes")
