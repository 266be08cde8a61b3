"""Commands that make a study and run it."""

import click

from tuner.cli.group import (
    FILE,
    WorkerCount,
    anywhere,
    artifacts_folder,
    common,
    like_another,
    overrides,
    patient,
    worker_places,
)


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
@anywhere
@like_another
@overrides
@artifacts_folder
@common
def run(
    file: str,
    workers: WorkerCount,
    per_gpu: int | None,
    require_gpu: bool,
    on: str,
    address: str | None,
    gpus_per_worker: float | None,
    like: str | None,
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
    from tuner.cli.launching import choose_launch
    from tuner.cli.run import run_study
    from tuner.cli.studies import read_study_file, study_named

    study_file = read_study_file(file, settings, storage)
    launch = choose_launch(
        study_file.storage,
        workers=workers,
        per_gpu=per_gpu,
        require_gpu=require_gpu,
        on=on,
        address=address,
        gpus_per_worker=gpus_per_worker,
    )
    run_study(study_file, launch=launch, artifacts=artifacts, like=study_named(like))


@click.command()
@FILE
@like_another
@overrides
@patient(0.0)
@common
def create(
    file: str,
    like: str | None,
    settings: tuple[str, ...],
    patience: float,
    storage: str | None,
) -> None:
    """Store a study for workers to find; run no trial.

    \b
    Example:
      tuner create studies/imdb.toml --storage postgresql://tuner@db/tuner
    """
    from tuner.cli.patience import Patience, end_at_sigterm
    from tuner.cli.run import create_from
    from tuner.cli.studies import read_study_file, study_named

    end_at_sigterm()
    study_file = read_study_file(file, settings, storage)
    create_from(study_file, Patience(patience), like=study_named(like))


@click.command()
@click.argument("study", metavar="[STUDY]", required=False)
@worker_places
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="For each training. [default: all, shared between the workers]",
)
@click.option(
    "--gpu-memory",
    metavar="MB",
    type=click.IntRange(min=1),
    help="The most that each training may take of its GPU's memory. [default: as it needs; "
    "where workers share a GPU, their part]",
)
@patient(60.0)
@click.option(
    "--wait-for-study",
    is_flag=True,
    help="Wait as long for a study that is not stored yet, and its tables.",
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
    study: str | None,
    workers: WorkerCount,
    per_gpu: int | None,
    require_gpu: bool,
    threads: int | None,
    gpu_memory: int | None,
    patience: float,
    wait_for_study: bool,
    same_versions: bool,
    until_stdin_closes: bool,
    artifacts: str | None,
    storage: str | None,
) -> None:
    """Run workers of a stored study until its budget is done: one per GPU, or one.

    Start it once on each machine that reaches the storage. CUDA_VISIBLE_DEVICES tells which GPUs
    it may use.

    Without STUDY they stay: they serve every study in the storage that is open, in turn, and wait
    for more.

    \b
    Example:
      TUNER_STORAGE=postgresql://tuner@db/tuner tuner work imdb
    """
    from tuner.cli.places import LocalPlaces
    from tuner.cli.studies import located, storage_of
    from tuner.cli.supervise import supervise
    from tuner.cli.work import work_here

    chosen = LocalPlaces(
        workers=workers,
        per_gpu=per_gpu,
        require_gpu=require_gpu,
        threads=threads,
        gpu_memory=gpu_memory,
    ).choose()
    if len(chosen.places) > 1:  # each in a process of its own
        name, url = located(study, storage) if study else (None, storage_of(storage))
        supervise(
            name,
            storage=url,
            chosen=chosen,
            artifacts=artifacts,
            options=(
                *(("--require-gpu",) if require_gpu else ()),
                *("--patience", str(patience)),
                *(("--wait-for-study",) if wait_for_study else ()),
                *(("--same-versions",) if same_versions else ()),
            ),
            until_stdin_closes=until_stdin_closes,
        )
        return
    work_here(
        study,
        storage=storage,
        place=chosen.places[0],
        described=str(chosen),
        require_gpu=require_gpu,
        patience_minutes=patience,
        wait_for_study=wait_for_study,
        same_versions=same_versions,
        artifacts=artifacts,
        until_stdin_closes=until_stdin_closes,
    )
