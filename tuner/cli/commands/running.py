"""Commands that make a study and run it."""

import click

from tuner.cli.group import FILE, STUDY, artifacts_folder, common, overrides


@click.command()
@FILE
@overrides
@common
def check(file: str, settings: tuple[str, ...], storage: str | None) -> None:
    """Read a study file and its data, train nothing, say what would run.

    \b
    Example:
      tuner check studies/imdb.toml --set data.source=reviews.csv
    """
    from tuner.cli.check import describe_study
    from tuner.cli.studies import read_study_file

    for line in describe_study(read_study_file(file, settings, storage)):
        click.echo(line)


@click.command()
@FILE
@click.option("--workers", default=1, show_default=True, type=click.IntRange(min=1, max=256))
@overrides
@artifacts_folder
@common
def run(
    file: str,
    workers: int,
    settings: tuple[str, ...],
    artifacts: str | None,
    storage: str | None,
) -> None:
    """Create the study if needed, run workers until the budget is done, print the best.

    Called again, it goes on where it stopped, also after `tuner stop` or a mended bug.

    \b
    Example:
      tuner run studies/quickstart.toml --workers 2
    """
    from tuner.cli.run import run_study
    from tuner.cli.studies import read_study_file

    study_file = read_study_file(file, settings, storage)
    run_study(study_file, n_workers=workers, artifacts=artifacts)


@click.command()
@FILE
@overrides
@common
def create(file: str, settings: tuple[str, ...], storage: str | None) -> None:
    """Store a study for workers to find; run no trial.

    \b
    Example:
      tuner create studies/imdb.toml --storage postgresql://tuner@db/tuner
    """
    from tuner.cli.run import create_from
    from tuner.cli.studies import read_study_file

    create_from(read_study_file(file, settings, storage))


@click.command()
@STUDY
@click.option("--threads", type=click.IntRange(min=1), help="For the training. [default: all]")
@click.option(
    "--patience",
    default=60.0,
    show_default=True,
    metavar="MINUTES",
    type=click.FloatRange(min=0),
    help="Wait so long for a database that is away.",
)
@click.option(
    "--same-versions",
    is_flag=True,
    help="Refuse a study that began with other versions of the packages, instead of warning.",
)
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
@artifacts_folder
@common
def work(
    study: str,
    threads: int | None,
    patience: float,
    same_versions: bool,
    until_stdin_closes: bool,
    artifacts: str | None,
    storage: str | None,
) -> None:
    """Run one worker of a stored study until its budget is done.

    Start as many as there are GPUs, on as many machines as reach the storage.

    \b
    Example:
      TUNER_STORAGE=postgresql://tuner@db/tuner tuner work imdb
    """
    from tuner.cli.run import work_on
    from tuner.cli.studies import artifacts_of, open_study

    with open_study(study, storage) as (database, stored):
        work_on(
            database,
            stored,
            threads=threads,
            patience_seconds=60 * patience,
            same_versions=same_versions,
            artifacts=artifacts_of(database, artifacts),
            until_stdin_closes=until_stdin_closes,
        )
