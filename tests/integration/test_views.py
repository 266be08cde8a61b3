"""The views: one contract over each database, and the same rows of the same studies."""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import optuna
import pytest
import sqlalchemy
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial
from sqlalchemy import text

from tests.conftest import Databases, StudyMaker
from tests.every_kind import DEEP, FIXED, FLAT, FOREIGN, copy, fill_foreign, fill_own
from tuner.errors import InputError
from tuner.results import best_trials
from tuner.storage import LEASE, Database, delete_study
from tuner.storage.schema import METADATA, SCHEMA_VERSION, VERSION
from tuner.storage.views import LEASE_SECONDS

#: The interface: whoever changes it counts `SCHEMA_VERSION` up.
COLUMNS = {
    "tuner_studies": "study metric direction budget done complete pruned failed running waiting "
    "best_trial best_value ended created_utc",
    "tuner_trials": "study trial slot state value value_kind feasible superseded last_step "
    "last_value last_value_kind started_utc ended_utc seconds worker",
    "tuner_values": "study trial objective metric direction value value_kind",
    "tuner_params": "study trial name value kind number",
    "tuner_reports": "study trial step value value_kind",
    "tuner_workers": "study worker machine pid held done last_seen_utc lease_end_utc lease_seconds",
}
OTHER = "Größe, 大"


def ask(database: Database, query: str, **values: object) -> list[tuple[Any, ...]]:
    with database.transaction() as session:
        return [tuple(row) for row in session.execute(text(query), values)]


@pytest.fixture
def second(postgres_databases: Databases) -> Iterator[Database]:
    """A Postgres database besides the one of a test that needs both kinds."""
    with Database.open(postgres_databases.with_tables()) as database:
        yield database


def test_each_view_has_its_columns(database: Database) -> None:
    with database.engine.connect() as connection:
        found = {
            view: " ".join(connection.execute(text(f"SELECT * FROM {view}")).keys())  # noqa: S608
            for view in COLUMNS
        }

    assert found == COLUMNS
    assert ask(database, "SELECT version FROM tuner_schema") == [(SCHEMA_VERSION,)]


def test_trials_of_every_kind_are_told_as_people_know_them(
    database: Database, toy: StudyMaker
) -> None:
    fill_own(database, toy)

    rows = ask(
        database,
        "SELECT trial, slot, state, value, value_kind, feasible, superseded, last_step, last_value,"
        " last_value_kind, worker FROM tuner_trials WHERE study = 'toy' ORDER BY trial",
    )

    no, yes = False, True
    assert rows == [
        (0, 0, "complete", 0.5, "finite", yes, no, 4, 0.5, "finite", "w0"),
        (1, 1, "complete", 0.9, "finite", no, no, None, None, None, "w1"),
        (2, 2, "complete", 0.8, "finite", yes, no, None, None, None, "w2"),
        (3, 3, "complete", 0.8, "finite", yes, no, None, None, None, "w3"),
        (4, 4, "pruned", 0.3, "finite", no, no, 2, None, "nan", "w4"),
        (5, None, "failed", None, None, yes, yes, None, None, None, None),
        (6, 6, "complete", None, "+inf", yes, no, 2, None, "-inf", "w6"),
        (7, 7, "running", None, None, yes, no, 1, 0.125, "finite", "w7"),
        (8, 8, "waiting", None, None, yes, no, None, None, None, None),
        (9, 5, "failed", None, None, yes, no, None, None, None, "w9"),
        (10, None, "complete", 0.7, "finite", yes, no, None, None, None, None),
    ]


def test_studies_are_counted_and_the_best_is_that_of_tuner_best(
    database: Database, toy: StudyMaker
) -> None:
    fill_foreign(database)
    most, least = fill_own(database, toy), fill_own(database, toy, "name=loss", "metric=val_loss")

    rows = ask(
        database,
        "SELECT study, metric, direction, budget, done, complete, pruned, failed, running, waiting,"
        " best_trial, best_value, ended FROM tuner_studies",
    )

    assert sorted(rows) == [
        (OTHER, None, "minimize", None, None, 3, 0, 1, 1, 1, 0, 0.5, None),
        ("empty", None, "minimize", None, None, 0, 0, 0, 0, 0, None, None, None),
        ("loss", "val_loss", "minimize", 9, 7, 5, 1, 1, 1, 1, 0, 0.5, None),
        ("pareto", None, "maximize, minimize", None, None, 2, 0, 0, 0, 0, None, None, None),
        ("toy", "val_accuracy", "maximize", 9, 7, 5, 1, 1, 1, 1, 2, 0.8, None),
    ]
    for study in (most, least):
        (best,) = best_trials(database, study, top=1)
        told = ask(
            database,
            "SELECT best_trial, best_value FROM tuner_studies WHERE study = :name",
            name=study.config.name,
        )
        assert told == [(best.number, best.value)]


