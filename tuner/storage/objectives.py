"""The values of a trial's objectives: what was trained, and what its hyperparameters tell."""

from collections.abc import Mapping

from optuna.trial import TrialState

from tuner.domain import Scalar
from tuner.errors import TrainerError
from tuner.sizes import SIZES
from tuner.storage.values import Ending, StoredStudy


def sizes_judged(study: StoredStudy, params: Mapping[str, Scalar]) -> dict[str, int]:
    """Compute those of a trial's further objectives that are sizes of its model.

    Args:
        study: The study.
        params: All hyperparameters of the trial.
    """
    names = [name for name in study.config.objectives[1:] if name in SIZES]
    if not names or study.shape is None:
        return {}
    complete = study.config.space.complete(params)
    return {name: SIZES[name](complete, study.shape) for name in names}


def objective_values(
    study: StoredStudy, params: Mapping[str, Scalar], ending: Ending
) -> tuple[float, ...]:
    """Give the values of a trial that ends.

    Args:
        study: The study.
        params: All hyperparameters of the trial.
        ending: How it ends.

    Returns:
        One value an objective; none of a trial without any. Of one that ended early only the first
        where others would have had to be trained.

    Raises:
        TrainerError: The objective gave another number of values.
    """
    if ending.value is None:
        return ()
    n_further = len(study.config.objectives) - 1
    further = tuple(ending.further)
    if not further and len(sizes := sizes_judged(study, params)) == n_further:
        further = tuple(map(float, sizes.values()))
    if ending.state == TrialState.COMPLETE and len(further) != n_further:
        raise TrainerError(
            f"The objective gave {1 + len(further)} values. Expected {1 + n_further}: "
            f"{', '.join(study.config.objectives)}."
        )
    return ending.value, *further
