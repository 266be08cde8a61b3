"""What samplers learn from: a study's trials, read narrowly, and kept once they are done.

Optuna's own reading makes an object of each report, attribute and parameter, also of trials that
run, at every proposal: with many workers that is most of what a trial costs.
"""

import functools
import json
from collections.abc import Iterator
from typing import Any

from optuna.distributions import json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import ColumnElement, Table, and_, func, or_, select
from sqlalchemy.orm import Session

from tuner.config import SAMPLER_NOTES
from tuner.storage.database import Database
from tuner.storage.schema import CONSTRAINT, PARAMS, REPORTS, SYSTEM_ATTRIBUTES, TRIALS, VALUES

#: Trials that drew from the same range share its object.
_distribution = functools.lru_cache(maxsize=1024)(json_to_distribution)


class History:
    """The trials of one study, as far as samplers look at them.

    Each has its number, state, params, distributions, values, constraints and its sampler's notes;
    one that ended early or still runs also its last report.

    Args:
        database: Where the study is.
        study_id: Optuna's id of it.
    """

    def __init__(self, database: Database, study_id: int) -> None:
        self._database = database
        self._study_id = study_id
        self._trials: dict[int, FrozenTrial] = {}

    def read(self) -> list[FrozenTrial]:
        """Read what is new since the last time.

        Returns:
            All trials by number; the same objects each time, which must not be changed.
        """
        running = [
            number for number, trial in self._trials.items() if not trial.state.is_finished()
        ]
        # Trials get their numbers one at a time: none below the highest appears later.
        newest = max(self._trials, default=-1)
        states = select(TRIALS.c.number, TRIALS.c.state).where(
            TRIALS.c.study_id == self._study_id,
            or_(TRIALS.c.number > newest, TRIALS.c.number.in_(running)),
        )
        with self._database.transaction() as session:
            found = session.execute(states.order_by(TRIALS.c.number)).all()
            ended = [number for number, state in found if number <= newest and state.is_finished()]
            if ended or (found and found[-1].number > newest):
                wanted = or_(TRIALS.c.number > newest, TRIALS.c.number.in_(ended))
                self._trials |= _read(session, and_(TRIALS.c.study_id == self._study_id, wanted))
            if any(not trial.state.is_finished() for trial in self._trials.values()):
                runs = TRIALS.c.study_id == self._study_id, TRIALS.c.state == TrialState.RUNNING
                for number, step, value in _last_reports(session, and_(*runs)):
                    if number in self._trials:  # or it began after the others were read
                        self._trials[number].intermediate_values = {step: value}
        return list(self._trials.values())


def _read(session: Session, wanted: ColumnElement[bool]) -> dict[int, FrozenTrial]:
    columns = TRIALS.c.trial_id, TRIALS.c.number, TRIALS.c.state
    rows = session.execute(select(*columns).where(wanted).order_by(TRIALS.c.number)).all()
    trials = {row.trial_id: _empty_trial(row.number, row.state) for row in rows}

    def of(table: Table, *more: ColumnElement[bool]) -> Any:
        joined = select(table).join(TRIALS, TRIALS.c.trial_id == table.c.trial_id)
        for row in session.execute(joined.where(wanted, *more)):
            if row.trial_id in trials:  # or it is newer than all that was asked for above
                yield trials[row.trial_id], row

    for trial, row in of(PARAMS):
        distribution = _distribution(row.distribution_json)
        trial.distributions[row.param_name] = distribution
        trial.params[row.param_name] = distribution.to_external_repr(row.param_value)
    values: dict[int, dict[int, float]] = {}
    for trial, row in of(VALUES):
        value = models.TrialValueModel.stored_repr_to_value(row.value, row.value_type)
        values.setdefault(trial.number, {})[row.objective] = value
        trial.values = [told for _, told in sorted(values[trial.number].items())]
    names = SYSTEM_ATTRIBUTES.c.key
    is_known = or_(*(names.startswith(begin) for begin in (CONSTRAINT, *SAMPLER_NOTES)))
    for trial, row in of(SYSTEM_ATTRIBUTES, is_known):
        trial.system_attrs[row.key] = json.loads(row.value_json)
    by_number = {trial.number: trial for trial in trials.values()}
    pruned = and_(wanted, TRIALS.c.state == TrialState.PRUNED)
    for number, step, told in _last_reports(session, pruned):
        if number in by_number:
            by_number[number].intermediate_values[step] = told
    return by_number


def _last_reports(
    session: Session, wanted: ColumnElement[bool]
) -> Iterator[tuple[int, int, float]]:
    """Read number, step and value of the last report of each trial that has one."""
    later, table = REPORTS.alias(), models.TrialIntermediateValueModel
    last = select(func.max(later.c.step)).where(later.c.trial_id == REPORTS.c.trial_id)
    joined = (
        select(TRIALS.c.number, REPORTS)
        .join(TRIALS, TRIALS.c.trial_id == REPORTS.c.trial_id)
        .where(wanted, REPORTS.c.step == last.scalar_subquery())
    )
    for row in session.execute(joined):
        value = table.stored_repr_to_intermediate_value(
            row.intermediate_value, row.intermediate_value_type
        )
        yield row.number, row.step, value


def _empty_trial(number: int, state: TrialState) -> FrozenTrial:
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=state,
        value=None,
        datetime_start=None,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )
