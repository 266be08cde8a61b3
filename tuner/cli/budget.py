"""`extend`, `stop`, `retry`: change what a stored study spends, and say what follows from it."""

from tuner.cli.group import say
from tuner.cli.words import end_of
from tuner.results import progress
from tuner.storage import Database, StoredStudy, extend_study, retry_failed, stop_study


def extend_by(database: Database, study: StoredStudy, n_trials: int) -> None:
    """Add trials to a study."""
    grown = extend_study(database, study, n_trials)
    name = grown.config.name
    say(f"Study {name!r} has {grown.config.budget.trials} trials now, {n_trials} more than before.")
    _say_how_to_go_on(database, grown)


def stop_early(database: Database, study: StoredStudy) -> None:
    """End a study before its budget is used up."""
    name, before = study.config.name, progress(database, study)
    if before.slots.done == before.slots.total:
        say(f"All {before.slots.total} trials of {name!r} are done; there is nothing to stop.")
        return
    if before.ended is not None:
        say(f"Study {name!r} had ended before: {end_of(before)}")
        return
    stop_study(database, study)
    now = progress(database, study)
    n_open = len([row for row in now.running if row.slot is not None])
    n_left = now.slots.total - now.slots.done - n_open
    say(
        f"Stopped {name!r}: {now.slots.done} trials are done, {n_open} that began are finished, "
        f"{n_left} {'slot stays' if n_left == 1 else 'slots stay'} free. "
        f"`tuner run FILE` or `tuner extend {name} --trials N` lets it go on."
    )


def retry_all(database: Database, study: StoredStudy) -> None:
    """Open the slots of failed trials again."""
    n_opened = retry_failed(database, study)
    name = study.config.name
    if not n_opened:
        say(f"No trial of {name!r} has failed.")
        return
    trials = "1 failed trial gets" if n_opened == 1 else f"{n_opened} failed trials get"
    say(f"{trials} another go in {name!r}, with the same values.")
    _say_how_to_go_on(database, study)


def _say_how_to_go_on(database: Database, study: StoredStudy) -> None:
    now = progress(database, study)
    if now.ended is not None:
        say(f"It stays ended, though: {end_of(now)}")
    elif not now.slots.held:
        say(f"Start a worker with `tuner work {study.config.name}`.")
