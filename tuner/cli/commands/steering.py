"""Commands that steer a study while workers are at it."""

import click

from tuner.cli.group import STUDY, common, say


@click.command()
@STUDY
@click.option("--trials", required=True, type=click.IntRange(min=1), help="How many more.")
@common
def extend(study: str, trials: int, storage: str | None) -> None:
    """Give a study more trials; workers that run take them up.

    \b
    Example:
      tuner extend imdb --trials 20
    """
    from tuner.cli.budget import extend_by
    from tuner.cli.studies import open_study

    with open_study(study, storage) as (database, stored):
        extend_by(database, stored, trials)


@click.command()
@STUDY
@common
def stop(study: str, storage: str | None) -> None:
    """End a study early: trials that run are finished, no new one begins."""
    from tuner.cli.budget import stop_early
    from tuner.cli.studies import open_study

    with open_study(study, storage) as (database, stored):
        stop_early(database, stored)


@click.command()
@STUDY
@common
def retry(study: str, storage: str | None) -> None:
    """Give the slots of failed trials another go, with the same values."""
    from tuner.cli.budget import retry_all
    from tuner.cli.studies import open_study

    with open_study(study, storage) as (database, stored):
        retry_all(database, stored)


@click.command()
@STUDY
@click.argument("point", nargs=-1, required=True, metavar="KEY=VALUE...")
@common
def enqueue(study: str, point: tuple[str, ...], storage: str | None) -> None:
    """Try a point of your own in the next free slot; what you leave out is sampled.

    \b
    Example:
      tuner enqueue imdb learning_rate=0.003 units=96
    """
    from tuner.cli.query import enqueue_point
    from tuner.cli.studies import open_study

    with open_study(study, storage) as (database, stored):
        slot = enqueue_point(database, stored, point)
        say(f"Planned into slot {slot} of {stored.config.name!r}.")
