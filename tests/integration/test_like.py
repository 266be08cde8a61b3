"""A new study that begins with the best points of an earlier one, over each database."""

import json
from dataclasses import replace
from pathlib import Path

import sqlalchemy
from optuna.trial import TrialState, create_trial

from tests.commands import Done, ask, settings
from tests.conftest import StudyMaker, on_one_database
from tests.integration.test_results import run
from tests.integration.test_storage import DONE, open_slot, slots_of
from tuner.domain import Point
from tuner.results import trials
from tuner.storage import Database, Ending, StoredStudy, create_study, find_study
from tuner.storage.schema import SLOTS

#: An earlier study of four trials.
OLD = ("name=old", "budget.trials=4", "pruner.name=none", "sampler.name=random")


def run_old(database: Database, toy: StudyMaker, *more: str) -> StoredStudy:
    study = create_study(database, toy(*OLD, *more)).study
    run(database, study, 0.7, 0.9, 0.6, 0.8)
    return study


def create_like(database: Database, file: Path, *changes: str, like: str = "old") -> Done:
    url = database.engine.url.render_as_string(hide_password=False)
    return ask("create", file, "--like", like, *settings(*changes), storage=url)


def plans(database: Database, name: str = "toy") -> list[tuple[str | None, Point | None]]:
    """Read origins and plans by slot."""
    study = find_study(database, name)
    statement = sqlalchemy.select(SLOTS.c.origin, SLOTS.c.planned).order_by(SLOTS.c.slot)
    with database.transaction() as session:
        rows = session.execute(statement.where(SLOTS.c.study_id == study.study_id)).all()
    return [(row.origin, json.loads(row.planned) if row.planned else None) for row in rows]


def test_the_best_earlier_points_run_after_the_default_point_and_trials_say_whose_they_are(
    database: Database, toy: StudyMaker, toy_file: Path
) -> None:
    old = run_old(database, toy)
    best = sorted(trials(database, old), key=lambda row: -(row.value or 0.0))[:2]

    done = create_like(database, toy_file, "budget.trials=12")

    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "Begins with the best of 'old', by its val_accuracy:" in done.stderr
    found = plans(database)
    assert [origin for origin, _ in found[:3]] == [
        "default",
        *(f"like old/{row.number}" for row in best),
    ]
    assert {origin for origin, _ in found[3:]} == {"start", None}
    drawn = ("learning_rate", "dropout")
    assert [plan for _, plan in found[1:3]] == [
        {name: row.params[name] for name in drawn} for row in best
    ]
    study = find_study(database, "toy")
    run(database, study, 0.5, 0.5, 0.5)
    assert [row.params for row in trials(database, study)[1:]] == [row.params for row in best]
    url = database.engine.url.render_as_string(hide_password=False)
    shown = [ask("show", "toy", "1", "--format", form, storage=url) for form in ("table", "json")]
    assert f"like old/{best[0].number}" in shown[0].stdout
    assert json.loads(shown[1].stdout)["origin"] == f"like old/{best[0].number}"


def test_a_second_call_plans_nothing_even_when_the_earlier_study_is_gone(
    database: Database, toy: StudyMaker, toy_file: Path
) -> None:
    run_old(database, toy)
    create_like(database, toy_file)
    before = plans(database)

    again = [create_like(database, toy_file), create_like(database, toy_file, like="never-was")]

    for done in again:
        assert done.returncode == 0
        assert "plans nothing: 'toy' is there already" in done.stderr
    assert plans(database) == before


def test_values_that_do_not_fit_are_told_and_the_sampler_fills_in(
    database: Database, toy: StudyMaker, toy_file: Path
) -> None:
    old = run_old(database, toy, "space.units=96")
    best = max(trials(database, old), key=lambda row: row.value or 0.0)
    low = 2 * float(best.params["learning_rate"])

    done = create_like(database, toy_file, f"space.learning_rate={{low={low},high=9.0,log=true}}")

    assert done.returncode == 0, done.stderr
    assert f"learning_rate = {best.params['learning_rate']!r} is not a number from" in done.stderr
    assert "units = 96 is not in the new space, where it is 64" in done.stderr
    assert plans(database)[1] == (f"like old/{best.number}", {"dropout": best.params["dropout"]})
    study = find_study(database, "toy")
    run(database, study, 0.5, 0.5)
    row = trials(database, study)[1]
    assert row.params["dropout"] == best.params["dropout"]
    assert low <= float(row.params["learning_rate"]) <= 9.0


