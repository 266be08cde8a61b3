"""`work` with several workers: one process that looks after them, as a container's only one."""

import os
from collections.abc import Sequence

from tuner.cli.group import say
from tuner.cli.places import Chosen
from tuner.launch.local import GRACE_SECONDS, LocalWorkers
from tuner.worker.interruption import Interruption, end_with_parent

#: Seconds between looks at the workers.
LOOK_SECONDS = 0.25


def supervise(
    study: str | None,
    *,
    storage: str,
    chosen: Chosen,
    artifacts: str | None,
    options: Sequence[str],
    until_stdin_closes: bool,
) -> None:
    """Run one worker process for each place until all are done; what they log is shown.

    Args:
        study: Name of a stored study; None for all that are open.
        storage: URL of its storage.
        chosen: What each worker trains on.
        artifacts: ``--artifacts``.
        options: More words for each ``tuner work``.
        until_stdin_closes: Whether to end with the process that started this one.

    Raises:
        InterruptedWorkerError: A signal came; the workers' own words tell what they handed back.
        TunerError: What went wrong in a worker, with its exit code.
    """
    interruption = Interruption()
    interruption.handle_signals(end_process=os._exit, within=2 * GRACE_SECONDS)
    if until_stdin_closes:
        end_with_parent()
    say(f"Starting {chosen}.")
    with LocalWorkers(
        study,
        storage=storage,
        places=chosen.places,
        environment=os.environ,
        artifacts=artifacts,
        options=options,
        echo=say,
    ) as workers:
        while workers.check():
            interruption.pause(LOOK_SECONDS)
