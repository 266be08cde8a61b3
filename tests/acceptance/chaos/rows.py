"""A finished study as plain SQL sees it: slots, trials, values, reports, attributes."""

import json
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, text


@dataclass(kw_only=True)
class TrialRow:
    """One trial."""

    #: Optuna's id.
    trial_id: int
    #: Its place in the study.
    number: int
    #: RUNNING, COMPLETE, PRUNED, FAIL or WAITING.
    state: str
    #: Its objective values.
    values: list[float] = field(default_factory=list)
    #: Step and value of each report, in the order in which they were written.
    reports: list[tuple[int, float]] = field(default_factory=list)
    #: Optuna's form of each tuned parameter.
    params: dict[str, float] = field(default_factory=dict)
    #: Why it ended.
    reason: str | None = None
    #: The worker that ended it.
    worker: str | None = None


@dataclass(frozen=True, kw_only=True)
class SlotRow:
    """One slot."""

    #: Its place in the budget.
    slot: int
    #: free, held or done.
    state: str
    #: Its trial.
    trial_id: int | None
    #: Who has it, or had it last.
    worker: str | None
    #: All hyperparameters.
    params: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class StudyRows:
    """A whole study."""

    #: In order.
    slots: list[SlotRow]
    #: By id.
    trials: dict[int, TrialRow]

    def params_of(self, trial: TrialRow) -> dict[str, Any]:
        """Give all hyperparameters of a trial; none where no slot has it."""
        return next((s.params for s in self.slots if s.trial_id == trial.trial_id), {})


def read_rows(engine: Engine, study_id: int) -> StudyRows:
    """Read a whole study."""
    of_study = "FROM {} x JOIN trials t ON t.trial_id = x.trial_id WHERE t.study_id = :study"
    with engine.connect() as connection:

        def rows(columns: str, source: str, order: str) -> list[Any]:
            statement = f"SELECT {columns} {source} ORDER BY {order}"
            return list(connection.execute(text(statement), {"study": study_id}).all())

        slots = [
            SlotRow(
                slot=row.slot,
                state=row.state,
                trial_id=row.trial_id,
                worker=row.worker,
                params=json.loads(row.params or "{}"),
            )
            for row in rows(
                "slot, state, trial_id, worker, params",
                "FROM tuner_slots WHERE study_id = :study",
                "slot",
            )
        ]
        trials = {
            row.trial_id: TrialRow(trial_id=row.trial_id, number=row.number, state=row.state)
            for row in rows(
                "trial_id, number, state", "FROM trials WHERE study_id = :study", "trial_id"
            )
        }
        for row in rows("x.trial_id, x.value", of_study.format("trial_values"), "1"):
            trials[row.trial_id].values.append(row.value)
        for row in rows(
            "x.trial_id, x.step, x.intermediate_value AS value",
            of_study.format("trial_intermediate_values"),
            "x.trial_intermediate_value_id",
        ):
            trials[row.trial_id].reports.append((row.step, row.value))
        for row in rows(
            "x.trial_id, x.param_name, x.param_value", of_study.format("trial_params"), "1"
        ):
            trials[row.trial_id].params[row.param_name] = row.param_value
        for row in rows(
            "x.trial_id, x.key, x.value_json",
            of_study.format("trial_user_attributes") + " AND x.key IN ('reason', 'worker')",
            "1",
        ):
            setattr(trials[row.trial_id], row.key, json.loads(row.value_json))
    return StudyRows(slots=slots, trials=trials)