def test_pruned_infeasible_and_foreign_trials_are_no_examples(
    database: Database, toy: StudyMaker, toy_file: Path
) -> None:
    old = create_study(database, toy(*OLD)).study
    endings = [
        DONE,
        Ending(state=TrialState.PRUNED, value=0.9, attributes={}, constraints={}),
        Ending(state=TrialState.COMPLETE, value=0.9, attributes={}, constraints={"size": 1.0}),
    ]
    for number, ending in enumerate(endings):
        slots = slots_of(database, old, f"worker {number}")
        slots.close(open_slot(database, old, slots), ending)
    foreign = create_trial(state=TrialState.COMPLETE, value=0.95)
    database.storage.create_new_trial(old.study_id, template_trial=foreign)

    done = create_like(database, toy_file, "budget.trials=30")

    assert done.returncode == 0, done.stderr
    assert [origin for origin, _ in plans(database)][:3] == ["default", "like old/0", "start"]


@on_one_database
def test_of_several_objectives_the_first_decides_where_the_new_study_has_no_other(
    database: Database, toy: StudyMaker, toy_file: Path
) -> None:
    old = create_study(database, toy("name=old", 'metrics=["val_accuracy","val_loss"]')).study
    slots = slots_of(database, old)
    for accuracy, loss in ((0.9, 0.9), (0.89, 0.95), (0.6, 0.1), (0.5, 0.2)):
        ending = replace(DONE, value=accuracy, further=(loss,))
        slots.close(open_slot(database, old, slots), ending)

    done = create_like(database, toy_file, "budget.trials=12")

    assert done.returncode == 0, done.stderr
    # The best one is the default point, which runs anyway.
    assert [origin for origin, _ in plans(database)][:3] == ["default", "like old/1", "start"]
    assert "note: metrics was ['val_accuracy', 'val_loss'] and is not given" in done.stderr


@on_one_database
def test_an_earlier_study_judged_otherwise_is_told(
    database: Database, toy: StudyMaker, toy_file: Path
) -> None:
    run_old(database, toy)

    done = create_like(database, toy_file, "metric=val_loss", "data.vocabulary=700")

    assert "best of 'old', by its val_accuracy" in done.stderr
    assert "note: metric was 'val_accuracy' and is 'val_loss': what was best" in done.stderr
    assert "note: data.vocabulary was 20000 and is 700: what was best" in done.stderr


@on_one_database
def test_a_study_file_names_the_earlier_study_too(
    database: Database, toy: StudyMaker, toy_file: Path
) -> None:
    run_old(database, toy)
    old_file = toy_file.with_name("old.toml")
    old_file.write_text(toy_file.read_text().replace('"toy"', '"old"'))

    assert create_like(database, toy_file, like=str(old_file)).returncode == 0
    assert plans(database)[1][0] is not None


@on_one_database
def test_what_is_no_example_is_refused_and_nothing_is_created(
    database: Database, toy: StudyMaker, toy_file: Path
) -> None:
    run_old(database, toy)
    create_study(database, toy("name=empty"))
    elsewhere = ("space.learning_rate={low=8.0,high=9.0}", "space.dropout={low=0.95,high=0.99}")
    grid = ("space.learning_rate=[0.1]", "space.dropout=[0.1,0.2]", "sampler.name=grid")

    refused = {
        "Did you mean `old`": create_like(database, toy_file, like="odl"),
        "comes here with `tuner copy`": create_like(database, toy_file, like="nothing-like-it"),
        "cannot start from itself": create_like(database, toy_file, like="toy"),
        "has no complete trial yet": create_like(database, toy_file, like="empty"),
        "none of its best points is left": create_like(database, toy_file, *elsewhere),
        "a grid runs each of its points anyway": create_like(database, toy_file, *grid),
        "Expected at least two": create_like(database, toy_file, "budget.trials=1"),
    }

    for message, done in refused.items():
        assert message in done.stderr
        assert done.returncode == 2
    assert ask("status", "toy", storage=str(database.engine.url)).returncode == 2
