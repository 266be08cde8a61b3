"""Commands about the machine that they run on."""

import click

from tuner.cli.group import artifacts_folder, as_format, common, debugging


@click.command()
@click.argument("study", metavar="[STUDY]", required=False)
@as_format("table", "json")
@artifacts_folder
@common
def doctor(study: str | None, form: str, artifacts: str | None, storage: str | None) -> None:
    """Check Python, TensorFlow, GPUs, storage, clock and disk, and say how to mend each.

    With STUDY also its data and versions. Exit code 0 where nothing failed, 3 where only the
    storage is away, else 2.

    \b
    Example:
      tuner doctor
      TUNER_STORAGE=postgresql://tuner@db/tuner tuner doctor imdb
    """
    from tuner.cli.doctor import print_examination

    code = print_examination(study, storage=storage, artifacts=artifacts, form=form)
    click.get_current_context().exit(code)


@click.command()
@click.option("--clear", is_flag=True, help="Remove what is listed, instead of listing it.")
@click.option(
    "--older-than",
    metavar="DAYS",
    type=click.FloatRange(min=0),
    help="With --clear: only what was not used for so long.",
)
@as_format("table", "json")
@debugging
def cache(clear: bool, older_than: float | None, form: str) -> None:
    """List the prepared data that this machine keeps for its trainers, with its size and last use.

    It is in the folder that TUNER_CACHE names, else in XDG_CACHE_HOME/tuner or ~/.cache/tuner.
    What was not used for 90 days goes by itself when other data is prepared.

    \b
    Example:
      tuner cache
      tuner cache --clear --older-than 7
    """
    from tuner.cli.cache import clear_cache, print_cache

    if older_than is not None and not clear:
        raise click.UsageError("--older-than says what --clear removes. Add --clear.")
    if clear:
        clear_cache(older_than or 0.0)
    else:
        print_cache(form)
