"""The trials of one study as optuna-dashboard wants them, kept, and renewed by what changed.

Optuna's own reading takes seconds for thousands of trials, at every look; here a look at a study
reads the trials that were not finished at the last one, and those that are new.
"""

import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Column, ColumnElement, Row, Table, or_, select
from sqlalchemy.orm import Session

from tuner.metrics import Direction
from tuner.results.front import pareto_front
from tuner.storage.budget import SUPERSEDED
from tuner.storage.schema import (
    CONSTRAINT,
    EVALUATIONS,
    PARAMS,
    REPORTS,
    STATES,
    STUDIES,
    SYSTEM_ATTRIBUTES,
    TRIALS,
    USER_ATTRIBUTES,
    VALUES,
)

#: How optuna-dashboard knows constraints, and Optuna 4 wrote them: one list.
CONSTRAINTS = "constraints"
#: Ids in one statement; databases take only so many.
_MANY = 5000


class StudyTrials:
    """The trials of one study.

    Args:
        study_id: Optuna's id of it.
    """

    def __init__(self, study_id: int) -> None:
        self._study_id = study_id
        self._limits: Collection[str] = ()
        self._reports = REPORTS
        self._distributions: dict[str, BaseDistribution] = {}
        #: Tells this study from another one with its id: SQLite gives those of deleted ones anew.
        self.identity: object = None
        self._forget()

    def _forget(self) -> None:
        #: All trials by number; finished ones are the same objects each time.
        self.trials: list[FrozenTrial] = []
        #: The best of them: one, or with several objectives those that none outdoes.
        self.best: list[FrozenTrial] = []
        self._places: dict[int, int] = {}
        self._open: dict[int, int] = {}  # number to id
        self._failed: dict[int, int] = {}  # number to id, of those not superseded
        self._finished: Counter[TrialState] = Counter()

    @property
    def counts(self) -> Counter[TrialState]:
        """How many trials are in each state."""
        return self._finished + Counter(self.trials[self._places[n]].state for n in self._open)

    def renew(
        self, session: Session, directions: Sequence[StudyDirection], limits: Collection[str] = ()
    ) -> bool:
        """Read what changed since the last time; what is finished is looked at once.

        Args:
            session: An open transaction.
            directions: Which way is better, for each objective.
            limits: Constraints by which a complete trial has to tell that it keeps to them.

        Returns:
            Whether the study is there.
        """
        self._limits = limits
        # Optuna's table has no reports of trials with several objectives.
        self._reports = REPORTS if len(directions) < 2 else EVALUATIONS
        identity = self._read_identity(session)
        if identity != self.identity:
            self.identity = identity
            self._forget()
        if identity is None:
            return False
        completed = []
        for trial in self._read(session, self._read_changed(session)):
            is_new = trial.number in self._open or trial.number not in self._places
            self._place(trial)
            if is_new and trial.state == TrialState.COMPLETE:
                completed.append(trial)
        if completed:
            # What was outdone once stays so.
            self.best = best_trials([*self.best, *completed], directions)
        return True

    def _place(self, trial: FrozenTrial) -> None:
        known = trial.number in self._places and trial.number not in self._open
        place = self._places.setdefault(trial.number, len(self.trials))
        self.trials[place : place + 1] = [trial]
        if not trial.state.is_finished():
            self._open[trial.number] = trial._trial_id
            return
        self._open.pop(trial.number, None)
        self._finished[trial.state] += not known
        if trial.state == TrialState.FAIL and SUPERSEDED not in trial.user_attrs:
            self._failed[trial.number] = trial._trial_id
        else:
            self._failed.pop(trial.number, None)

    def _read_identity(self, session: Session) -> object:
        """Read whose key and first trial it has; None where there is no study."""
        named = (
            select(STUDIES.c.study_id, STATES.c.key)
            .join(STATES, STATES.c.study_id == STUDIES.c.study_id, isouter=True)
            .where(STUDIES.c.study_id == self._study_id)
        )
        row = session.execute(named).one_or_none()
        if row is None:
            return None
        trials = select(TRIALS.c.trial_id, TRIALS.c.datetime_start)
        mine = trials.where(TRIALS.c.study_id == self._study_id)
        first = session.execute(mine.order_by(TRIALS.c.trial_id).limit(1)).one_or_none()
        return (row.key, *(first or ()))

    def _read_changed(self, session: Session) -> Sequence[Row[Any]]:
        """Read which trials are new, were not finished, or were given another go since."""
        mine = TRIALS.c.study_id == self._study_id
        known = [trial._trial_id for trial in self.trials[-1:]]
        # Ids rise with the numbers, and have an index.
        new = select(TRIALS).where(mine, TRIALS.c.trial_id > max(known, default=-1))
        rows = list(session.execute(new.order_by(TRIALS.c.number)))
        again = list(self._open.values())
        for some in _portions(self._failed.values()):
            # Of a finished trial nothing else changes.
            marked = USER_ATTRIBUTES.c.trial_id.in_(some), USER_ATTRIBUTES.c.key == SUPERSEDED
            again += session.scalars(select(USER_ATTRIBUTES.c.trial_id).where(*marked))
        for some in _portions(again):
            rows += session.execute(select(TRIALS).where(TRIALS.c.trial_id.in_(some)))
        return rows

    def _read(self, session: Session, rows: Sequence[Row[Any]]) -> list[FrozenTrial]:
        # What is finished in the rows was committed whole: what follows is all of it.
        parts = {row.trial_id: _Parts() for row in rows}
        if 0 < len(rows) < _MANY:
            self._fill(session, lambda owner: owner.in_(parts), parts)
        elif rows:
            mine = select(TRIALS.c.trial_id).where(TRIALS.c.study_id == self._study_id)
            self._fill(session, lambda owner: owner.in_(mine), parts)
        for row in rows:
            if row.state == TrialState.COMPLETE:
                parts[row.trial_id].doubt(self._limits)
        return [_trial(row, parts[row.trial_id]) for row in rows]

    def _fill(
        self,
        session: Session,
        is_wanted: Callable[[Column[Any]], ColumnElement[bool]],
        parts: dict[int, "_Parts"],
    ) -> None:
        def of(table: Table, *names: str, where: ColumnElement[bool] | None = None) -> Any:
            columns = (table.c[name] for name in ("trial_id", *names))
            conditions = (is_wanted(table.c.trial_id), *(() if where is None else (where,)))
            statement = select(*columns).where(*conditions)
            for trial_id, *cells in session.execute(statement.order_by(*table.primary_key)):
                if trial_id in parts:  # or it is newer than all that was asked for
                    yield parts[trial_id], *cells

        for part, name, value, text in of(PARAMS, "param_name", "param_value", "distribution_json"):
            distribution = self._distributions.get(text)
            if distribution is None:
                distribution = self._distributions[text] = json_to_distribution(text)
            part.distributions[name] = distribution
            part.params[name] = distribution.to_external_repr(value)
        to_value = models.TrialValueModel.stored_repr_to_value
        for part, objective, value, kind in of(VALUES, "objective", "value", "value_type"):
            part.values[objective] = to_value(value, kind)
        to_report = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
        for part, step, value, kind in of(
            self._reports, "step", "intermediate_value", "intermediate_value_type"
        ):
            part.reports[step] = to_report(value, kind)
        for part, key, text in of(USER_ATTRIBUTES, "key", "value_json"):
            part.user_attrs[key] = json.loads(text)
        # The others are samplers' own notes, some of them large, of which nothing is shown.
        shown = or_(
            SYSTEM_ATTRIBUTES.c.key == "fixed_params",
            SYSTEM_ATTRIBUTES.c.key.startswith(CONSTRAINTS),
            SYSTEM_ATTRIBUTES.c.key.startswith("artifacts:"),
        )
        for part, key, text in of(SYSTEM_ATTRIBUTES, "key", "value_json", where=shown):
            if key.startswith(CONSTRAINT):
                part.constraints.append(_finite(json.loads(text)))
                part.told.add(key.removeprefix(CONSTRAINT))
            elif key == CONSTRAINTS:
                part.constraints.extend(map(_finite, json.loads(text) or ()))
            else:
                part.system_attrs[key] = json.loads(text)


