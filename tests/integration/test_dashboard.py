"""What the dashboard shows is what tuner knows, whatever becomes of the database."""

import gzip
import json
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import optuna
import pytest
import sqlalchemy
from optuna.study import Study
from optuna.trial import TrialState, create_trial
from werkzeug.test import Client

from tests.conftest import Databases, StudyMaker
from tests.dashboard_site import Person, Site, add
from tests.postgres import own_server
from tests.workers import make_worker
from tuner.dashboard import Role
from tuner.dashboard.answers import Answer, Answers, packed
from tuner.dashboard.changes import RESERVED
from tuner.results import best_trials
from tuner.storage import Database, StoredStudy, create_study, delete_study, rename_study
from tuner.storage.budget import retry_failed

SPACE: dict[str, optuna.distributions.BaseDistribution] = {
    "x": optuna.distributions.FloatDistribution(0, 1)
}


@pytest.fixture
def site(database: Database, storage_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(storage_url, artifacts=tmp_path / "artifacts")
    yield made
    made.close()


@pytest.fixture
def viewer(site: Site) -> Person:
    return site.somebody(Role.VIEWER)


@pytest.fixture
def operator(site: Site) -> Person:
    return site.somebody(Role.OPERATOR)


@pytest.fixture
def stored(database: Database, toy: StudyMaker) -> StoredStudy:
    return create_study(database, toy()).study


@pytest.fixture
def study(database: Database, stored: StoredStudy) -> Study:
    return optuna.load_study(study_name="toy", storage=database.storage)


def foreign(
    database: Database, *directions: Literal["minimize", "maximize"], name: str = "foreign"
) -> Study:
    """Make a study as a notebook does."""
    return optuna.create_study(
        study_name=name, storage=database.storage, directions=list(directions)
    )


def shown(viewer: Person, study: Study) -> Any:
    return viewer.json(f"/api/studies/{study._study_id}?after=0")


def numbers(found: Any) -> list[int]:
    return [trial["number"] for trial in found["best_trials"]]


# --- the truth -----------------------------------------------------------------------------------


def test_it_answers_as_optuna_dashboard_would_of_a_study_without_constraints(
    site: Site, viewer: Person, database: Database
) -> None:
    study = foreign(database, "minimize")
    study.optimize(_objective, n_trials=12)
    study.enqueue_trial({"x": 0.25})
    study.ask()
    plain: Any = Client(optuna_wsgi(database)).get(f"/api/studies/{study._study_id}").json

    ours = shown(viewer, study)

    assert ours.pop("note") != plain.pop("note")
    for found in (ours, plain):
        found["union_user_attrs"].sort(key=lambda attribute: attribute["key"])
        for trial in (*found["trials"], *found["best_trials"]):
            trial["user_attrs"].sort(key=lambda attribute: attribute["key"])
            for name in ("datetime_start", "datetime_complete"):
                trial.pop(name, None)  # ours tell the zone
    assert ours == plain


def optuna_wsgi(database: Database) -> Any:
    import optuna_dashboard

    return optuna_dashboard.wsgi(database.storage)


def _objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", 0, 1)
    trial.suggest_categorical("kind", ["a", "b"])
    if trial.number % 2:
        trial.suggest_int("units", 8, 64, step=8)
    trial.report(x, 1)
    trial.report(math.inf if trial.number == 3 else x / 2, 2)
    trial.set_user_attr("seconds", trial.number)
    trial.set_user_attr("flag", True)
    if trial.number == 5:
        raise optuna.TrialPruned
    return x


def test_the_best_is_that_of_tuner_best_and_violates_nothing(
    viewer: Person, database: Database, stored: StoredStudy, study: Study
) -> None:
    add(study, 0.99, violated=0.5)
    add(study, math.inf)
    add(study, 0.7)
    add(study, 0.8, violated=0.0)
    add(study, 0.8)
    study.add_trial(create_trial(state=TrialState.PRUNED, value=0.9))

    found = shown(viewer, study)

    assert numbers(found) == [3] == [best_trials(database, stored, top=1)[0].number]
    assert [trial["constraints"] for trial in found["trials"][:4]] == [[0.5], [], [], [0.0]]
    assert found["objective_names"] == ["val_accuracy"]


def test_where_no_trial_is_feasible_there_is_no_best(viewer: Person, study: Study) -> None:
    add(study, 0.99, violated=0.5)
    add(study, 0.98, violated=math.inf)

    found = shown(viewer, study)

    assert found["best_trials"] == []
    assert "No best val_accuracy yet" in found["note"]["body"]
    assert viewer.get(f"/csv/{study._study_id}").status_code == 200
    json.dumps(found, allow_nan=False)


def test_with_several_objectives_only_feasible_trials_are_on_the_front(
    viewer: Person, site: Site, database: Database
) -> None:
    study = foreign(database, "maximize", "minimize")
    add(study, 0.9, 10.0)
    add(study, 0.95, 5.0, violated=1.0)  # outdoes all, and may not
    add(study, 0.8, 4.0)
    add(study, 0.7, 6.0)
    assert numbers(shown(viewer, study)) == [0, 2]

    add(study, 0.9, 3.0)  # outdoes both
    site.source.open().answers.forget()

    assert numbers(shown(viewer, study)) == [4]


def test_further_polls_bring_what_changed(viewer: Person, study: Study, site: Site) -> None:
    add(study, 0.5)
    running = study.ask()
    path = f"/api/studies/{study._study_id}"
    assert [trial["state"] for trial in shown(viewer, study)["trials"]] == ["Complete", "Running"]

    running.report(0.25, 1)
    site.source.open().answers.forget()
    (trial,) = viewer.json(f"{path}?after=1")["trials"]
    assert (trial["state"], trial["intermediate_values"]) == (
        "Running",
        [{"step": 1, "value": 0.25}],
    )

    study.tell(running, 0.75)
    study.add_trial(create_trial(value=0.6))
    site.source.open().answers.forget()
    later = viewer.json(f"{path}?after=1")
    assert [trial["number"] for trial in later["trials"]] == [1, 2]
    assert numbers(later) == [1]


def test_a_study_that_tuner_ran_is_shown_with_its_progress(
    viewer: Person, database: Database, toy: StudyMaker
) -> None:
    stored = create_study(database, toy("budget.trials=4")).study
    make_worker(database, stored, "quadratic").run()

    found = viewer.json(f"/api/studies/{stored.study_id}")

    body = found["note"]["body"]
    best = best_trials(database, stored, top=1)[0]
    assert body.startswith("**4 of 4 trials done** (4 complete).")
    assert f"Best val_accuracy: **{best.value:.4f}** (trial {best.number})" in body
    assert "[Report](/tuner/studies/toy/report)" in body
    assert found["has_intermediate_values"] is False
    assert {attribute["key"] for attribute in found["union_user_attrs"]} >= {"host", "off"}


def test_a_note_that_somebody_wrote_is_kept_beneath(
    viewer: Person, operator: Person, database: Database, study: Study
) -> None:
    from optuna_dashboard import save_note

    save_note(study, "Mind the *learning rate*.")
    before = database.storage.get_study_system_attrs(study._study_id)
    path = f"/api/studies/{study._study_id}/note"

    refused = operator.ask("PUT", path, body={"version": 2, "body": "mine"})

    assert refused.status_code == 403
    assert shown(viewer, study)["note"]["body"].endswith("---\n\nMind the *learning rate*.")
    assert database.storage.get_study_system_attrs(study._study_id) == before


def test_a_retried_trial_is_shown_as_superseded(
    viewer: Person, site: Site, database: Database, toy: StudyMaker
) -> None:
    stored = create_study(database, toy("budget.trials=1")).study
    make_worker(database, stored, "dying").run()
    path = f"/api/studies/{stored.study_id}"
    keys = {attribute["key"] for attribute in viewer.json(path)["trials"][0]["user_attrs"]}
    assert "superseded" not in keys

    retry_failed(database, stored)
    site.source.open().answers.forget()

    keys = {attribute["key"] for attribute in viewer.json(path)["trials"][0]["user_attrs"]}
    assert "superseded" in keys


def test_another_study_with_the_id_of_a_deleted_one_is_shown_as_itself(
    viewer: Person, site: Site, database: Database, toy: StudyMaker
) -> None:
    first = create_study(database, toy()).study
    study = optuna.load_study(study_name="toy", storage=database.storage)
    for value in (0.1, 0.2, 0.3):
        study.add_trial(create_trial(value=value, params={"x": value}, distributions=SPACE))
    path = f"/api/studies/{first.study_id}"
    assert len(viewer.json(path)["trials"]) == 3
    viewer.json(f"{path}/param_importances")

    delete_study(database, first)
    second = create_study(database, toy()).study
    site.source.open().answers.forget()

    if second.study_id == first.study_id:  # as SQLite does
        assert viewer.json(path)["trials"] == []
        assert viewer.json(f"{path}/param_importances") == {"param_importances": [[]]}
    else:
        assert viewer.get(path).status_code == 404


def test_a_renamed_study_keeps_its_place(
    viewer: Person, site: Site, database: Database, stored: StoredStudy
) -> None:
    path = f"/api/studies/{stored.study_id}"
    assert viewer.json(path)["name"] == "toy"

    rename_study(database, stored, "other")
    site.source.open().answers.forget()

    assert viewer.json(path)["name"] == "other"


def test_a_study_that_is_not_there_is_not_found(viewer: Person) -> None:
    for path in ("/api/studies/77", "/csv/77", "/api/studies/77/plot/edf"):
        assert viewer.get(path).status_code == 404
    assert viewer.get("/api/studies/1?after=x").status_code == 400


def test_plots_and_tables_are_those_of_optuna_dashboard(viewer: Person, database: Database) -> None:
    study = foreign(database, "minimize")
    study.optimize(_objective, n_trials=8)
    path = f"/api/studies/{study._study_id}"

    importances = viewer.json(f"{path}/param_importances")["param_importances"][0]
    assert {one["name"] for one in importances} == {"x", "kind", "units"}
    for kind in ("contour", "slice", "parallel_coordinate", "rank", "edf", "timeline"):
        assert viewer.json(f"{path}/plot/{kind}")["data"]
    assert viewer.get(f"{path}/plot/nonsense").status_code == 404
    table = viewer.get(f"/csv/{study._study_id}?trial_ids=0,2")
    assert [line.partition(",")[0] for line in table.text.splitlines()] == ["Number", "0", "2"]
    assert "attachment" in table.headers["Content-Disposition"]


def test_answers_are_compressed_for_those_who_can_read_that(viewer: Person, study: Study) -> None:
    path = f"/api/studies/{study._study_id}"

    plain = viewer.get(path)
    small = viewer.ask("GET", path, headers={"Accept-Encoding": "gzip, br"})

    assert "Content-Encoding" not in plain.headers
    assert small.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(small.data)) == plain.json


