"""Commands that ask the database."""

import click

from tuner.cli.group import STUDY, as_format, common


@click.command("list")
@as_format("table", "json")
@common
def list_studies(form: str, storage: str | None) -> None:
    """List the stored studies."""
    from tuner.cli.query import print_studies
    from tuner.cli.studies import open_storage

    with open_storage(storage) as database:
        print_studies(database, form)


@click.command()
@STUDY
@click.option("--watch", is_flag=True, help="Show it anew until the study is over.")
@as_format("table", "json")
@common
def status(study: str, watch: bool, form: str, storage: str | None) -> None:
    """Show how far a study is: trials by state, rate, best, who runs what."""
    from tuner.cli.query import print_status
    from tuner.cli.studies import open_study
    from tuner.cli.watch import watch_study

    with open_study(study, storage) as (database, stored):
        (watch_study if watch else print_status)(database, stored, form)


@click.command()
@STUDY
@click.argument("trial", type=click.IntRange(min=0))
@as_format("table", "json")
@common
def show(study: str, trial: int, form: str, storage: str | None) -> None:
    """Show all about one trial."""
    from tuner.cli.query import print_trial
    from tuner.cli.studies import open_study

    with open_study(study, storage) as (database, stored):
        print_trial(database, stored, trial, form)


@click.command()
@STUDY
@click.option("--top", default=None, type=click.IntRange(min=1), help="Show so many, best first.")
@as_format("text", "json")
@common
def best(study: str, top: int | None, form: str, storage: str | None) -> None:
    """Print the best trial: params, value, and the study-file lines that would fix them.

    \b
    Example:
      tuner best imdb --format json | jq .params
    """
    from tuner.cli.query import print_best
    from tuner.cli.studies import open_study

    with open_study(study, storage) as (database, stored):
        print_best(database, stored, top, form)


@click.command()
@STUDY
@as_format("table", "json", "csv")
@common
def trials(study: str, form: str, storage: str | None) -> None:
    """List every trial; JSON is one object a line.

    \b
    Example:
      tuner trials imdb --format csv > trials.csv
    """
    from tuner.cli.query import print_trials
    from tuner.cli.studies import open_study

    with open_study(study, storage) as (database, stored):
        print_trials(database, stored, form)
