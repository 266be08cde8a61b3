"""The storage that optuna-dashboard is given: it reads through us, and writes nothing at all."""

from collections.abc import Container, Sequence
from typing import Any, NoReturn

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import select

from tuner.dashboard.shelf import Shelf, read_studies


class ReadOnlyError(RuntimeError):
    """Something tried to write through the dashboard's storage."""


class TrueStorage(BaseStorage):
    """What is in the database, in the words of optuna-dashboard.

    It shows constraints of Optuna 5, which optuna-dashboard 0.21 does not know, as it knows them,
    and the best trial by tuner's rule. What it gives must not be changed: it is given to others,
    too, so that nobody waits for a copy of ten thousand trials.

    Args:
        shelf: The studies.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    # --- reading ---------------------------------------------------------------------------------

    def get_all_studies(self) -> list[FrozenStudy]:
        """Read all studies, oldest first."""
        with self._shelf.database.transaction() as session:
            return read_studies(session)

    def get_study_id_from_name(self, study_name: str) -> int:
        """Look a study up."""
        study = models.StudyModel
        with self._shelf.database.transaction() as session:
            found = session.scalar(select(study.study_id).where(study.study_name == study_name))
        if found is None:
            raise KeyError(study_name)
        return int(found)

    def get_study_name_from_id(self, study_id: int) -> str:
        """Read a study's name."""
        return self._study(study_id).study_name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Read which way is better."""
        return self._study(study_id).directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Read a study's attributes."""
        return self._study(study_id).user_attrs

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Read what Optuna and the dashboard keep with a study."""
        return self._study(study_id).system_attrs

    def _study(self, study_id: int) -> FrozenStudy:
        with self._shelf.look(study_id) as seen:
            return seen.study

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Read one trial."""
        trial = models.TrialModel
        with self._shelf.database.transaction() as session:
            study_id = session.scalar(select(trial.study_id).where(trial.trial_id == trial_id))
        trials = self.get_all_trials(study_id) if study_id is not None else ()
        for found in trials:
            if found._trial_id == trial_id:
                return found
        raise KeyError(trial_id)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Read a study's trials by number."""
        del deepcopy
        with self._shelf.look(study_id) as seen:
            return [t for t in seen.trials.trials if states is None or t.state in states]

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Choose the best trial of a study with one objective."""
        with self._shelf.look(study_id) as seen:
            if not seen.trials.best:
                raise ValueError("No trials are completed yet.")  # Optuna's own words
            return seen.trials.best[0]

    # --- writing ---------------------------------------------------------------------------------

    def _refuse(self, what: str) -> NoReturn:
        raise ReadOnlyError(f"{what}: the dashboard only reads; changes go through tuner.")

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """Refuse."""
        self._refuse(f"creating study {study_name!r} ({directions})")

    def delete_study(self, study_id: int) -> None:
        """Refuse."""
        self._refuse(f"deleting study {study_id}")

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Refuse."""
        self._refuse(f"attribute {key!r} of study {study_id}: {value!r}")

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Refuse."""
        self._refuse(f"attribute {key!r} of study {study_id}: {value!r}")

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Refuse."""
        self._refuse(f"a new trial of study {study_id} ({template_trial})")

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Refuse."""
        self._refuse(f"{param_name} = {param_value_internal} ({distribution}) of {trial_id}")

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Refuse."""
        self._refuse(f"ending trial {trial_id} as {state} with {values}")

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Refuse."""
        self._refuse(f"a report of trial {trial_id} at {step}: {intermediate_value}")

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Refuse."""
        self._refuse(f"attribute {key!r} of trial {trial_id}: {value!r}")

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Refuse."""
        self._refuse(f"attribute {key!r} of trial {trial_id}: {value!r}")
