"""`copy` and `upgrade`: a study to another database, a database to this version."""

import secrets
from pathlib import Path

from tuner.checkpoint_store import CheckpointStore
from tuner.cli.group import say
from tuner.cli.studies import artifacts_of, open_study, storage_of
from tuner.storage import Copied, Database, copy_study, open_slots, shown, upgrade
from tuner.storage.creation import as_script


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
        begun = open_slots(source, stored)
        with Database.open(url, create=True) as target:
            key = secrets.token_hex(8)
            here, there = artifacts_of(source, artifacts), artifacts_of(target, to_artifacts)
            n_saved = 0
            if isinstance(here, Path) and isinstance(there, Path):
                copies = CheckpointStore(there, key)
                n_saved = CheckpointStore(here, stored.key).copy_slots(begun, copies)
            try:
                name = name or stored.config.name
                copied = copy_study(source, stored, target, name=name, key=key)
            except BaseException:
                if n_saved:
                    copies.remove()
                raise
            _say_copied(copied, stored.config.name, target.name, len(begun), n_saved)


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