# --- changes -------------------------------------------------------------------------------------


def test_an_operator_deletes_a_study_with_its_checkpoints(
    operator: Person, viewer: Person, stored: StoredStudy, tmp_path: Path
) -> None:
    checkpoints = tmp_path / "artifacts" / stored.key / "slot-000000"
    checkpoints.mkdir(parents=True)
    path = f"/api/studies/{stored.study_id}"
    assert viewer.ask("DELETE", path).status_code == 403

    deleted = operator.ask("DELETE", path, body={"remove_associated_artifacts": True})

    assert (deleted.status_code, deleted.json) == (200, {})
    assert not checkpoints.parent.exists()
    assert viewer.json("/api/studies") == {"study_summaries": []}
    assert operator.ask("DELETE", path).status_code == 404


def test_an_operator_deletes_a_study_that_tuner_did_not_make(
    operator: Person, viewer: Person, database: Database, stored: StoredStudy
) -> None:
    study = foreign(database, "minimize")
    add(study, 1.0)

    assert operator.ask("DELETE", f"/api/studies/{study._study_id}").status_code == 200

    names = [one["study_name"] for one in viewer.json("/api/studies")["study_summaries"]]
    assert names == ["toy"]


def test_a_trial_can_be_failed_and_nothing_else(
    operator: Person, viewer: Person, study: Study
) -> None:
    trial = study.ask()
    path = f"/api/trials/{trial._trial_id}/tell"

    for asked in ({"state": "Complete", "values": [1.0]}, {"state": "Pruned"}, {"state": 1}, {}):
        assert operator.ask("POST", path, body=asked).status_code == 403
    assert [one.state for one in study.trials] == [TrialState.RUNNING]
    assert operator.ask("POST", path, body={"state": "Fail"}).status_code == 200

    assert [one.state for one in study.trials] == [TrialState.FAIL]
    assert operator.ask("POST", path, body={"state": "Fail"}).status_code == 409
    assert operator.ask("POST", "/api/trials/99/tell", body={"state": "Fail"}).status_code == 404


def test_what_workers_write_is_not_written_by_others(operator: Person, study: Study) -> None:
    trial = study.ask()
    trial.set_user_attr("mine", 1)
    path = f"/api/trials/{trial._trial_id}/user-attrs"

    for taken in ("reason", "superseded", "val_accuracy", "host", "mine"):
        asked = {"user_attrs": {"colour": "red", taken: "spoilt"}}
        assert operator.ask("POST", path, body=asked).status_code == 403
    nonsense: tuple[object, ...] = ({}, {"user_attrs": {}}, {"user_attrs": "x"})
    for wrong in nonsense:
        assert operator.ask("POST", path, body=wrong).status_code == 400
    assert study.trials[0].user_attrs == {"mine": 1}
    good = {"user_attrs": {"colour": "red"}}
    assert operator.ask("POST", path, body=good).status_code == 200

    assert study.trials[0].user_attrs == {"mine": 1, "colour": "red"}


def test_all_that_a_worker_writes_is_reserved(database: Database, toy: StudyMaker) -> None:
    written: set[str] = set()
    for objective in ("quadratic", "dying", "diverging", "reporting"):
        settings = f"name={objective}", "budget.trials=1"
        stored = create_study(database, toy(*settings)).study
        make_worker(database, stored, objective).run()
        study = optuna.load_study(study_name=objective, storage=database.storage)
        written |= {key for trial in study.trials for key in trial.user_attrs}

    assert {"host", "reason", "seconds"} <= written
    assert written - {"off"} <= RESERVED  # the toy's own


def test_the_note_of_a_trial_is_written_once_for_each_version(
    operator: Person, viewer: Person, study: Study
) -> None:
    trial = add(study, 0.5)
    path = f"/api/studies/{study._study_id}/{trial._trial_id}/note"

    assert operator.ask("PUT", path, body={"version": 1, "body": "one"}).status_code == 200
    late = operator.ask("PUT", path, body={"version": 1, "body": "other"})
    assert (late.status_code, json.loads(late.data)["note"]["body"]) == (409, "one")
    assert operator.ask("PUT", path, body={"version": 2, "body": "two"}).status_code == 200

    (shown_trial,) = shown(viewer, study)["trials"]
    assert shown_trial["note"] == {"version": 2, "body": "two"}
    elsewhere = f"/api/studies/{study._study_id}/999/note"
    assert operator.ask("PUT", elsewhere, body={"version": 1, "body": "x"}).status_code == 404
    assert operator.ask("PUT", path, body={"version": "1", "body": "x"}).status_code == 400


# --- a database that is not there ----------------------------------------------------------------


def test_it_waits_for_the_first_study_and_then_shows_it(empty_url: str, toy: StudyMaker) -> None:
    site = Site(empty_url)
    viewer = site.somebody(Role.VIEWER)

    page = viewer.get("/dashboard")

    assert (page.status_code, "No study yet" in page.text) == (200, True)
    assert 'http-equiv="refresh"' in page.text
    assert viewer.get("/api/studies").status_code == 503
    health = site.stranger().get("/tuner/health")
    assert (health.status_code, health.json) == (200, {"status": "no study yet"})

    with Database.open(empty_url, create=True) as database:
        create_study(database, toy())
    site.source._trouble = None

    assert "bundle.js" in viewer.get("/dashboard").text
    assert len(viewer.json("/api/studies")["study_summaries"]) == 1
    site.close()


def test_a_file_that_goes_away_and_comes_back_is_shown_again(
    tmp_path: Path, toy: StudyMaker
) -> None:
    file, away = tmp_path / "tuner.db", tmp_path / "away.db"
    with Database.open(f"sqlite:///{file}", create=True) as database:
        create_study(database, toy())
    site = Site(f"sqlite:///{file}")
    viewer = site.somebody(Role.VIEWER)
    assert viewer.get("/dashboard").status_code == 200

    file.rename(away)
    assert "No study yet" in viewer.get("/dashboard").text
    away.rename(file)
    site.source._trouble = None

    assert "bundle.js" in viewer.get("/dashboard").text
    site.close()


