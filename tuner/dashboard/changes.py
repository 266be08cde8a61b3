"""What an operator may change, so that nothing breaks that the database promises."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import TrialState
from optuna_dashboard._note import (
    get_note_from_system_attrs,
    save_note_with_version,
    version_is_incremented,
)
from sqlalchemy import select

from tuner.bucket import Bucket
from tuner.errors import StudyNotFoundError
from tuner.metrics import METRICS
from tuner.mirror import open_store
from tuner.sizes import SIZES
from tuner.storage import Database, delete_study, find_study, study_names
from tuner.storage.budget import SUPERSEDED
from tuner.storage.trouble import translated

#: What workers and objectives write with a trial: nobody else writes under these names, not even
#: before them.
RESERVED = frozenset(
    {
        *("host", "pid", "worker", "device", "threads", "versions", "seconds"),
        "peak_memory_mb",
        "cudnn",
        *("reason", "traceback", "failed_at", SUPERSEDED),
        *("n_parameters", "training_seconds", "micro_batches", "resumed_epochs", "best_epoch"),
        *METRICS,
        *SIZES,
    }
)


class RefusedError(Exception):
    """A change that is not made.

    Args:
        status: HTTP's number.
        why: For people.
        more: What the dashboard's script also wants to know.
    """

    def __init__(self, status: int, why: str, **more: Any) -> None:
        super().__init__(why)
        self.status = status
        self.more = more


class Changes:
    """Makes changes.

    Args:
        database: Where the studies are.
        artifacts: Where checkpoints lie; None for nowhere.
    """

    def __init__(self, database: Database, artifacts: Path | Bucket | None) -> None:
        self._database = database
        self._artifacts = artifacts

    def delete_study(self, study_id: int) -> None:
        """Remove a study with all that belongs to it."""
        study = models.StudyModel
        with self._database.transaction() as session:
            name = session.scalar(select(study.study_name).where(study.study_id == study_id))
        if name is None:
            raise _no_study(study_id)
        if name not in study_names(self._database):
            with self._optuna() as storage:
                storage.delete_study(study_id)
            return
        try:
            # Optuna's own deletion does nothing, without a word, where a worker reports meanwhile.
            stored = find_study(self._database, name)
            if stored.study_id != study_id:
                raise _no_study(study_id)
            checkpoints = open_store(self._artifacts, stored.key) if self._artifacts else None
            delete_study(self._database, stored)
        except StudyNotFoundError as error:
            raise _no_study(study_id) from error
        if checkpoints is not None:
            checkpoints.remove()

    def fail_trial(self, trial_id: int, asked: Mapping[str, Any]) -> None:
        """End a trial that runs as failed; as nothing else."""
        if str(asked.get("state", "")).lower() != "fail":
            raise RefusedError(403, "Only a worker completes a trial: its value has to be trained.")
        with self._optuna() as storage:
            storage.set_trial_state_values(trial_id, TrialState.FAIL)

    def add_attributes(self, trial_id: int, asked: Mapping[str, Any]) -> None:
        """Add attributes to a trial that runs, none of which is tuner's or is there already."""
        wanted = asked.get("user_attrs")
        if not isinstance(wanted, dict) or not wanted:
            raise RefusedError(400, "user_attrs: expected names and values.")
        with self._optuna() as storage:
            taken = sorted(
                wanted.keys() & (RESERVED | storage.get_trial_user_attrs(trial_id).keys())
            )
            if taken:
                raise RefusedError(403, f"user_attrs: taken already: {', '.join(taken)}.")
            for key, value in wanted.items():
                storage.set_trial_user_attr(trial_id, key, value)

    def write_trial_note(self, study_id: int, trial_id: int, asked: Mapping[str, Any]) -> None:
        """Write the note of a trial, unless somebody else has just done so."""
        version, body = asked.get("version"), asked.get("body")
        if not isinstance(version, int) or not isinstance(body, str):
            raise RefusedError(400, "Expected version (a number) and body (a text).")
        trial = models.TrialModel
        owner = select(trial.study_id).where(trial.trial_id == trial_id)
        with self._database.transaction() as session:
            if session.scalar(owner) != study_id:
                raise RefusedError(404, f"Study {study_id} has no trial with the id {trial_id}.")
        with self._optuna() as storage:
            attributes = storage.get_study_system_attrs(study_id)
            if not version_is_incremented(attributes, trial_id, version):
                raise RefusedError(
                    409,
                    "Somebody else has changed the note. Copy your words and load the page anew.",
                    note=get_note_from_system_attrs(attributes, trial_id),
                )
            save_note_with_version(storage, study_id, trial_id, version, body)

    @contextmanager
    def _optuna(self) -> Iterator[RDBStorage]:
        """Give Optuna's storage, whose errors become ours."""
        storage = self._database.storage
        try:
            with translated(self._database.name):
                yield storage
        except KeyError as error:
            raise RefusedError(404, "That is not in the database any more.") from error
        except UpdateFinishedTrialError as error:
            raise RefusedError(409, "The trial is finished: nothing of it changes.") from error
        finally:
            storage.remove_session()  # it keeps a connection for each thread


def _no_study(study_id: int) -> RefusedError:
    return RefusedError(404, f"There is no study with the id {study_id} any more.")
