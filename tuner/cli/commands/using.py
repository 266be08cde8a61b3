"""Commands that ask an artifact: what a text is, and why."""

from collections.abc import Mapping

import click

from tuner.cli.group import FOLDER, as_format, debugging


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


@click.command()
@FOLDER
@click.argument("text", nargs=-1, required=True)
@click.option(
    "--column", default="text", show_default=True, help="Column of a file that holds the texts."
)
@click.option(
    "--class",
    "target",
    metavar="NAME",
    help="What is explained. [default: each text's most probable class; with --summary all]",
)
@click.option(
    "--words",
    default=10,
    show_default=True,
    type=click.IntRange(min=1),
    help="Words a list, at most.",
)
@click.option("--each-model", is_flag=True, help="Show also what each model of several says.")
@click.option(
    "-o", "--output", metavar="FILE", help="Write a page with coloured words instead of printing."
)
@click.option(
    "--summary",
    is_flag=True,
    help="Not text by text, but over all: the words that matter for each class, those on which "
    "the models disagree, likely shortcuts.",
)
@click.option(
    "--min-texts",
    type=click.IntRange(min=1),
    help="With --summary: texts in which a word must be read to be listed. [default: 5]",
)
@click.option(
    "--group",
    metavar="COLUMN",
    help="With --summary: column of a file that says what a text belongs to, such as a film.",
)
@as_format("table", "json")
@debugging
def explain(
    folder: str,
    text: tuple[str, ...],
    column: str,
    target: str | None,
    words: int,
    each_model: bool,
    output: str | None,
    summary: bool,
    min_texts: int | None,
    group: str | None,
    form: str,
) -> None:
    """Show which words of a text speak for a class, and which against it.

    TEXT is as for `tuner predict`. JSON is one object a line. Several models are explained
    together, as their mean probability.

    \b
    Example:
      tuner explain imdb.model "A great movie, not dull at all!"
      tuner explain imdb.model reviews.csv -o reviews.html
      tuner explain imdb.model reviews.csv --summary --group movie
    """
    from tuner.cli.explain import explain_texts, explain_together

    if summary:
        _refuse({"--each-model": each_model, "-o": output}, "shows single texts: without --summary")
        explain_together(
            folder,
            text,
            column=column,
            group=group,
            target=target,
            n_words=words,
            min_texts=min_texts or 5,
            form=form,
        )
        return
    _refuse({"--min-texts": min_texts, "--group": group}, "is about many texts: with --summary")
    if output and form == "json":
        raise click.UsageError("-o writes a page, --format json prints. Leave out one of them.")
    explain_texts(
        folder,
        text,
        column=column,
        target=target,
        n_words=words,
        each_model=each_model,
        form=form,
        output=output,
    )


def _refuse(flags: Mapping[str, object], why: str) -> None:
    """Refuse flags that mean nothing beside, or without, another one."""
    for flag, value in flags.items():
        if value:
            raise click.UsageError(f"{flag} {why} only.")