def test_a_server_that_goes_away_is_told_of_and_comes_back(toy: StudyMaker) -> None:
    try:
        server = own_server()
        running = server.__enter__()
    except LookupError as error:
        pytest.skip(str(error))
    try:
        with Database.open(running.url, create=True) as database:
            stored = create_study(database, toy()).study
        site = Site(running.url)
        viewer = site.somebody(Role.VIEWER)
        path = f"/api/studies/{stored.study_id}"
        assert viewer.get(path).status_code == 200

        running.stop()
        site.source.open().answers.forget()
        for asked in ("/dashboard", path, "/api/studies", "/csv/1"):
            answer = viewer.get(asked)
            assert (answer.status_code, "Traceback" in answer.text) == (503, False)
        health = site.stranger().get("/tuner/health")
        assert (health.status_code, "does not answer" in health.text) == (503, True)

        running.start()
        site.source._trouble = None
        assert viewer.get(path).status_code == 200
        assert viewer.get("/dashboard").status_code == 200
        site.close()
    finally:
        server.__exit__(None, None, None)


def test_a_role_that_only_reads_can_show_everything_and_change_nothing(
    databases: Databases, toy: StudyMaker
) -> None:
    if databases.server is None:
        pytest.skip("SQLite has no roles")
    url = databases.with_tables()
    with Database.open(url) as database:
        stored = create_study(database, toy()).study
        with database.transaction() as session:
            for statement in (
                "DROP ROLE IF EXISTS looker",
                "CREATE ROLE looker LOGIN",
                "GRANT SELECT ON ALL TABLES IN SCHEMA public TO looker",
            ):
                session.execute(sqlalchemy.text(statement))
    looking = sqlalchemy.make_url(url).set(username="looker")
    site = Site(looking.render_as_string(hide_password=False))
    operator = site.somebody(Role.OPERATOR)
    path = f"/api/studies/{stored.study_id}"

    for asked in ("/dashboard", "/api/studies", path, f"/csv/{stored.study_id}"):
        assert operator.get(asked).status_code == 200
    refused = operator.ask("DELETE", path)

    assert (refused.status_code, "permission denied" in refused.text) == (403, True)
    assert operator.get(path).status_code == 200
    site.close()
    with Database.open(url) as database, database.transaction() as session:
        session.execute(sqlalchemy.text("DROP OWNED BY looker"))
        session.execute(sqlalchemy.text("DROP ROLE looker"))


# --- answers that are kept -----------------------------------------------------------------------


def test_an_answer_is_worked_out_once_for_all_who_wait() -> None:
    answers, calls, begin = Answers(), [], threading.Event()

    def work_out() -> Answer:
        calls.append(1)
        begin.wait(10)
        return packed("done", "text/plain")

    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(answers.get("key", work_out).body))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    begin.set()
    for thread in threads:
        thread.join()

    assert found == [b"done"] * 5
    assert len(calls) == 1


def test_an_answer_is_kept_twenty_times_as_long_as_it_took() -> None:
    now, calls = 0.0, 0

    def work_out() -> Answer:
        nonlocal now, calls
        now += 3.0
        calls += 1
        return packed(str(calls), "text/plain")

    answers = Answers(clock=lambda: now)
    assert answers.get("key", work_out).body == b"1"
    now += 59
    assert answers.get("key", work_out).body == b"1"
    now += 2
    assert answers.get("key", work_out).body == b"2"
    answers.forget()
    assert answers.get("key", work_out).body == b"3"


def test_what_was_asked_before_a_change_is_not_kept_after_it() -> None:
    answers = Answers()

    def work_out() -> Answer:
        answers.forget()
        return packed("old", "text/plain")

    assert answers.get("key", work_out, at_least=60).body == b"old"
    assert answers.get("key", lambda: packed("new", "text/plain")).body == b"new"


def test_a_mistake_is_raised_for_all_and_not_kept() -> None:
    answers = Answers()

    def fail() -> Answer:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        answers.get("key", fail)
    assert answers.get("key", lambda: packed("yes", "text/plain")).body == b"yes"


def test_answers_take_only_so_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.dashboard.answers.MAX_BYTES", 100)
    answers = Answers()

    for key in range(20):
        answers.get(key, lambda: packed("x", "text/plain"), at_least=60)

    assert answers._n_bytes <= 100
    assert len(answers._kept) >= 1
