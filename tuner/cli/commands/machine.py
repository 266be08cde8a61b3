"""Commands about the machine that they run on."""

import click

from tuner.cli.group import artifacts_folder, as_format, common


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
