"""Commands that show what a study has found."""

import click

from tuner.cli.group import STUDY, artifacts_folder, as_format, common


@click.command()
@STUDY
@as_format("table", "json")
@common
def importance(study: str, form: str, storage: str | None) -> None:
    """Show how much each parameter matters, with intervals, and what is only noise."""
    from tuner.cli.report import print_importance
    from tuner.cli.studies import open_study

    with open_study(study, storage) as (database, stored):
        print_importance(database, stored, form)


@click.command()
@STUDY
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to; - for stdout. [default: STUDY-report.html]",
)
@common
def report(study: str, output: str | None, storage: str | None) -> None:
    """Write one self-contained HTML page: the best, plots, time, the study file.

    \b
    Example:
      tuner report imdb -o imdb.html
    """
    from tuner.cli.report import write_report
    from tuner.cli.studies import open_study

    with open_study(study, storage) as (database, stored):
        write_report(database, stored, output)


@click.command()
@STUDY
@click.argument("trial", type=click.IntRange(min=0))
@as_format("table", "json")
@common
def reproduce(study: str, trial: int, form: str, storage: str | None) -> None:
    """Train a finished trial again and compare every report; its record stays as it is.

    Exit code 0 where all is the same bit for bit, else 4.

    \b
    Example:
      tuner reproduce imdb 17
    """
    from tuner.cli.reproduce import train_again
    from tuner.cli.studies import open_study

    with open_study(study, storage) as (database, stored):
        is_equal = train_again(database, stored, trial, form)
    click.get_current_context().exit(0 if is_equal else 4)


@click.command()
@click.argument("what", metavar="PATH_OR_STUDY")
@click.option(
    "--workers",
    default=8,
    show_default=True,
    type=click.IntRange(min=1, max=10_000),
    help="Simulated workers, side by side.",
)
@click.option(
    "--seeds",
    default=30,
    show_default=True,
    type=click.IntRange(min=1),
    help="Replays of each table.",
)
@click.option(
    "--costs",
    default="5,10,20,40",
    show_default=True,
    metavar="C,...",
    help="When to look, in whole trainings.",
)
@click.option(
    "--sampler",
    metavar="NAME",
    help="Who proposes. [default: the study's own; tpe]",
)
@click.option(
    "--pruner",
    metavar="NAME",
    help="Who ends trials. [default: the study's own; asha]",
)
@as_format("table", "json")
@common
def simulate(
    what: str,
    workers: int,
    seeds: int,
    costs: str,
    sampler: str | None,
    pruner: str | None,
    form: str,
    storage: str | None,
) -> None:
    """Replay recorded learning curves with another sampler, pruner or number of workers.

    PATH_OR_STUDY is an .npz table or a folder of them, a study file, or the name of a stored study
    whose trials are done.

    \b
    Example:
      tuner simulate imdb --pruner median --workers 4
      tuner simulate tables/ --costs 10,20 --format json
    """
    from tuner.cli.simulate import print_simulation, read_costs

    print_simulation(
        what,
        n_workers=workers,
        n_seeds=seeds,
        costs=read_costs(costs),
        sampler=sampler,
        pruner=pruner,
        form=form,
        storage=storage,
    )


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Interface to listen on.")
@click.option(
    "--port",
    default=8080,
    show_default=True,
    type=click.IntRange(min=0, max=65535),
    help="0 finds a free one.",
)
@click.option("--operator", is_flag=True, help="Let the link in as operator, not as viewer.")
@click.option(
    "--secrets",
    metavar="FILE",
    help="Hashed secrets that let people in, for more than one machine. Else "
    "TUNER_DASHBOARD_SECRETS.",
)
@click.option("--public-url", metavar="URL", help="What a proxy shows it as.")
@click.option(
    "--make-secret",
    type=click.Choice(["viewer", "operator"]),
    help="Ask for a secret, print a line for the file, and end.",
)
@artifacts_folder
@common
def dashboard(
    host: str,
    port: int,
    operator: bool,
    secrets: str | None,
    public_url: str | None,
    make_secret: str | None,
    artifacts: str | None,
    storage: str | None,
) -> None:
    """Watch studies in a browser: optuna-dashboard behind a sign-in.

    A viewer sees all and changes nothing; an operator may also delete studies, fail trials and
    write notes of trials.

    \b
    Example:
      tuner dashboard
      tuner dashboard --make-secret viewer > secrets.txt
    """
    from tuner.cli.dashboard import print_secret, show_dashboard

    if make_secret is not None:
        print_secret(make_secret)
        return
    show_dashboard(
        host=host,
        port=port,
        operator=operator,
        secrets=secrets,
        public_url=public_url,
        artifacts=artifacts,
        storage=storage,
    )
