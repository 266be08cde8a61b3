"""Who may only read: a role on Postgres for people who ask the database and shall change nothing.

SQLite knows no roles; there the file's permissions decide.
"""

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

#: A group: a login gets its rights by ``CREATE ROLE ana LOGIN IN ROLE tuner_reader``.
READER = "tuner_reader"

_CREATE = f"CREATE ROLE {READER} NOLOGIN"


def reader_statements(database: str, schema: str) -> tuple[str, ...]:
    """Write the SQL that makes the role and lets it read everything in a database, nothing else.

    Args:
        database: Its name.
        schema: Where the tables are.
    """
    from sqlalchemy.dialects import postgresql  # takes as long as a query

    quote = postgresql.dialect().identifier_preparer.quote  # type: ignore[no-untyped-call]
    place = f"IN SCHEMA {quote(schema)}"
    return (
        _CREATE,
        # Postgres lets everybody make temporary tables and, before version 15, tables.
        f"REVOKE TEMPORARY ON DATABASE {quote(database)} FROM PUBLIC",
        f"REVOKE CREATE ON SCHEMA {quote(schema)} FROM PUBLIC",
        f"GRANT USAGE ON SCHEMA {quote(schema)} TO {READER}",
        f"GRANT SELECT ON ALL TABLES {place} TO {READER}",
        f"ALTER DEFAULT PRIVILEGES {place} GRANT SELECT ON TABLES TO {READER}",
    )


def create_reader(connection: Connection) -> None:
    """Make the role and give it its rights, where the connected user may; else change nothing.

    The role belongs to the server, its rights to each database: it may be there already, and
    another database's creation may make it at the same moment.

    Args:
        connection: To Postgres, in a transaction.
    """
    names = connection.execute(text("SELECT current_database(), current_schema()")).one()
    create, *rights = reader_statements(*names)
    try:
        with connection.begin_nested():
            if not _is_there(connection):
                connection.execute(text(create))
    except (IntegrityError, ProgrammingError):  # somebody was first, or we may not
        if not _is_there(connection):
            return
    try:
        with connection.begin_nested():
            for statement in rights:
                connection.execute(text(statement))
    except ProgrammingError:  # a table is somebody else's
        return


def _is_there(connection: Connection) -> bool:
    found = text("SELECT 1 FROM pg_roles WHERE rolname = :name")
    return connection.execute(found, {"name": READER}).first() is not None
