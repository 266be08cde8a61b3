"""A study taken along into another database is the same study, and goes on there."""

import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from click.testing import CliRunner, Result
from optuna.trial import TrialState
from sqlalchemy import func, select

from tests.conftest import Databases, StudyMaker
from tests.every_kind import fill_own
from tests.integration.test_history import known
from tests.integration.test_storage import expire, new_token, open_slot, slots_of
from tests.integration.test_views import COLUMNS, ask
from tests.workers import make_worker
from tuner.checkpoint_store import CheckpointStore
from tuner.cli import main
from tuner.errors import InputError
from tuner.results import progress
from tuner.storage import (
    Database,
    Ending,
    SlotCounts,
    StoredStudy,
    copy_study,
    create_study,
    end_study,
    find_study,
    rename_study,
    study_names,
)
from tuner.storage.history import History
from tuner.storage.schema import CONFIGS, METADATA, SLOTS, STATES, VERSION

DONE = Ending(state=TrialState.COMPLETE, value=0.5, attributes={"host": "here"}, constraints={})


@pytest.fixture
def elsewhere(
    databases: Databases, sqlite_databases: Databases, postgres_databases: Databases
) -> Iterator[Database]:
    """A database of the other kind than the test's, with a study that has the first ids."""
    others = postgres_databases if databases is sqlite_databases else sqlite_databases
    with Database.open(others.with_tables()) as database:
        yield database


@pytest.fixture
def study(database: Database, toy: StudyMaker) -> StoredStudy:
    """A study with a trial of every kind, at which nobody is."""
    made = fill_own(database, toy, "budget.hours=9")
    with database.transaction() as session:
        held = SLOTS.c.state == "held"
        session.execute(sqlalchemy.update(SLOTS).where(held).values(state="free", expires_at=0))
        changes = {"fingerprint": "f", "versions": "{}", "spent_seconds": 5.5}
        session.execute(sqlalchemy.update(STATES).values(changes))
    return made


def url_of(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=False)


def told(database: Database, view: str) -> Counter[tuple[object, ...]]:
    """All rows of a view about the study, but for the moment of the question."""
    names = COLUMNS[view].replace(" lease_seconds", "").split()
    query = f"SELECT {', '.join(names)} FROM {view} WHERE study = 'toy'"  # noqa: S608
    return Counter(tuple(map(_to_seconds, row)) for row in ask(database, query))


def _to_seconds(fact: object) -> object:
    """Cut a time off after its seconds: the databases round the last digit each in its way."""
    text = f"{fact:%Y-%m-%d %H:%M:%S}" if hasattr(fact, "strftime") else fact
    is_time = isinstance(text, str) and re.match(r"\d{4}-\d\d-\d\d \d\d:", text)
    return str(text)[:19] if is_time else text


def n_rows(database: Database) -> dict[str, int]:
    with database.transaction() as session:
        return {
            name: session.scalar(select(func.count()).select_from(table)) or 0
            for name, table in METADATA.tables.items()
        }


def test_the_copy_tells_the_same_in_every_view_and_to_samplers_and_to_optuna(
    database: Database, elsewhere: Database, toy: StudyMaker, study: StoredStudy
) -> None:
    fill_own(elsewhere, toy, "name=other")  # has the ids that the study has in the source

    copied = copy_study(database, study, elsewhere, name="toy", key="new")

    assert copied.study == find_study(elsewhere, "toy")
    assert (copied.study.key, copied.n_trials, copied.ended) == ("new", 11, None)
    for view in COLUMNS:
        assert told(elsewhere, view) == told(database, view)
        assert told(elsewhere, view)
    ours = History(database, study.study_id).read()
    theirs = History(elsewhere, copied.study.study_id).read()
    assert [known(trial) for trial in theirs] == [known(trial) for trial in ours]
    of = [optuna.load_study(study_name="toy", storage=db.storage) for db in (database, elsewhere)]
    assert of[0].directions == of[1].directions
    for old, new in zip(*(study.trials for study in of), strict=True):
        assert repr(new.intermediate_values) == repr(old.intermediate_values)  # NaN is not itself
        for fact in ("user_attrs", "system_attrs", "datetime_start", "datetime_complete", "params"):
            assert getattr(new, fact) == getattr(old, fact)
        assert list(new.params) == list(old.params)


