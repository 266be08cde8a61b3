"""The end of a study of which little more is to be expected; decided in the database, once."""

from dataclasses import dataclass, replace

from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import ColumnElement, and_, case, func, select, update
from sqlalchemy.orm import Session

from tuner.storage.schema import SLOTS, STATES, TRIALS, VALUES
from tuner.storage.values import Standing, StoredStudy
from tuner.storage.violations import is_violated
from tuner.strategy.prospects import FEWEST_TRIALS, MOST_VALUES, expected_gain


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """How a study's trials stand."""

    #: Trials that have ended.
    done: int
    #: Of these, since the study last began to run.
    done_lately: int
    #: Trials that run, or wait to be gone on with.
    begun: int
    #: Trials to come.
    left: int
    #: Of these, what somebody has planned.
    planned: int


def judge(session: Session, study: StoredStudy, standing: Standing) -> Standing:
    """End a study whose free slots are expected to gain less than its ``budget.min_gain``.

    Asked before a new trial begins, so the first who asks after a trial has ended decides. Points
    that were planned are always tried. A study that somebody lets go on is judged again after as
    many trials as a new one.

    Args:
        session: An open transaction.
        study: Which one.
        standing: As it was read in this transaction.

    Returns:
        How it stands now.
    """
    if standing.ended is not None or standing.min_gain is None:
        return standing
    counts = _count(session, study)
    if counts.planned or counts.done_lately < FEWEST_TRIALS:
        return standing
    why = _why_over(session, study, standing.min_gain, counts)
    if not why:
        return standing
    row = session.execute(
        update(STATES)
        .where(*_row_of(study), STATES.c.ended.is_(None))
        .values(ended="gain", message=why)
        .returning(STATES.c.ended)
    ).one_or_none()
    if row is None:  # something else has ended it meanwhile: who takes a slot will see
        return standing
    return replace(standing, ended="gain", message=why)


def still_ended_by_gain(session: Session, study: StoredStudy) -> bool:
    """Say whether a study has ended for this reason and the reason holds; then tell it anew.

    Args:
        session: An open transaction.
        study: With the configuration that is in force now.
    """
    ended = session.scalar(select(STATES.c.ended).where(*_row_of(study)))
    min_gain = study.config.budget.min_gain
    if ended != "gain" or min_gain is None:
        return False
    why = _why_over(session, study, min_gain, _count(session, study))
    if why:
        session.execute(update(STATES).where(*_row_of(study)).values(message=why))
    return bool(why)


def _row_of(study: StoredStudy) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return STATES.c.study_id == study.study_id, STATES.c.key == study.key


def _count(session: Session, study: StoredStudy) -> _Counts:
    is_done = SLOTS.c.state == "done"
    is_left = and_(SLOTS.c.state == "free", SLOTS.c.trial_id.is_(None))
    row = session.execute(
        select(
            func.count(case((is_done, 1))),
            func.count(case((and_(is_done, SLOTS.c.closed_at > STATES.c.resumed_at), 1))),
            func.count(),
            func.count(case((is_left, 1))),
            func.count(case((and_(is_left, SLOTS.c.planned.is_not(None)), 1))),
        )
        .select_from(SLOTS)
        .join(STATES, STATES.c.study_id == SLOTS.c.study_id)
        .where(SLOTS.c.study_id == study.study_id)
    ).one()
    done, lately, all_slots, left, planned = (int(number) for number in row)
    return _Counts(
        done=done, done_lately=lately, begun=all_slots - done - left, left=left, planned=planned
    )


def _why_over(session: Session, study: StoredStudy, min_gain: float, counts: _Counts) -> str:
    """Say why little is to be gained; empty where there may be more, or nobody can tell."""
    config = study.config
    if not counts.left or counts.done < FEWEST_TRIALS:
        return ""
    gain = expected_gain(
        _best_values(session, study),
        n_before=counts.done + counts.begun,
        n_more=counts.left,
    )
    if gain is None or gain >= min_gain:
        return ""
    total = counts.done + counts.begun + counts.left
    raise_or_lower = "raise" if config.direction == "maximize" else "lower"
    running = f" ({counts.begun} more run)" if counts.begun else ""
    is_are = "is" if counts.left == 1 else "are"
    return (
        f"after {counts.done} of {total} trials{running}: another {counts.left} {is_are} expected "
        f"to {raise_or_lower} {config.metric} by {gain:.2g} at most, less than budget.min_gain = "
        f"{min_gain:g}; a smaller one in the study file, or `tuner extend {config.name} "
        f"--trials N`, lets it go on"
    )


def _best_values(session: Session, study: StoredStudy) -> list[float]:
    """Read the best values of complete trials in slots that violate nothing, best first."""
    values = models.TrialValueModel
    order = VALUES.c.value.desc() if study.config.direction == "maximize" else VALUES.c.value.asc()
    statement = (
        select(VALUES.c.value)
        .join(TRIALS, TRIALS.c.trial_id == VALUES.c.trial_id)
        .join(SLOTS, SLOTS.c.trial_id == TRIALS.c.trial_id)
        .where(
            SLOTS.c.study_id == study.study_id,
            TRIALS.c.state == TrialState.COMPLETE,
            VALUES.c.objective == 0,
            VALUES.c.value_type == values.TrialValueType.FINITE,
            ~is_violated(TRIALS.c.trial_id),
        )
        .order_by(order)
        .limit(MOST_VALUES)
    )
    return [float(value) for value in session.scalars(statement)]
