"""From what a person types to a study file, a storage and a stored study."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tuner.bucket import Bucket
from tuner.cli.patience import Patience
from tuner.config import StudyConfig
from tuner.errors import InputError
from tuner.storage import Database, StoredStudy, find_study, parse_url
from tuner.study_file import choose_artifacts, choose_storage, load_study_file


@dataclass(frozen=True, kw_only=True)
class StudyFile:
    """A study file that was read."""

    #: What it says, with overrides.
    config: StudyConfig
    #: Where its study lives.
    storage: str


def read_study_file(path: str, settings: Sequence[str], storage: str | None) -> StudyFile:
    """Read a study file and decide on the storage."""
    config, own = load_study_file(Path(path), settings)
    chosen = choose_storage(flag=storage, environment=os.environ, study_file=own)
    _refuse_password(own, "the study file")
    _refuse_password(storage, "the command line")
    parse_url(chosen)  # a mistake in it is told before data is read
    return StudyFile(config=config, storage=chosen)


def _refuse_password(url: str | None, where: str) -> None:
    if url is not None and parse_url(url).password is not None:
        raise InputError(
            f"storage: {where} holds a password, where others can read it. Put the URL into "
            f"TUNER_STORAGE, or the password into ~/.pgpass or PGPASSWORD."
        )


def data_root() -> Path | None:
    """Folder in which relative data paths are looked up first, from ``TUNER_DATA``."""
    root = os.environ.get("TUNER_DATA")
    return Path(root) if root else None


def artifacts_of(database: Database, flag: str | None) -> Path | Bucket:
    """Folder for checkpoints of the studies in a database, here or in an object store."""
    return choose_artifacts(flag=flag, environment=os.environ, storage=database.name)


def storage_of(storage: str | None) -> str:
    """URL of the database that the options and the environment name."""
    _refuse_password(storage, "the command line")
    return choose_storage(flag=storage, environment=os.environ, study_file=None)


@contextmanager
def open_storage(storage: str | None, patience: Patience | None = None) -> Iterator[Database]:
    """Open the database that the options and the environment name.

    Args:
        storage: ``--storage``.
        patience: With a database that is away; None for none.
    """
    url = storage_of(storage)
    with (patience or Patience()).ask(lambda: Database.open(url)) as database:
        yield database


def study_named(study: str | None) -> str | None:
    """Give the name that a person means by the name of a study or a study file."""
    if study is not None and study.endswith(".toml"):
        return read_study_file(study, (), None).config.name
    return study


def located(study: str, storage: str | None) -> tuple[str, str]:
    """Say what a study is called and where it lives, without looking whether it is there.

    Args:
        study: Its name, or a study file.
        storage: ``--storage``.

    Returns:
        Its name, and the URL of its storage.
    """
    if study.endswith(".toml"):
        file = read_study_file(study, (), storage)
        return file.config.name, file.storage
    return study, storage_of(storage)


@contextmanager
def open_study(
    study: str, storage: str | None, patience: Patience | None = None
) -> Iterator[tuple[Database, StoredStudy]]:
    """Open a stored study.

    Args:
        study: Its name, or a study file.
        storage: ``--storage``.
        patience: With a database that is away, or a study that is; None for none.
    """
    patience = patience or Patience()
    name, url = located(study, storage)
    with patience.ask(lambda: Database.open(url)) as database:
        yield database, patience.ask(lambda: find_study(database, name))