def test_params_have_their_type_and_fixed_ones_are_among_them(
    database: Database, toy: StudyMaker
) -> None:
    fill_own(database, toy)

    rows = ask(
        database,
        "SELECT trial, name, value, kind, number FROM tuner_params WHERE study = 'toy'",
    )

    def of(number: int) -> list[tuple[Any, ...]]:
        return sorted(row[1:] for row in rows if row[0] == number)

    assert of(0) == [
        ("bidirectional", "true", "boolean", None),
        ("dropout", "0.4", "real", 0.4),
        ("layer_dropout", "0", "real", 0.0),
        ("layers", "1", "integer", 1.0),
        ("learning_rate", "1e-05", "real", 1e-05),
        ("pooling", "last", "text", None),
        ("units", "64", "integer", 64.0),
    ]
    deep = [
        ("bidirectional", "false", "boolean", None),
        ("layer_dropout", "0.25", "real", 0.25),
        ("layers", "2", "integer", 2.0),
        ("learning_rate", repr(5 / 7), "real", 5 / 7),
        ("pooling", "mean_max", "text", None),
    ]
    assert of(5) == deep  # superseded: what was drawn
    assert of(10) == [("notes", "3", "integer", 3.0)]
    assert len(of(6)) == len(DEEP | FIXED) + 1
    assert len(of(9)) == len(FLAT | FIXED) + 1


def test_params_of_plain_optuna_are_read_out_of_their_distributions(database: Database) -> None:
    fill_foreign(database)

    rows = ask(
        database,
        "SELECT name, value, kind, number FROM tuner_params WHERE study = :name AND trial = 1",
        name=OTHER,
    )

    assert len(rows) == len(FOREIGN)
    assert set(rows) == {
        ("flag", "false", "boolean", None),
        ("size", "32", "integer", 32.0),
        ("share", "1e-05", "real", 1e-05),
        ("word", 'naïve "☃" 🙂', "text", None),
        ("none", None, "null", None),
        ("odd", None, "unknown", None),
        ("zero", None, "unknown", None),
        ("units", "-7", "integer", -7.0),
        ("rate", "0.30000000000000004", "real", 0.1 + 0.2),
        ("whole", "64", "real", 64.0),
    }


def test_reports_values_and_workers_are_listed(database: Database, toy: StudyMaker) -> None:
    fill_own(database, toy)
    fill_foreign(database)

    reports = ask(database, "SELECT * FROM tuner_reports WHERE study = 'toy' AND trial IN (4, 6)")
    values = ask(database, "SELECT * FROM tuner_values WHERE study = 'pareto'")
    workers = ask(
        database, "SELECT worker, machine, pid, held, done FROM tuner_workers WHERE study = 'toy'"
    )

    assert sorted(reports) == [
        ("toy", 4, 1, 0.3, "finite"),
        ("toy", 4, 2, None, "nan"),
        ("toy", 6, 1, None, "nan"),
        ("toy", 6, 2, None, "-inf"),
    ]
    assert sorted(values) == [
        ("pareto", 0, 0, None, "maximize", 0.5, "finite"),
        ("pareto", 0, 1, None, "minimize", None, "+inf"),
        ("pareto", 1, 0, None, "maximize", 0.25, "finite"),
        ("pareto", 1, 1, None, "minimize", 2.0, "finite"),
    ]
    finished = [(f"w{n}", f"w{n}'s", 1, 0, 1) for n in (0, 1, 2, 3, 4, 6)]
    assert sorted(workers) == [*finished, ("w7", "w7's", 1, 1, 0), ("w9", "w9's", 1, 0, 1)]


