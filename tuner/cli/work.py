"""`work` in this process: one worker, of a study or of all that are open."""

import contextlib
import os

from tuner.cli.group import say
from tuner.cli.patience import Patience, end_at_sigterm
from tuner.cli.studies import artifacts_of, data_root, open_storage, open_study
from tuner.mirror import check_artifacts
from tuner.places import Place
from tuner.storage import Database, StoredStudy
from tuner.worker.interruption import Interruption, end_with_parent
from tuner.worker.pool import Pool
from tuner.worker.worker import Worker, WorkerOptions


def work_here(
    study: str | None,
    *,
    storage: str | None,
    place: Place,
    described: str,
    require_gpu: bool,
    patience_minutes: float,
    wait_for_study: bool,
    same_versions: bool,
    artifacts: str | None,
    until_stdin_closes: bool,
) -> None:
    """Be one worker.

    Args:
        study: Name of a stored study, or a study file; None for all that are open.
        storage: ``--storage``.
        place: What it trains on.
        described: That in words.
        require_gpu: Whether to refuse to train on the processor.
        patience_minutes: How long to wait for a database that is away, now or later.
        wait_for_study: Whether to wait as long for a study that is not there yet.
        same_versions: Whether to refuse a study that began with other versions.
        artifacts: ``--artifacts``.
        until_stdin_closes: Whether to end with the process that started this one.
    """
    end_at_sigterm()
    if until_stdin_closes:
        end_with_parent()
    else:  # who started it has not said so
        say(f"Starting {described}.")
    patience = Patience(patience_minutes, for_study=wait_for_study)
    with contextlib.ExitStack() as opened:
        database: Database
        stored: StoredStudy | None = None
        if study is None:
            database = opened.enter_context(open_storage(storage, patience))
        else:
            database, stored = opened.enter_context(open_study(study, storage, patience))
        chosen = artifacts_of(database, artifacts)
        check_artifacts(chosen)
        options = WorkerOptions(
            threads=place.threads,
            gpu=place.gpu,
            memory_limit_mb=place.memory_limit_mb,
            require_gpu=require_gpu,
            data_root=data_root(),
            artifacts=chosen,
            patience=60 * patience_minutes,
            same_versions=same_versions,
        )
        interruption = Interruption()
        interruption.handle_signals(end_process=os._exit)
        if stored is None:
            Pool(database, options=options, environment=os.environ, interruption=interruption).run()
        Worker(
            database,
            stored,
            options=options,
            environment=os.environ,
            interruption=interruption,
        ).run()
