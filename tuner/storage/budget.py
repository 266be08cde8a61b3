"""Changing what a stored study spends: more trials, an early end, another go for failed ones."""

import json
from collections.abc import Mapping
from dataclasses import replace

from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tuner.config import MOST_TRIALS
from tuner.domain import Scalar
from tuner.errors import InputError
from tuner.feasible import count_points
from tuner.storage.attributes import remove_note
from tuner.storage.configuration import (
    Version,
    lock_study,
    n_slots,
    newest_version,
    room,
    store_version,
)
from tuner.storage.confirming import CONFIRMED
from tuner.storage.database import Database
from tuner.storage.schema import SLOTS
from tuner.storage.states import end_study, let_go_on
from tuner.storage.trial_rows import put_attribute
from tuner.storage.values import StoredStudy

#: User attribute of a failed trial whose slot another trial has got.
SUPERSEDED = "superseded"


def extend_study(database: Database, study: StoredStudy, n_trials: int) -> StoredStudy:
    """Give a study more trials; one that was stopped, or had little more to gain, goes on.

    Args:
        database: Where it is.
        study: Which one.
        n_trials: How many more.

    Returns:
        The study with its new budget.

    Raises:
        InputError: A finite space has not so many points left, or the study confirms another one.
        StudyNotFoundError: The study was deleted.
    """
    if (confirms := study.config.confirms) is not None:
        raise InputError(
            f"Study {study.config.name!r} confirms {confirms.study!r} by a set number of "
            f"trainings. For more of them, drop it with `tuner delete {study.config.name}` and "
            f"run `tuner confirm {confirms.study} --seeds N`."
        )
    with database.transaction() as session:
        lock_study(session, study)
        newest = newest_version(session, study.study_id)
        config, there = newest.config, n_slots(session, study.study_id)
        if there + n_trials > MOST_TRIALS:
            raise InputError(
                f"--trials {n_trials}: study {config.name!r} has {there:,} trials, and "
                f"{MOST_TRIALS:,} are the most. Give {MOST_TRIALS - there:,} or fewer."
            )
        left = room(session, study.study_id, config, study.shape)
        if left is not None and n_trials > left:
            size = count_points(config, study.shape)
            raise InputError(
                f"Study {config.name!r} cannot get {n_trials} more "
                f"{'trial' if n_trials == 1 else 'trials'}: its space has {size} points"
                f"{' within its limits' if config.constraints else ''}, each is tried once, and "
                f"{left or 'none'} of them {'is' if left == 1 else 'are'} left. "
                + (
                    f"Extend it by at most {left}."
                    if left
                    else "Start another study with a wider space."
                )
            )
        budget = config.budget.model_copy(update={"trials": there + n_trials})
        grown = replace(study, config=config.model_copy(update={"budget": budget}))
        version = Version(number=newest.number + 1, config=grown.config)
        store_version(session, study.study_id, version)
        let_go_on(session, grown, {"stopped", "gain"})
    return grown


def stop_study(database: Database, study: StoredStudy) -> None:
    """Let the trials that run be the study's last; what ended it first, stays."""
    name = study.config.name
    end_study(
        database,
        study,
        reason="stopped",
        message=f"stopped by `tuner stop`; `tuner run FILE` or `tuner extend {name} --trials N` "
        f"lets it go on",
    )


def retry_failed(database: Database, study: StoredStudy) -> int:
    """Open the slots of failed trials again, for new trials with the same values.

    The failed trials stay, marked as superseded. A study that ended by a bug goes on. Of a study
    that confirms, those by which the winner was chosen stay as they are from then on, and a result
    counts no more to which trials come.

    Args:
        database: Where it is.
        study: Which one.

    Returns:
        How many slots.

    Raises:
        StudyNotFoundError: The study was deleted.
    """
    trials = models.TrialModel
    failed = (
        select(SLOTS.c.slot, SLOTS.c.trial_id, SLOTS.c.params)
        .join(trials, trials.trial_id == SLOTS.c.trial_id)
        .where(
            SLOTS.c.study_id == study.study_id,
            # A trial that nobody was at is failed from a dashboard before its slot is done.
            SLOTS.c.state != "held",
            trials.state == TrialState.FAIL,
        )
    )
    with database.transaction() as session:
        lock_study(session, study)
        confirms = newest_version(session, study.study_id).config.confirms
        first = confirms.n_first if confirms is not None and confirms.rehearsals else 0
        rows = session.execute(failed.where(SLOTS.c.slot >= first)).all()
        n_opened = sum(
            _open_again(session, study, slot, trial_id, json.loads(params))
            for slot, trial_id, params in rows
        )
        if n_opened:
            remove_note(session, study.study_id, CONFIRMED)
        let_go_on(session, study, {"bug"})
    return n_opened


def _open_again(
    session: Session, study: StoredStudy, slot: int, trial_id: int, params: Mapping[str, Scalar]
) -> bool:
    """Free the slot of a failed trial; say whether it was still as we saw it."""
    drawn = models.TrialParamModel
    names = session.scalars(select(drawn.param_name).where(drawn.trial_id == trial_id))
    opened = session.execute(
        update(SLOTS)
        .where(
            SLOTS.c.study_id == study.study_id,
            SLOTS.c.slot == slot,
            SLOTS.c.trial_id == trial_id,
            SLOTS.c.state != "held",
        )
        .values(
            state="free",
            trial_id=None,
            planned=json.dumps({name: params[name] for name in names}),
            origin="retried",
            params=None,
            token=None,
            worker=None,
            machine=None,
            pid=None,
            pid_started=None,
            attempts=0,
            micro_batches=1,
            expires_at=0.0,
            closed_at=None,
        )
        .returning(SLOTS.c.slot)
    ).one_or_none()
    if opened is None:
        return False
    # Finished trials cannot be changed through Optuna.
    put_attribute(session, trial_id, SUPERSEDED, True)
    return True
