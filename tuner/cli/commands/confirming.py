"""The command that says whether a study's winner is as good as it looks."""

import click

from tuner.cli.group import STUDY, WorkerCount, anywhere, artifacts_folder, as_format, common


@click.command()
@STUDY
@click.option(
    "--top",
    type=click.IntRange(min=1, max=100),
    help="Trials that are trained again, the best ones. [default: 5]",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=2, max=100),
    help="Trainings of each to choose the winner, and as many more of the winner. [default: 3]",
)
@click.option(
    "--without-failed",
    is_flag=True,
    help="Choose the winner among those finalists of which no training failed.",
)
@click.option(
    "--no-work",
    is_flag=True,
    help="Run no workers here: store what is to be trained next, for workers elsewhere.",
)
@anywhere
@as_format("text", "json")
@artifacts_folder
@common
def confirm(
    study: str,
    top: int | None,
    seeds: int | None,
    without_failed: bool,
    no_work: bool,
    workers: WorkerCount,
    per_gpu: int | None,
    require_gpu: bool,
    on: str,
    address: str | None,
    gpus_per_worker: float | None,
    form: str,
    artifacts: str | None,
    storage: str | None,
) -> None:
    """Train the best trials of a finished study again, and say how good the winner really is.

    The best of many trials is in part the luckiest. So the best few and the default point are
    trained anew, with other seeds and judged by other examples; the winner of that, once more, by
    examples that chose nothing. The trainings are a study of their own, STUDY.confirm. Called
    again, it goes on where it stopped, and at the end prints the result. The test set is not read.

    \b
    Example:
      tuner confirm imdb --workers auto
    """
    from tuner.cli.confirm import Wanted, confirm_study
    from tuner.cli.launching import choose_launch
    from tuner.cli.studies import located

    name, url = located(study, storage)
    launch = choose_launch(
        url,
        workers=workers,
        per_gpu=per_gpu,
        require_gpu=require_gpu,
        on=on,
        address=address,
        gpus_per_worker=gpus_per_worker,
    )
    confirm_study(
        name,
        url,
        Wanted(top=top, seeds=seeds, without_failed=without_failed),
        launch=None if no_work else launch,
        artifacts=artifacts,
        form=form,
    )
