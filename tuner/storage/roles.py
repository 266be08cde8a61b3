# ruff: noqa: S608 - SQL is put together from our own names, never from a value
"""Who may do what on Postgres: three groups, written once as SQL for tuner or an administrator.

`OWNER` has the tables: it creates, upgrades and deletes. `WORKER` runs, submits and steers
studies: it reads, inserts and updates, and neither deletes nor changes a table. `READER` asks.
A person or a program is a login in one of them, such as ``CREATE ROLE w1 LOGIN IN ROLE
tuner_worker``. SQLite knows no roles; there the file's permissions decide.
"""

from collections.abc import Collection

from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

#: Has the tables.
OWNER = "tuner_owner"
#: Runs and submits studies.
WORKER = "tuner_worker"
#: Reads everything and changes nothing.
READER = "tuner_reader"

#: What Postgres answers to a login that lacks a right (SQLSTATE) ...
NOT_ALLOWED = "42501"
#: ... and to one that creates what somebody else has created a moment before.
_IS_THERE = "42710"
#: Times that the groups are made while others make them for another database of the server.
_N_ATTEMPTS = 3

_CREATE = "CREATE ROLE {} NOLOGIN"
_JOIN = "GRANT {} TO {}"

#: Whether workers and readers have their rights and no others; no row without the groups.
_ARE_APPLIED = f"""
SELECT has_schema_privilege(w.oid, current_schema(), 'USAGE')
    AND has_schema_privilege(r.oid, current_schema(), 'USAGE')
    AND NOT has_schema_privilege(w.oid, current_schema(), 'CREATE')
    AND NOT has_database_privilege(w.oid, current_database(), 'TEMPORARY')
    AND EXISTS (
        SELECT 1 FROM pg_default_acl d JOIN pg_namespace n ON n.oid = d.defaclnamespace
        WHERE d.defaclrole = o.oid AND n.nspname = current_schema()
    )
FROM pg_roles o, pg_roles w, pg_roles r
WHERE o.rolname = '{OWNER}' AND w.rolname = '{WORKER}' AND r.rolname = '{READER}'
"""
#: Before version 16, every member could act as the group.
_ACTS_AS_GROUP = """pg_has_role(oid, CASE
    WHEN CAST(current_setting('server_version_num') AS integer) < 160000 THEN 'MEMBER' ELSE 'SET'
END)"""
_IS_MEMBER = f"SELECT {_ACTS_AS_GROUP} FROM pg_roles WHERE rolname = '{OWNER}'"
_CAN_BE_OWNER = f"""
SELECT has_schema_privilege(oid, current_schema(), 'CREATE') AND {_ACTS_AS_GROUP}
FROM pg_roles WHERE rolname = '{OWNER}'
"""
_OWNER_OF = """
SELECT tableowner FROM pg_tables WHERE schemaname = current_schema() AND tablename = :name
"""
_OTHERS = """
SELECT 'TABLE', c.relname FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner
WHERE c.relnamespace = CAST(current_schema() AS regnamespace)
    AND c.relkind IN ('r', 'v') AND c.relname = ANY(:names) AND o.rolname <> :owner
UNION ALL
SELECT 'TYPE', t.typname FROM pg_type t JOIN pg_roles o ON o.oid = t.typowner
WHERE t.typnamespace = CAST(current_schema() AS regnamespace)
    AND t.typtype = 'e' AND t.typname = ANY(:names) AND o.rolname <> :owner
"""
_COUNTERS = """
SELECT c.relname FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner
WHERE c.relnamespace = CAST(current_schema() AS regnamespace)
    AND c.relkind = 'S' AND o.rolname = :owner
"""


def role_statements(database: str, schema: str, login: str) -> tuple[str, ...]:
    """Write the SQL that makes the groups and gives them their rights in one database.

    What the owner group creates from then on, the other two get their rights to by themselves.

    Args:
        database: Its name.
        schema: Where the tables are, or will be.
        login: Who creates them.
    """
    place = f"IN SCHEMA {_quoted(schema)}"
    defaults = f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} {place} GRANT"
    return (
        *(_CREATE.format(name) for name in (OWNER, WORKER, READER)),
        _JOIN.format(OWNER, _quoted(login)),
        # Postgres lets everybody make temporary tables and, before version 15, tables.
        f"REVOKE TEMPORARY ON DATABASE {_quoted(database)} FROM PUBLIC",
        f"REVOKE CREATE ON SCHEMA {_quoted(schema)} FROM PUBLIC",
        f"GRANT USAGE, CREATE ON SCHEMA {_quoted(schema)} TO {OWNER}",
        f"GRANT USAGE ON SCHEMA {_quoted(schema)} TO {WORKER}, {READER}",
        f"{defaults} SELECT, INSERT, UPDATE ON TABLES TO {WORKER}",
        f"{defaults} USAGE ON SEQUENCES TO {WORKER}",
        # Somebody else's tables in the same schema are for people to read as well.
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER}, {_quoted(login)} {place} "
        f"GRANT SELECT ON TABLES TO {READER}",
    )


