"""How far a study is, from a handful of narrow queries."""

from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import func, select

from tuner.results.rows import best_rows, select_trials, shown_state, trial_row
from tuner.results.values import Progress, State
from tuner.storage import Database, StoredStudy
from tuner.storage.refusals import read_refusals
from tuner.storage.remaining import count_slots
from tuner.storage.schema import SLOTS, STATES

#: Finished trials that the pace is taken from.
PACE_TRIALS = 50


def progress(database: Database, study: StoredStudy) -> Progress:
    """Read how far a study is: a handful of narrow queries, whatever its size."""
    states = (
        select(models.TrialModel.state, SLOTS.c.state.label("slot_state"), func.count().label("n"))
        .join(SLOTS, SLOTS.c.trial_id == models.TrialModel.trial_id)
        .where(SLOTS.c.study_id == study.study_id)
        .group_by(models.TrialModel.state, SLOTS.c.state)
    )
    latest = (
        select(models.TrialModel._datetime_start_utc, models.TrialModel._datetime_complete_utc)
        .join(SLOTS, SLOTS.c.trial_id == models.TrialModel.trial_id)
        .where(SLOTS.c.study_id == study.study_id, SLOTS.c.state == "done")
        .order_by(models.TrialModel._datetime_complete_utc.desc())
        .limit(PACE_TRIALS)
    )
    running = select_trials(study).where(models.TrialModel.state == TrialState.RUNNING)
    standing = select(STATES.c.ended, STATES.c.message, STATES.c.spent_seconds).where(
        STATES.c.study_id == study.study_id
    )
    by_state: dict[State, int] = {}
    several = study.config.metrics is not None
    with database.transaction() as session:
        slots = count_slots(session, study.study_id)
        for found in session.execute(states):
            state = shown_state(found.state, found.slot_state)
            by_state[state] = by_state.get(state, 0) + found.n
        stands = session.execute(standing).one_or_none()
        spans = session.execute(latest).all()
        rows = session.execute(running.order_by(models.TrialModel.number)).all()
        best = best_rows(session, study, None if several else 1)
        refusals = read_refusals(session, study.study_id)
    per_hour = eta = None
    if spans and slots.held:
        seconds = sum((ended - started).total_seconds() for started, ended in spans) / len(spans)
        per_hour = 3600 * slots.held / max(seconds, 1e-3)
        eta = 3600 * (slots.total - slots.done) / per_hour
    return Progress(
        name=study.config.name,
        metric=study.config.metric,
        slots=slots,
        trials=by_state,
        best=best[0] if best else None,
        n_front=len(best) if several else None,
        running=tuple(trial_row(row) for row in rows),
        per_hour=per_hour,
        eta_seconds=eta,
        ended=stands.ended if stands else None,
        message=(stands.message or "") if stands else "",
        hours=study.config.budget.hours,
        spent_hours=stands.spent_seconds / 3600 if stands and study.config.budget.hours else None,
        refusals=refusals,
    )
