"""Commands that name, move and remove what is stored."""

import click

from tuner.cli.group import STUDY, artifacts_folder, common, say


@click.command()
@STUDY
@click.argument("name", metavar="NAME")
@common
def rename(study: str, name: str, storage: str | None) -> None:
    """Give a study another name; workers that run go on.

    \b
    Example:
      tuner rename imdb imdb-monday
    """
    from tuner.cli.studies import open_study
    from tuner.storage import rename_study

    with open_study(study, storage) as (database, stored):
        rename_study(database, stored, name)
        say(f"{stored.config.name!r} is {name!r} now. Its study file creates a new study.")


@click.command()
@STUDY
@click.option("--yes", is_flag=True, help="Do not ask.")
@artifacts_folder
@common
def delete(study: str, yes: bool, artifacts: str | None, storage: str | None) -> None:
    """Delete a study with all its trials and checkpoints."""
    from tuner.checkpoints import CheckpointStore
    from tuner.cli.studies import artifacts_of, open_study
    from tuner.results import trials as read_trials
    from tuner.storage import delete_study

    with open_study(study, storage) as (database, stored):
        n_trials = len(read_trials(database, stored))
        name = stored.config.name
        if not yes:
            click.confirm(f"Delete {name!r} and its {n_trials} trials?", abort=True, err=True)
        delete_study(database, stored)
        CheckpointStore(artifacts_of(database, artifacts), stored.key).remove()
        say(f"Deleted {name!r}.")