def apply_roles(connection: Connection) -> tuple[str, ...]:
    """Make the groups and give them their rights, where the connected user may; else nothing.

    The groups belong to the server, their rights to each database: they may be there already, and
    another database's creation may make them at the same moment.

    Args:
        connection: To Postgres, in a transaction.

    Returns:
        What an administrator has to run for it; nothing where it is done.
    """
    who = connection.execute(text("SELECT current_database(), current_schema(), current_user"))
    statements = role_statements(*who.one())
    missing: tuple[str, ...] = ()
    for _ in range(_N_ATTEMPTS):
        if _is_done(connection):
            return ()
        missing = _without_known(connection, statements)
        try:
            with connection.begin_nested() as attempt:
                for statement in missing:
                    connection.execute(text(statement))
                if _is_done(connection):
                    return ()
                attempt.rollback()  # of what it may not give, Postgres only warns
                return missing
        except IntegrityError:  # somebody has made them meanwhile, for another database
            continue
        except ProgrammingError as error:
            if getattr(error.orig, "sqlstate", None) != _IS_THERE:
                return missing
    return missing


def _without_known(connection: Connection, statements: tuple[str, ...]) -> tuple[str, ...]:
    there = connection.execute(text("SELECT rolname FROM pg_roles")).scalars()
    known = {_CREATE.format(name) for name in there}
    if connection.execute(text(_IS_MEMBER)).scalar():  # who is in it may not let itself in again
        login = connection.execute(text("SELECT current_user")).scalar_one()
        known.add(_JOIN.format(OWNER, _quoted(login)))
    return tuple(statement for statement in statements if statement not in known)


def _is_done(connection: Connection) -> bool:
    applied = connection.execute(text(_ARE_APPLIED)).scalar()
    return bool(applied) and can_be_owner(connection)


def can_be_owner(connection: Connection) -> bool:
    """Say whether the connected user can act as the group that makes the tables."""
    return bool(connection.execute(text(_CAN_BE_OWNER)).scalar())


def belongs_to_group(connection: Connection, table: str) -> bool:
    """Say whether a table is the owner group's."""
    found = connection.execute(text(_OWNER_OF), {"name": table}).scalar()
    return bool(found == OWNER)


def as_owner(url: URL) -> URL:
    """Let everybody who connects by a URL act as the owner of the tables, from the start."""
    given = url.query.get("options", "")
    options = given if isinstance(given, str) else given[-1]
    return url.update_query_dict({"options": f"{options} -c role={OWNER}".strip()})


def hand_over(connection: Connection, names: Collection[str]) -> tuple[str, ...]:
    """Give tables, views and types that were made before the groups to the owner group.

    Args:
        connection: To Postgres, in a transaction, of who has them and can be the owner.
        names: What they are called.

    Returns:
        What was given.
    """
    found = connection.execute(text(_OTHERS), {"names": list(names), "owner": OWNER}).all()
    for kind, name in found:
        connection.execute(text(f"ALTER {kind} {_quoted(name)} OWNER TO {OWNER}"))
    relations = ", ".join(_quoted(name) for kind, name in found if kind == "TABLE")
    if relations:
        connection.execute(text(f"GRANT SELECT, INSERT, UPDATE ON {relations} TO {WORKER}"))
        connection.execute(text(f"GRANT SELECT ON {relations} TO {READER}"))
        # They belong to the columns that count by them, and have gone with their tables.
        counters = connection.execute(text(_COUNTERS), {"owner": OWNER}).scalars().all()
        listed = ", ".join(_quoted(name) for name in counters)
        connection.execute(text(f"GRANT USAGE ON SEQUENCE {listed} TO {WORKER}"))
    return tuple(name for _, name in found)


def _quoted(name: str) -> str:
    from sqlalchemy.dialects import postgresql  # takes as long as a query

    quoted: str = postgresql.dialect().identifier_preparer.quote(name)  # type: ignore[no-untyped-call]
    return quoted
