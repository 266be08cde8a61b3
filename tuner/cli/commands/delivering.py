"""Commands that make an artifact: of a study's winner, a smaller one, one for other programs."""

import click

from tuner.cli.group import FOLDER, STUDY, as_format, common, debugging


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
    help="Best trials to take, of those that were confirmed where that was done; the probabilities "
    "of their models are averaged.",
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

    The models are judged by the test set once, at the end.

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
