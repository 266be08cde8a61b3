"""`copy` and `upgrade`: a study to another database, a database to this version."""

import secrets
from pathlib import Path

from tuner.bucket import Bucket
from tuner.checkpoint_store import CheckpointStore
from tuner.cli.group import say
from tuner.cli.studies import artifacts_of, open_study, storage_of
from tuner.confirmation import SUFFIX
from tuner.errors import InputError
from tuner.results.confirmed import find_confirmation
from tuner.storage import (
    Copied,
    Database,
    StoredStudy,
    copy_study,
    open_slots,
    rename_study,
    shown,
    study_names,
    upgrade,
)
from tuner.storage.creation import as_script
from tuner.storage.studies import check_name


def copy_to(
    study: str,
    storage: str | None,
    *,
    to: str,
    name: str | None,
    artifacts: str | None,
    to_artifacts: str | None,
) -> None:
    """Copy a study with the checkpoints of its open trials, and say how to go on.

    Args:
        study: Its name, or a study file.
        storage: ``--storage``.
        to: URL of where to.
        name: What it is called there; None for the same.
        artifacts: Folder of the checkpoints; None for the usual one.
        to_artifacts: Folder that they are copied to, likewise.
    """
    url = storage_of(to)
    with open_study(study, storage) as (source, stored):
        confirmation, name = find_confirmation(source, stored), name or stored.config.name
        if confirmation is not None:
            open_slots(source, confirmation)  # refuses what it would refuse, before anything moves
        with Database.open(url, create=True) as target:
            if confirmation is not None and name not in study_names(target):
                _check_free(target, f"{name}{SUFFIX}", confirmation.config.name)
            folders = artifacts_of(source, artifacts), artifacts_of(target, to_artifacts)
            _copy_one(source, stored, target, name, folders)
            if confirmation is not None:
                its_name = f"{name}{SUFFIX}"
                copy = _copy_one(source, confirmation, target, its_name, folders)
                rename_study(target, copy, its_name, confirms=name)


def _check_free(target: Database, name: str, confirmation: str) -> None:
    """Refuse the name of a confirmation that goes along before the study is copied."""
    check_name(name)
    if name in study_names(target):
        raise InputError(
            f"{confirmation!r} goes along and would be {name!r}, which {target.name} has already. "
            f"Delete or rename that one, or take another name with --name."
        )


def _copy_one(
    source: Database,
    stored: StoredStudy,
    target: Database,
    name: str,
    folders: tuple[Path | Bucket, Path | Bucket],
) -> StoredStudy:
    """Copy one study with its checkpoints, from the first of the folders to the other."""
    begun, key = open_slots(source, stored), secrets.token_hex(8)
    here, there = folders
    n_saved = 0
    if isinstance(here, Path) and isinstance(there, Path):
        copies = CheckpointStore(there, key)
        n_saved = CheckpointStore(here, stored.key).copy_slots(begun, copies)
    try:
        copied = copy_study(source, stored, target, name=name, key=key)
    except BaseException:
        if n_saved:
            copies.remove()
        raise
    _say_copied(copied, stored.config.name, target.name, len(begun), n_saved)
    return copied.study


def rename_with_confirmation(database: Database, study: StoredStudy, name: str) -> None:
    """Give a study another name, and the one that confirms it with it; say so.

    Args:
        database: Where both are.
        study: The study.
        name: The new name.

    Raises:
        InputError: It is no name, or another study has it or the one that goes with it.
    """
    confirmation, its_name = find_confirmation(database, study), f"{name}{SUFFIX}"
    if confirmation is not None:
        check_name(its_name)
        if its_name in study_names(database):
            raise InputError(
                f"name: {confirmation.config.name!r} confirms {study.config.name!r} and would "
                f"become {its_name!r}, which is the name of another study. Take another name, or "
                f"rename that one before."
            )
    rename_study(database, study, name)
    say(f"{study.config.name!r} is {name!r} now. Its study file creates a new study.")
    if confirmation is not None:
        rename_study(database, confirmation, its_name, confirms=name)
        say(f"{confirmation.config.name!r}, which confirms it, is {its_name!r} now.")


def _say_copied(copied: Copied, old: str, place: str, n_begun: int, n_saved: int) -> None:
    name = copied.study.config.name
    say(f"Copied {old!r} with {copied.n_trials} trials to {place}, as {name!r}.")
    if n_begun:
        say(
            f"  {n_begun} of them {'is' if n_begun == 1 else 'are'} begun and will be gone on with "
            f"there, {n_saved} from {'its checkpoint' if n_saved == 1 else 'their checkpoints'}."
        )
    say(f"  Go on there: tuner work {name} --storage '{place}'")
    if copied.ended is None:
        say(f"  No more trials here: tuner stop {old}")
    say(f"  When all is well there: tuner delete {old}")


def upgrade_storage(storage: str | None) -> None:
    """Bring a database to this version, and say what was done."""
    url = storage_of(storage)
    result = upgrade(url)
    for line in result.done:
        say(line)
    if not result.done:
        say(f"{shown(url)} is of this version already.")
    if result.missing:
        say(
            f"The groups of users for workers and readers are missing. For them, an administrator "
            f"runs:\n\n{as_script(result.missing)}\n\nThen run `tuner upgrade` again."
        )