def _portions(ids: Iterable[int]) -> Iterator[list[int]]:
    rest = list(ids)
    while rest:
        yield rest[:_MANY]
        del rest[:_MANY]


class _Parts:
    """What belongs to one trial, as it is read."""

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        self.distributions: dict[str, BaseDistribution] = {}
        self.values: dict[int, float] = {}
        self.reports: dict[int, float] = {}
        self.user_attrs: dict[str, Any] = {}
        self.system_attrs: dict[str, Any] = {}
        self.constraints: list[float] = []
        self.told: set[str] = set()

    def doubt(self, limits: Collection[str]) -> None:
        """Let a trial violate each limit of which it tells nothing, as `tuner best` does."""
        self.constraints += [_finite(math.inf) for name in limits if name not in self.told]


def _trial(row: Row[Any], parts: _Parts) -> FrozenTrial:
    system_attrs = parts.system_attrs
    if parts.constraints:
        system_attrs = system_attrs | {CONSTRAINTS: parts.constraints}
    return FrozenTrial(
        number=row.number,
        trial_id=row.trial_id,
        state=row.state,
        value=None,
        values=[value for _, value in sorted(parts.values.items())] or None,
        datetime_start=_local(row.datetime_start),
        datetime_complete=_local(row.datetime_complete),
        params=parts.params,
        distributions=parts.distributions,
        user_attrs=parts.user_attrs,
        system_attrs=system_attrs,
        intermediate_values=parts.reports,
    )


def _local(stored: datetime | None) -> datetime | None:
    """Give the naive local time that Optuna's plots count with; the database has UTC."""
    return stored.replace(tzinfo=UTC).astimezone().replace(tzinfo=None) if stored else None


def _finite(constraint: float) -> float:
    """Give what JSON can say: a browser reads nothing of a study with Infinity in it."""
    largest = sys.float_info.max
    return largest if math.isnan(constraint) else max(-largest, min(largest, constraint))


def is_feasible(trial: FrozenTrial) -> bool:
    """Say whether a trial violates no constraint."""
    return all(excess <= 0 for excess in trial.system_attrs.get(CONSTRAINTS, ()))


def _can_be_best(trial: FrozenTrial) -> bool:
    is_complete = trial.state == TrialState.COMPLETE
    return is_complete and is_feasible(trial) and all(map(math.isfinite, trial.values))


def best_trials(
    trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]
) -> list[FrozenTrial]:
    """Choose the best as `tuner best` does: complete, finite, feasible, of equals the earlier.

    Returns:
        One trial, or none; with several objectives all that no feasible one outdoes.
    """
    usable = sorted(filter(_can_be_best, trials), key=lambda trial: trial.number)
    better: list[Direction] = [
        "maximize" if each == StudyDirection.MAXIMIZE else "minimize" for each in directions
    ]
    front = pareto_front([trial.values for trial in usable], better)
    return [usable[place] for place in (front if len(better) > 1 else front[:1])]
