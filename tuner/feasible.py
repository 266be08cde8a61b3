"""Which points of a study keep to its limits, and what is said of those that do not."""

from collections.abc import Mapping

from tuner.config import StudyConfig
from tuner.domain import Scalar
from tuner.sizes import SIZING, Shape


def count_points(config: StudyConfig, shape: Shape | None) -> int | None:
    """Count the points that keep to the limits; None where no number ends the study.

    Args:
        config: The study.
        shape: Of the data; None for a study without limits.
    """
    size = config.n_points
    if size is None or not config.constraints:
        return size
    return sum(1 for point in config.space.points() if not beyond_limits(config, shape, point))


def count_trials(config: StudyConfig, shape: Shape | None) -> int:
    """Count the trials that can be run: the budget, or the points that are fewer.

    Args:
        config: The study.
        shape: Of the data; None for a study without limits.
    """
    n_points = count_points(config, shape)
    return config.budget.trials if n_points is None else min(config.budget.trials, n_points)


def beyond_limits(config: StudyConfig, shape: Shape | None, point: Mapping[str, Scalar]) -> str:
    """Say which limits a point exceeds; nothing where it keeps to all.

    Args:
        config: The study.
        shape: Of the data; None where it is not known: then nothing is.
        point: Values of tuned parameters. One that leaves out some is judged only where they
            change no size.
    """
    if not config.constraints or shape is None:
        return ""
    filled = config.space.filled(point)
    if (config.space.tuned(filled).keys() - point.keys()) & SIZING:
        return ""
    return config.limits(shape).describe(config.space.complete(filled))


def words_of_none(config: StudyConfig) -> str:
    """Say that no point keeps to the limits, and what to do."""
    limits = ", ".join(f"{name} = {limit:,}" for name, limit in config.constraints.items())
    return (
        f"no point of the space keeps to {limits}. Expected limits that some do: raise them, or "
        f"let the space have smaller models ({', '.join(sorted(SIZING))})."
    )


def notes_on(config: StudyConfig, shape: Shape | None) -> tuple[str, ...]:
    """Say what a person should know before the study runs.

    Args:
        config: The study.
        shape: Of the data; None for a study without limits.
    """
    if not config.constraints:
        return config.notes()
    notes = []
    size, n_points = config.space.size(), count_points(config, shape)
    if size is not None and n_points is not None and n_points < size:
        notes.append(
            f"{n_points} of the space's {size} points keep to the limits; the others are not tried."
        )
    if n_points is not None and n_points < config.budget.trials:
        notes.append(
            f"budget.trials is {config.budget.trials}: the study ends after {n_points} "
            f"{'trial' if n_points == 1 else 'trials'}, each point once."
        )
    if config.sampler.learns:
        excess = beyond_limits(config, shape, config.space.default_point())
        if excess:
            notes.append(
                f"The default point is beyond the limits: {excess}. The sampler proposes the first "
                f"trial, too."
            )
    return (*notes, *config.notes_on_pruning())
