"""Commands that make a model of a study's winner, and use it."""

import click

from tuner.cli.group import STUDY, as_format, common, debugging

FOLDER = click.argument("folder", metavar="DIR")


@click.command()
@STUDY
@click.option("-o", "--output", metavar="DIR", required=True, help="Folder of the artifact.")
@click.option("--force", is_flag=True, help="Replace an artifact that is there.")
@click.option(
    "--trial",
    type=click.IntRange(min=0),
    help="Whose hyperparameters to take. [default: the winner of `tuner confirm`, else the best "
    "trial]",
)
@click.option(
    "--seeds",
    default=1,
    show_default=True,
    type=click.IntRange(min=1, max=100),
    help="Models to train, each with a seed of its own; their probabilities are averaged.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    help="How long to train. [default: the trial's best epoch, or the median of those of its "
    "confirmation]",
)
@click.option(
    "--test/--no-test",
    default=True,
    show_default=True,
    help="Whether to judge it by the test set, where there is one.",
)
@click.option("--again", is_flag=True, help="Read the test set though it was read before.")
@as_format("text", "json")
@common
def refit(
    study: str,
    output: str,
    force: bool,
    trial: int | None,
    seeds: int,
    epochs: int | None,
    test: bool,
    again: bool,
    form: str,
    storage: str | None,
) -> None:
    """Train the winner on all labelled examples and write it as an artifact.

    The test set is read once, at the end.

    \b
    Example:
      tuner refit imdb -o imdb.model --seeds 5
    """
    from tuner.cli.refit import refit_study

    refit_study(
        study,
        storage,
        output=output,
        force=force,
        trial=trial,
        n_models=seeds,
        epochs=epochs,
        test=test,
        again=again,
        form=form,
    )


@click.command()
@FOLDER
@click.argument("text", nargs=-1, required=True)
@click.option(
    "--column", default="text", show_default=True, help="Column of a file that holds the texts."
)
@as_format("table", "json", "csv")
@debugging
def predict(folder: str, text: tuple[str, ...], column: str, form: str) -> None:
    """Classify texts with an artifact: class and probabilities, in the order of the texts.

    TEXT is one text or several, the name of a .csv, .tsv, .jsonl or .parquet file, or - for
    stdin, one text a line. JSON is one object a line.

    \b
    Example:
      tuner predict imdb.model "A great movie!"
      tuner predict imdb.model reviews.csv.gz --format csv > classes.csv
    """
    from tuner.cli.predict import predict_texts

    predict_texts(folder, text, column, form)