def test_times_are_utc_and_a_worker_that_holds_a_trial_was_seen_a_moment_ago(
    database: Database, toy: StudyMaker
) -> None:
    fill_own(database, toy)
    ((created,),) = ask(database, "SELECT created_utc FROM tuner_studies")
    spans = ask(database, "SELECT started_utc, ended_utc, seconds FROM tuner_trials ORDER BY trial")
    seen = ask(
        database,
        "SELECT last_seen_utc, lease_end_utc, lease_seconds FROM tuner_workers ORDER BY worker",
    )

    now = time.time()
    assert epoch(created) == pytest.approx(now, abs=60)
    assert spans[7][1:] == (None, None)
    for started, finished, seconds in spans[:5]:
        assert epoch(started) == pytest.approx(now, abs=60)
        assert epoch(finished) - epoch(started) == pytest.approx(seconds, abs=0.001)
    for last_seen, lease_end, left in seen:
        assert epoch(last_seen) == pytest.approx(now, abs=60)
        assert (lease_end is None) == (left is None)
    (holder,) = (row for row in seen if row[1] is not None)
    assert epoch(holder[1]) - epoch(holder[0]) == LEASE_SECONDS == LEASE
    assert holder[2] == pytest.approx(epoch(holder[1]) - now, abs=5)


def epoch(told: object) -> float:
    """Seconds since 1970 of a time in UTC, as a database gives it."""
    return datetime.fromisoformat(f"{told}+00:00").timestamp()


def test_both_databases_tell_the_same_of_the_same_studies(
    database: Database, second: Database, toy: StudyMaker
) -> None:
    fill_own(database, toy)
    fill_foreign(database)
    study = optuna.load_study(study_name="empty", storage=database.storage)
    generator = np.random.default_rng(0)
    numbers = [*(10.0 ** generator.uniform(-8, 8, 100)), 1e-9, 123456.0, 1 / 3, 2 / 3, 1e8]
    for number in numbers:
        anything = FloatDistribution(-1e9, 1e9)
        study.add_trial(
            create_trial(value=-number, params={"x": number}, distributions={"x": anything})
        )
    copy(database, second)

    for view, names in COLUMNS.items():
        steady = ", ".join(name for name in names.split() if name != "lease_seconds")
        query = f"SELECT {steady} FROM {view}"  # noqa: S608
        one, two = ask(database, query), ask(second, query)
        assert len(one) == len(two) > 0
        assert set(map(_told, one)) == set(map(_told, two))
    texts = ask(second, "SELECT value, number FROM tuner_params WHERE study = 'empty'")
    assert sorted(float(value) for value, _ in texts) == sorted(numbers)


def _told(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row with its times as text of the same length."""
    return tuple(
        f"{value:%Y-%m-%d %H:%M:%S.%f}" if hasattr(value, "strftime") else value for value in row
    )


def test_studies_are_deleted_with_the_views_there(database: Database, toy: StudyMaker) -> None:
    study = fill_own(database, toy)
    fill_foreign(database)

    delete_study(database, study)
    for name in (OTHER, "pareto", "empty"):
        optuna.delete_study(study_name=name, storage=database.storage)

    assert [ask(database, f"SELECT * FROM {view}") for view in COLUMNS] == [[]] * 6  # noqa: S608


def test_views_are_no_tables_and_are_made_again_where_somebody_dropped_one(
    database: Database, storage_url: str
) -> None:
    assert not set(COLUMNS) & set(METADATA.tables)
    with database.transaction() as session:
        session.execute(text("DROP VIEW tuner_params"))

    Database.open(storage_url, create=True).close()

    assert ask(database, "SELECT * FROM tuner_params") == []


@pytest.mark.parametrize(
    ("version", "mend"), [(2, "run `tuner upgrade`"), (99, "Install the tuner that made it")]
)
def test_nothing_is_added_to_tables_of_another_version(
    database: Database, storage_url: str, version: int, mend: str
) -> None:
    with database.transaction() as session:
        session.execute(text("DROP VIEW tuner_params"))
        session.execute(VERSION.update().values(version=version))

    for create in (True, False):
        with pytest.raises(InputError, match=f"version {version} of tuner's tables.*{mend}"):
            Database.open(storage_url, create=create)

    assert "tuner_params" not in sqlalchemy.inspect(database.engine).get_view_names()
