"""Which version a database has, and what to do where it is not that of this tuner."""

from dataclasses import dataclass
from pathlib import Path

from optuna import storages
from sqlalchemy import Engine, inspect, select

from tuner.errors import InputError
from tuner.storage.schema import OPTUNA_REVISION, OPTUNA_VERSION, SCHEMA_VERSION, VERSION


@dataclass(frozen=True, kw_only=True)
class Age:
    """How tables that are there compare with those that are needed here."""

    #: Whose tables: tuner or Optuna.
    maker: str
    #: Their version.
    found: int | str
    #: The version that the installed package needs.
    needed: int | str
    #: Whether they can be brought to that version.
    is_older: bool
    #: Whether the package is too old for them.
    is_newer: bool

    @property
    def message(self) -> str:
        """What is wrong, and what to do."""
        mend = (
            "Stop its workers and run `tuner upgrade`."
            if self.is_older
            else f"Install the {self.maker} that made it, or a newer one; or use another storage."
        )
        return (
            f"The database holds version {self.found} of {self.maker}'s tables, the {self.maker} "
            f"that is installed here needs {self.needed}. {mend}"
        )


def check_versions(engine: Engine) -> None:
    """See that a database is of this version, ours and Optuna's tables; nothing is written.

    What is not there yet, is of no version.

    Raises:
        InputError: It is older or newer.
    """
    for age in ages(engine):
        if age.is_older or age.is_newer:
            raise InputError(age.message)


def ages(engine: Engine) -> tuple[Age, ...]:
    """Compare what a database holds with what is needed here; what is missing is left out."""
    found: list[Age] = []
    ours, optunas = our_version(engine), optuna_version(engine)
    if ours is not None:
        found.append(
            Age(
                maker="tuner",
                found=ours,
                needed=SCHEMA_VERSION,
                is_older=ours < SCHEMA_VERSION,
                is_newer=ours > SCHEMA_VERSION,
            )
        )
    if optunas is not None:
        # What reads Optuna's versions takes half a second to import.
        known = [OPTUNA_REVISION] if optunas == OPTUNA_REVISION else _optuna_versions()
        found.append(
            Age(
                maker="Optuna",
                found=optunas,
                needed=known[0],
                is_older=optunas in known[1:],
                is_newer=optunas not in known,
            )
        )
    return tuple(found)


def our_version(engine: Engine) -> int | None:
    """Read the version of our tables; None where they are not there, or not whole yet."""
    if not inspect(engine).has_table(VERSION.name):
        return None
    with engine.connect() as connection:
        version: int | None = connection.execute(VERSION.select()).scalar()
    return version


def optuna_version(engine: Engine) -> str | None:
    """Read the version of Optuna's tables; None where they are not there."""
    if not inspect(engine).has_table(OPTUNA_VERSION.name):
        return None
    with engine.connect() as connection:
        version: str | None = connection.execute(select(OPTUNA_VERSION)).scalar()
    return version


def _optuna_versions() -> list[str]:
    """List all versions of its tables that the installed Optuna knows, the newest first."""
    from alembic.script import ScriptDirectory

    folder = Path(storages.__file__).parent / "_rdb" / "alembic"
    return [script.revision for script in ScriptDirectory(str(folder)).walk_revisions()]
