"""Commands that name, move and remove what is stored."""

import click

from tuner.cli.group import STUDY, artifacts_folder, common, say


@click.command()
@STUDY
@click.argument("name", metavar="NAME")
@common
def rename(study: str, name: str, storage: str | None) -> None:
    """Give a study another name; workers that run go on.

    What confirms it gets another name with it.

    \b
    Example:
      tuner rename imdb imdb-monday
    """
    from tuner.cli.moving import rename_with_confirmation
    from tuner.cli.studies import open_study

    with open_study(study, storage) as (database, stored):
        rename_with_confirmation(database, stored, name)


@click.command()
@STUDY
@click.option("--yes", is_flag=True, help="Do not ask.")
@artifacts_folder
@common
def delete(study: str, yes: bool, artifacts: str | None, storage: str | None) -> None:
    """Delete a study with all its trials and checkpoints."""
    from tuner.cli.studies import artifacts_of, open_study
    from tuner.mirror import open_store
    from tuner.results import trials as read_trials
    from tuner.storage import delete_study

    with open_study(study, storage) as (database, stored):
        checkpoints = open_store(artifacts_of(database, artifacts), stored.key)
        n_trials = len(read_trials(database, stored))
        name = stored.config.name
        if not yes:
            click.confirm(f"Delete {name!r} and its {n_trials} trials?", abort=True, err=True)
        delete_study(database, stored)
        checkpoints.remove()
        say(f"Deleted {name!r}.")


@click.command()
@STUDY
@click.option("--to", required=True, metavar="URL", help="Storage to copy it to.")
@click.option("--name", metavar="NAME", help="What it is called there. [default: the same]")
@artifacts_folder
@click.option("--to-artifacts", metavar="DIR", help="Likewise, for checkpoints there.")
@common
def copy(
    study: str,
    to: str,
    name: str | None,
    artifacts: str | None,
    to_artifacts: str | None,
    storage: str | None,
) -> None:
    """Copy a study to another storage, to go on there: from SQLite to Postgres, for example.

    All comes along: trials, reports, configurations, what is left of the budget, checkpoints of
    trials that were begun, and the study that confirms it. The study here stays as it is. Stop it
    first.

    \b
    Example:
      tuner stop imdb
      tuner copy imdb --to postgresql://tuner@db/tuner
    """
    from tuner.cli.moving import copy_to

    copy_to(study, storage, to=to, name=name, artifacts=artifacts, to_artifacts=to_artifacts)


@click.command()
@common
def upgrade(storage: str | None) -> None:
    """Bring a database that an older tuner or Optuna made to this version.

    Stop its workers first. Where all is of this version, nothing changes.
    """
    from tuner.cli.moving import upgrade_storage

    upgrade_storage(storage)
