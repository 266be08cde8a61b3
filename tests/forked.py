"""Processes that are forked from one which has imported everything: each costs milliseconds."""

import multiprocessing

#: Start processes with it. What they run lies best in a module of the list below; what they see of
#: the environment is what the first of them saw.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "__main__",
        "tests.fence",
        "tests.workers",
        # Imported lazily when a database is opened.
        *(f"alembic.{name}" for name in ("command", "config", "migration", "script")),
        *(f"sqlalchemy.dialects.{name}" for name in ("postgresql.psycopg", "sqlite.pysqlite")),
    ]
)
