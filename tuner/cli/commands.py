"""Every command; what is heavy is imported where it is used, so that ``--help`` is quick."""

import click

from tuner import __version__
from tuner.cli.group import TunerGroup, artifacts_folder, as_format, common, overrides, say

STUDY = click.argument("study", metavar="STUDY")
FILE = click.argument("file", metavar="FILE")


@click.group(cls=TunerGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tuner")
def main() -> None:
    r"""Tune GRU text classifiers with Bayesian optimization.

    STUDY is a study file (TOML) or the name of a stored study.

    \b
    Start here:
      tuner run studies/quickstart.toml
      tuner best quickstart
    """


@main.command()
@FILE
@overrides
@common
def check(file: str, settings: tuple[str, ...], storage: str | None) -> None:
    r"""Read a study file and its data, train nothing, say what would run.

    \b
    Example:
      tuner check studies/imdb.toml --set data.source=reviews.csv
    """
    from tuner.cli.check import describe_study
    from tuner.cli.studies import read_study_file

    for line in describe_study(read_study_file(file, settings, storage)):
        click.echo(line)


@main.command()
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
    r"""Create the study if needed, run workers until the budget is done, print the best.

    Called again, it goes on where it stopped, also after `tuner stop` or a mended bug.

    \b
    Example:
      tuner run studies/quickstart.toml --workers 2
    """
    from tuner.cli.run import run_study
    from tuner.cli.studies import read_study_file

    study_file = read_study_file(file, settings, storage)
    run_study(study_file, n_workers=workers, artifacts=artifacts)


@main.command()
@FILE
@overrides
@common
def create(file: str, settings: tuple[str, ...], storage: str | None) -> None:
    r"""Store a study for workers to find; run no trial.

    \b
    Example:
      tuner create studies/imdb.toml --storage postgresql://tuner@db/tuner
    """
    from tuner.cli.run import create_from
    from tuner.cli.studies import read_study_file

    create_from(read_study_file(file, settings, storage))


@main.command()
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
    r"""Run one worker of a stored study until its budget is done.

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


@main.command()
@STUDY
@click.option("--trials", required=True, type=click.IntRange(min=1), help="How many more.")
@common
def extend(study: str, trials: int, storage: str | None) -> None:
    r"""Give a study more trials; workers that run take them up.

    \b
    Example:
      tuner extend imdb --trials 20
    """
    from tuner.cli.budget import extend_by
    from tuner.cli.studies import open_study

    with open_study(study, storage) as (database, stored):
        extend_by(database, stored, trials)


@main.command()
@STUDY
@common
def stop(study: str, storage: str | None) -> None:
    """End a study early: trials that run are finished, no new one begins."""
    from tuner.cli.budget import stop_early
    from tuner.cli.studies import open_study

    with open_study(study, storage) as (database, stored):
        stop_early(database, stored)


@main.command()
@STUDY
@common
def retry(study: str, storage: str | None) -> None:
    """Give the slots of failed trials another go, with the same values."""
    from tuner.cli.budget import retry_all
    from tuner.cli.studies import open_study

    with open_study(study, storage) as (database, stored):
        retry_all(database, stored)


@main.command("list")
@as_format("table", "json")
@common
def list_studies(form: str, storage: str | None) -> None:
    """List the stored studies."""
    from tuner.cli.query import print_studies
    from tuner.cli.studies import open_storage

    with open_storage(storage) as database:
        print_studies(database, form)


@main.command()
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


@main.command()
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


@main.command()
@STUDY
@click.option("--top", default=None, type=click.IntRange(min=1), help="Show so many, best first.")
@as_format("text", "json")
@common
def best(study: str, top: int | None, form: str, storage: str | None) -> None:
    r"""Print the best trial: params, value, and the study-file lines that would fix them.

    \b
    Example:
      tuner best imdb --format json | jq .params
    """
    from tuner.cli.query import print_best
    from tuner.cli.studies import open_study

    with open_study(study, storage) as (database, stored):
        print_best(database, stored, top, form)


@main.command()
@STUDY
@as_format("table", "json", "csv")
@common
def trials(study: str, form: str, storage: str | None) -> None:
    r"""List every trial; JSON is one object a line.

    \b
    Example:
      tuner trials imdb --format csv > trials.csv
    """
    from tuner.cli.query import print_trials
    from tuner.cli.studies import open_study

    with open_study(study, storage) as (database, stored):
        print_trials(database, stored, form)


@main.command()
@STUDY
@as_format("table", "json")
@common
def importance(study: str, form: str, storage: str | None) -> None:
    """Show how much each parameter matters, with intervals, and what is only noise."""
    from tuner.cli.report import print_importance
    from tuner.cli.studies import open_study

    with open_study(study, storage) as (database, stored):
        print_importance(database, stored, form)


@main.command()
@STUDY
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to; - for stdout. [default: STUDY-report.html]",
)
@common
def report(study: str, output: str | None, storage: str | None) -> None:
    r"""Write one self-contained HTML page: the best, plots, time, the study file.

    \b
    Example:
      tuner report imdb -o imdb.html
    """
    from tuner.cli.report import write_report
    from tuner.cli.studies import open_study

    with open_study(study, storage) as (database, stored):
        write_report(database, stored, output)


@main.command()
@STUDY
@click.argument("trial", type=click.IntRange(min=0))
@as_format("table", "json")
@common
def reproduce(study: str, trial: int, form: str, storage: str | None) -> None:
    r"""Train a finished trial again and compare every report; its record stays as it is.

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


@main.command()
@STUDY
@click.argument("point", nargs=-1, required=True, metavar="KEY=VALUE...")
@common
def enqueue(study: str, point: tuple[str, ...], storage: str | None) -> None:
    r"""Try a point of your own in the next free slot; what you leave out is sampled.

    \b
    Example:
      tuner enqueue imdb learning_rate=0.003 units=96
    """
    from tuner.cli.query import enqueue_point
    from tuner.cli.studies import open_study

    with open_study(study, storage) as (database, stored):
        slot = enqueue_point(database, stored, point)
        say(f"Planned into slot {slot} of {stored.config.name!r}.")


@main.command()
@STUDY
@click.argument("name", metavar="NAME")
@common
def rename(study: str, name: str, storage: str | None) -> None:
    r"""Give a study another name; workers that run go on.

    \b
    Example:
      tuner rename imdb imdb-monday
    """
    from tuner.cli.studies import open_study
    from tuner.storage import rename_study

    with open_study(study, storage) as (database, stored):
        rename_study(database, stored, name)
        say(f"{stored.config.name!r} is {name!r} now. Its study file creates a new study.")


@main.command()
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
    r"""Watch studies in a browser: optuna-dashboard behind a sign-in.

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


@main.command()
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
