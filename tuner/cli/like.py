"""`--like`: a new study begins with the best points of an earlier one, and says with which."""

from collections.abc import Sequence

from tuner.cli.group import say
from tuner.cli.words import number
from tuner.config import StudyConfig
from tuner.domain import point_key
from tuner.errors import InputError, NoUsableTrialError, StudyNotFoundError
from tuner.results import TrialRow, best_trials
from tuner.storage import Database, Plan, StoredStudy, find_study, study_names
from tuner.strategy.warm_start import Earlier, Fitted, fit_points, n_wanted, unlike

#: Trials that are looked through for each point that is wanted, since some may be equal.
LOOKED_THROUGH = 10


def plans_like(database: Database, config: StudyConfig, name: str) -> tuple[Plan, ...]:
    """Plan the best points of an earlier study for a new one, and tell what does not fit.

    Args:
        database: Where both are.
        config: The new study.
        name: Of the earlier one.

    Returns:
        What `create_study` is to begin with; nothing for a study that is there already.

    Raises:
        InputError: There is no such study, or none of its points is of use.
    """
    if name == config.name:
        raise InputError(
            f"--like {name}: a study cannot start from itself. Give the new one another name: "
            f"--set name={name}-2."
        )
    if config.name in study_names(database):
        say(f"note: --like {name} plans nothing: {config.name!r} is there already.")
        return ()
    if config.sampler.name == "grid":
        raise InputError(
            f"--like {name}: a grid runs each of its points anyway. Leave --like out, or choose "
            f"another sampler, such as --set sampler.name=tpe."
        )
    if config.n_slots < 2:
        raise InputError(
            f"--like {name}: a study of one trial runs its default point. Expected at least two: "
            f"--set budget.trials=2."
        )
    earlier = _find(database, name)
    rows = _best(database, config, earlier, n_wanted(config))
    trials = [Earlier(number=row.number, params=row.params) for row in rows]
    fitted = fit_points(config, trials)
    _tell(earlier, rows, fitted)
    for difference in unlike(config, earlier.config):
        say(f"note: {difference}: what was best in {name!r} need not be best here.")
    plans = tuple(
        Plan(point=trial.point, origin=f"like {name}/{trial.number}")
        for trial in fitted
        if not trial.left_out
    )
    if not plans:
        raise InputError(
            f"--like {name}: none of its best points is left to begin with, as told above. "
            f"Expected a study whose space overlaps with that of {config.name!r}; or leave --like "
            f"out."
        )
    return plans


def _find(database: Database, name: str) -> StoredStudy:
    try:
        return find_study(database, name)
    except StudyNotFoundError as error:
        raise StudyNotFoundError(
            f"--like {name}: {error} One of another storage comes here with `tuner copy`."
        ) from error


def _best(database: Database, config: StudyConfig, earlier: StoredStudy, n: int) -> list[TrialRow]:
    """Read the best complete trials with different hyperparameters."""
    by_first = config.metrics is None  # what else the earlier study wanted, is not asked for here
    try:
        rows = best_trials(database, earlier, top=n * LOOKED_THROUGH, by_first=by_first)
    except NoUsableTrialError as error:
        raise InputError(f"--like {earlier.config.name}: {error}") from error
    # Of a trial that somebody made without a slot we do not know all that it was trained with.
    different = {point_key(row.params): row for row in reversed(rows) if row.slot is not None}
    if not different:
        raise InputError(
            f"--like {earlier.config.name}: its best trials were all made by other means, outside "
            f"its budget. Expected trials that tuner ran."
        )
    return sorted(different.values(), key=rows.index)[:n]


def _tell(earlier: StoredStudy, rows: Sequence[TrialRow], fitted: Sequence[Fitted]) -> None:
    config = earlier.config
    say(f"Begins with the best of {config.name!r}, by its {config.metric}:")
    for row, trial in zip(rows, fitted, strict=True):
        fate = f", left out: {trial.left_out}" if trial.left_out else ""
        say(f"  trial {row.number} ({number(row.value)}){fate}")
        for misfit in trial.misfits:
            say(f"    {misfit}")
