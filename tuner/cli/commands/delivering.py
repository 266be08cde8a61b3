"""Commands that make a model of a study's winner, and use it."""

from collections.abc import Mapping

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
    "--top",
    default=1,
    show_default=True,
    type=click.IntRange(min=1, max=100),
    help="Best trials to take, of those that were confirmed; the probabilities of their models are "
    "averaged.",
)
@click.option(
    "--seeds",
    default=1,
    show_default=True,
    type=click.IntRange(min=1, max=100),
    help="Models of each trial, each with a seed of its own; their probabilities are averaged.",
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
    top: int,
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
      tuner refit imdb -o imdb.model --top 3
    """
    if trial is not None and top > 1:
        raise click.UsageError("--trial takes one trial, --top the best ones. Give one of the two.")
    from tuner.cli.refit import refit_study

    refit_study(
        study,
        storage,
        output=output,
        force=force,
        trial=trial,
        top=top,
        n_seeds=seeds,
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


@click.command()
@FOLDER
@click.option(
    "--to",
    required=True,
    type=click.Choice(["saved_model", "onnx", "litert"]),
    help="The format; onnx and litert need the extra of that name.",
)
@click.option("-o", "--output", metavar="OUT", required=True, help="Folder of the export.")
@click.option("--force", is_flag=True, help="Replace an export that is there.")
@click.option(
    "--texts",
    metavar="FILE",
    help="Compare with Keras on the first 1,000 texts of this file too, beside made-up ones.",
)
@click.option(
    "--column", default="text", show_default=True, help="Column of FILE that holds the texts."
)
@as_format("text", "json")
@debugging
def export(
    folder: str, to: str, output: str, force: bool, texts: str | None, column: str, form: str
) -> None:
    """Export an artifact for programs without Keras, in any language.

    saved_model takes raw texts. onnx and litert start at ids: the vocabulary, the rules for texts
    and a program that follows them lie beside the model. An ensemble becomes one file.

    Each export is compared with Keras in its own runtime; one that differs is not written.

    \b
    Example:
      tuner export imdb.model --to onnx -o imdb.onnx --texts reviews.csv.gz
    """
    from tuner.cli.export import export_artifact

    export_artifact(
        folder, to=to, output=output, texts=texts, column=column, force=force, form=form
    )


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


@click.command()
@FOLDER
@click.option("-o", "--output", metavar="DIR", help="Folder of the smaller artifact.")
@click.option("--force", is_flag=True, help="Replace an artifact that is there.")
@click.option(
    "--max-loss",
    metavar="POINTS",
    type=click.FloatRange(min=0, max=100),
    help="Write the smallest variant that loses no more accuracy, in points of a hundred.",
)
@click.option(
    "--variant",
    metavar="STEP+STEP",
    help="Make and write this one alone, such as vocabulary:5000+int8.",
)
@click.option(
    "--steps",
    default="vocabulary,low_rank,float16,int8",
    show_default=True,
    metavar="STEP,STEP",
    help="What to combine; also prune and distil, which train. An amount after a colon, such as "
    "low_rank:16, is tried alone.",
)
@click.option(
    "--unseen",
    is_flag=True,
    help="Measure with twins, trained without the validation examples: honest, and takes as long "
    "as the training.",
)
@click.option(
    "--study", metavar="STUDY", help="Where the data is. [default: the study of the artifact]"
)
@as_format("table", "json")
@common
def compress(
    folder: str,
    output: str | None,
    force: bool,
    max_loss: float | None,
    variant: str | None,
    steps: str,
    unseen: bool,
    study: str | None,
    form: str,
    storage: str | None,
) -> None:
    """Make an artifact's models smaller; say what each way costs in accuracy.

    \b
    vocabulary:N  keep N ids: those of the words that matter most to the models
    low_rank:R    word vectors as the product of two tables, the first R wide
    float16       numbers of two bytes
    int8          numbers of one byte, with a scale for each word and each output
    prune:SHARE   so many zeros, and train the rest further
    distil:UNITS  one smaller model that learns what all say together

    \b
    Example:
      tuner compress imdb.model
      tuner compress imdb.model -o small.model --max-loss 0.3 --unseen
    """
    from tuner.cli.compress import compress_artifact

    compress_artifact(
        folder,
        storage,
        study=study,
        output=output,
        force=force,
        steps=steps,
        variant=variant,
        max_loss=max_loss,
        unseen=unseen,
        form=form,
    )


def _refuse(flags: Mapping[str, object], why: str) -> None:
    """Refuse flags that mean nothing beside, or without, another one."""
    for flag, value in flags.items():
        if value:
            raise click.UsageError(f"{flag} {why} only.")