def test_what_holds_for_the_whole_study_comes_along(
    database: Database, elsewhere: Database, study: StoredStudy
) -> None:
    rename_study(database, study, "monday")
    trial_id = database.storage.get_all_trials(study.study_id)[3]._trial_id
    note: dict[str, Any] = {
        f"dashboard:{trial_id}:note_str:0": "look here",
        "dashboard:note_ver": 2,
    }
    for key, value in note.items():
        database.storage.set_study_system_attr(study.study_id, key, value)

    copied = copy_study(database, study, elsewhere, name="tuesday", key="new").study

    with elsewhere.transaction() as session:
        configs = session.execute(select(CONFIGS).order_by(CONFIGS.c.version)).all()
        state = session.execute(select(STATES)).one()
    assert [row.version for row in configs] == [1, 2, 3]
    assert copied.config.name == find_study(elsewhere, "tuesday").config.name == "tuesday"
    assert (state.fingerprint, state.versions, state.spent_seconds) == ("f", "{}", 5.5)
    moved = elsewhere.storage.get_all_trials(copied.study_id)[3]._trial_id
    attributes = elsewhere.storage.get_study_system_attrs(copied.study_id)
    assert attributes == {f"dashboard:{moved}:note_str:0": "look here", "dashboard:note_ver": 2}


@pytest.mark.parametrize("reason", ["stopped", "hours", "gain"])
def test_only_a_study_that_was_stopped_goes_on_by_itself(
    database: Database, elsewhere: Database, study: StoredStudy, reason: str
) -> None:
    end_study(database, study, reason=reason, message="why")

    copied = copy_study(database, study, elsewhere, name="toy", key="new")

    expected = (None, None) if reason == "stopped" else (reason, "why")
    with elsewhere.transaction() as session:
        state = session.execute(select(STATES)).one()
    assert (state.ended, state.message) == expected
    assert copied.ended == reason


def test_a_worker_goes_on_with_the_copy_and_closes_each_slot_once(
    database: Database, elsewhere: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy()).study
    first, second = slots_of(database, study, "first"), slots_of(database, study, "second")
    first.close(open_slot(database, study, first), DONE)
    begun, lost = open_slot(database, study, first), open_slot(database, study, second)
    first.report(begun, 1, 0.25)
    first.release(begun)
    with pytest.raises(InputError, match=r"1 trial running, at second\. Run `tuner stop toy`"):
        copy_study(database, study, elsewhere, name="toy", key="new")
    assert study_names(elsewhere) == []
    expire(database, lost)  # its holder has died

    copied = copy_study(database, study, elsewhere, name="toy", key="new").study
    (_, open_there, _) = elsewhere.storage.get_all_trials(copied.study_id)
    make_worker(elsewhere, copied, "reporting").run()

    assert (open_there.state, open_there.intermediate_values) == (TrialState.RUNNING, {1: 0.25})
    assert slots_of(elsewhere, copied).counts() == SlotCounts(free=0, held=0, done=6)
    trials = elsewhere.storage.get_all_trials(copied.study_id)
    assert [trial.number for trial in trials] == [0, 1, 2, 3, 4, 5]
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert trials[0].value == 0.5
    assert trials[1].params == open_there.params
    with elsewhere.transaction() as session:
        used = session.scalars(select(SLOTS.c.trial_id)).all()
    assert sorted(used) == sorted(trial._trial_id for trial in trials)
    assert slots_of(database, study).counts() == SlotCounts(free=4, held=1, done=1)


def test_a_study_is_copied_within_a_database_under_another_name_only(
    database: Database, study: StoredStudy
) -> None:
    before = n_rows(database)

    with pytest.raises(InputError, match=r"a study 'toy' already.*--name toy-2"):
        copy_study(database, study, database, name="toy", key="new")
    with pytest.raises(InputError, match="Expected letters"):
        copy_study(database, study, database, name="a b", key="new")
    assert n_rows(database) == before
    copy_study(database, study, database, name="twin", key="new")

    assert study_names(database) == ["toy", "twin"]
    assert told(database, "tuner_trials").total() == 11
    doubled = {name: 2 * n for name, n in before.items() if name not in {VERSION.name}}
    doubled |= {"version_info": 1, "tuner_configs": 3}  # the new name is a version of its own
    assert n_rows(database) == doubled | {VERSION.name: 1}


