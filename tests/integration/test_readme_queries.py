"""The README's queries answer on both databases, asked with the programs that people have."""

import os
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy

from tests import postgres
from tests.conftest import StudyMaker
from tests.every_kind import fill_own
from tests.integration.test_views import COLUMNS
from tuner.storage import Database
from tuner.storage.roles import role_statements

README = (Path(__file__).parents[2] / "README.md").read_text()
SECTION = README.partition("## Ask the database\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```sql\n(.*?)```", SECTION, flags=re.DOTALL)
QUERIES = [block for block in BLOCKS if block.startswith("SELECT")]


def program(name: str) -> str | None:
    """Find a database's program; where it is missing a laptop does without and CI fails."""
    beside = os.pathsep.join(str(folder) for folder in postgres.binaries())
    found = shutil.which(name) or shutil.which(name, path=beside)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"{name} is not installed: CI must ask with it")
    return found


def answer(url: sqlalchemy.URL, query: str) -> list[str]:
    """Ask as a person would, and give the lines of the answer."""
    if url.get_backend_name() == "sqlite":
        name = f"file:{url.database}?mode=ro"
        command = [program("sqlite3"), "-batch", name, query]
        if command[0] is None:  # what Python brings along is the same library
            with closing(sqlite3.connect(name, uri=True)) as connection:
                return ["|".join(map(str, row)) for row in connection.execute(query)]
    else:
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        command = [program("psql"), "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", plain, "-c", query]
        if command[0] is None:
            pytest.skip("psql is not installed")
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def url(database: Database, toy: StudyMaker) -> sqlalchemy.URL:
    """A database with the study that the README asks about."""
    fill_own(database, toy, "name=imdb")
    return database.engine.url


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_of_the_readme_is_answered(url: sqlalchemy.URL, query: str) -> None:
    assert answer(url, query)


def test_the_queries_of_the_readme_tell_the_best_trial(url: sqlalchemy.URL) -> None:
    progress, params, top, choices, workers = (answer(url, query) for query in QUERIES)

    assert progress == ["imdb|7|9|1|1|2|0.8"]
    assert params[:3] == ["bidirectional|false", "dropout|0.4", "layer_dropout|0.25"]
    assert [line.split("|")[0] for line in top] == ["2", "3", "10", "0"]
    assert top[0].endswith("|mean_max")
    assert top[3].endswith("|last")
    assert [line.split("|")[:2] for line in choices] == [["mean_max", "4"], ["last", "1"]]
    assert len(workers) == 1
    assert workers[0].startswith("imdb|w7|1|0|")


def test_the_readme_lists_every_column_of_every_view() -> None:
    rows = dict(re.findall(r"^\| `(tuner_\w+)` \|[^|]*\|(.*)\|$", SECTION, flags=re.MULTILINE))

    assert rows.keys() == COLUMNS.keys()
    for view, columns in COLUMNS.items():
        assert [name for name in columns.split() if f"`{name}`" not in rows[view]] == []


def test_the_readme_has_the_sql_that_makes_the_groups_of_users() -> None:
    statements = [line for block in BLOCKS if block not in QUERIES for line in block.splitlines()]

    assert statements == [f"{line};" for line in role_statements("tuner", "public", "tuner")]