def test_nothing_is_left_of_a_copy_that_failed_half_way(
    database: Database, elsewhere: Database, study: StoredStudy
) -> None:
    if database.engine.dialect.name != "sqlite":
        pytest.skip("SQLite takes whatever Postgres has")
    long = {"trial_id": 1, "key": "x" * 600, "value_json": "1"}
    with database.transaction() as session:
        session.execute(METADATA.tables["trial_system_attributes"].insert(), [long])
    before = n_rows(elsewhere)

    with pytest.raises(InputError, match="cannot hold something that 'toy' has: value too long"):
        copy_study(database, study, elsewhere, name="toy", key="new")

    assert n_rows(elsewhere) == before


def tuner(database: Database, *words: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, words)), env={"TUNER_STORAGE": url_of(database)})


def test_checkpoints_of_open_trials_are_copied_with_the_command(
    database: Database, elsewhere: Database, toy: StudyMaker, tmp_path: Path
) -> None:
    study = create_study(database, toy()).study
    first, second = slots_of(database, study, "first"), slots_of(database, study, "second")
    done, begun = open_slot(database, study, first), open_slot(database, study, second)
    first.close(done, DONE)
    second.release(begun)
    here = CheckpointStore(tmp_path / "here", study.key)
    for claim in (done, begun):
        folder = here.folder(claim.slot, claim.token)
        folder.mkdir(parents=True)
        (folder / "some.ckpt").write_bytes(b"weights")
    words = ("copy", "toy", "--to", url_of(elsewhere), "--name", "moved")
    folders = ("--artifacts", tmp_path / "here", "--to-artifacts", tmp_path / "there")

    copied = tuner(database, *words, *folders)
    again = tuner(database, *words, *folders)

    assert copied.exit_code == 0, copied.output
    assert "Copied 'toy' with 2 trials" in copied.stderr
    assert "1 of them is begun" in copied.stderr
    assert "tuner work moved" in copied.stderr
    assert "tuner stop toy" in copied.stderr
    key = find_study(elsewhere, "moved").key
    found = [path.relative_to(tmp_path / "there") for path in tmp_path.glob("there/**/*.ckpt")]
    assert found == [Path(key) / f"slot-{begun.slot:06d}" / str(begun.token) / "some.ckpt"]
    assert again.exit_code == 2
    assert "has a study 'moved' already" in again.stderr
    assert [path.name for path in (tmp_path / "there").iterdir()] == [
        key
    ]  # the second try has left nothing


_WORKER = """
import sys
from tests.workers import make_worker
from tuner.storage import Database, find_study
with Database.open(sys.argv[1]) as database:
    make_worker(database, find_study(database, "toy"), "unhurried").run()
"""


def test_a_running_study_is_stopped_copied_and_continued(
    database: Database, elsewhere: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("budget.trials=4", "pruner.name=none")).study
    worker = subprocess.Popen([sys.executable, "-c", _WORKER, url_of(database)])
    while slots_of(database, study).counts().held == 0:
        assert worker.poll() is None
        time.sleep(0.05)

    refused = tuner(database, "copy", "toy", "--to", url_of(elsewhere))
    stopped = tuner(database, "stop", "toy")
    assert worker.wait(60) == 0
    copied = tuner(database, "copy", "toy", "--to", url_of(elsewhere))

    assert refused.exit_code == 2
    assert "`tuner status toy --watch`" in refused.stderr
    assert (stopped.exit_code, copied.exit_code) == (0, 0), copied.output
    assert "tuner delete toy" in copied.stderr
    moved = find_study(elsewhere, "toy")
    n_before = slots_of(elsewhere, moved).counts().done
    assert 1 <= n_before < 4
    make_worker(elsewhere, moved, "reporting").run()
    assert progress(elsewhere, moved).is_over
    assert [trial.state for trial in elsewhere.storage.get_all_trials(moved.study_id)] == [
        TrialState.COMPLETE
    ] * 4
    assert slots_of(database, study).counts().done == n_before
    assert slots_of(database, study).claim(new_token()) is None  # it stays stopped here
