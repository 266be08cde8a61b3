"""A made-up study of any size, written into a database in bulk, for tests of what reads it."""

import argparse
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import insert, update

from tuner.domain import Scalar
from tuner.metrics import STEPS_PER_EPOCH
from tuner.storage import Database, StoredStudy, create_study
from tuner.storage.schema import SLOTS
from tuner.strategy import propose
from tuner.study_file import load_study_file

STUDY_FILE = Path("studies/imdb.toml")
#: Seconds from one trial's begin to the next one's of the same worker, and of a trial.
TRIAL_EVERY, TRIAL_SECONDS = 30, 25
#: How many workers it pretends to have had.
N_WORKERS = 8
#: Tables that are filled, in the order in which rows refer to each other.
_MODELS = (
    models.TrialModel,
    models.TrialParamModel,
    models.TrialValueModel,
    models.TrialIntermediateValueModel,
    models.TrialUserAttributeModel,
    models.TrialSystemAttributeModel,
)
_Rows = dict[type[Any], list[dict[str, Any]]]


def fill(
    database: Database, *, n_trials: int, n_reports: int = 10, n_running: int = 4, name: str = "big"
) -> StoredStudy:
    """Store a study whose trials are done, but for a few that run.

    Two in five of them were pruned and one in fifty failed; ``learning_rate`` decides about the
    value, ``units`` a little, everything else is noise.

    Args:
        database: Where to.
        n_trials: The budget.
        n_reports: Reports of a complete trial; a pruned one has a third of them.
        n_running: How many of the trials are still running.
        name: Of the study.
    """
    settings = (
        *(f"name={name}", f"budget.trials={n_trials}", f"budget.epochs={n_reports}"),
        "sampler.name=random",
    )
    study = create_study(database, load_study_file(STUDY_FILE, settings)[0]).study
    generator = np.random.default_rng(0)
    # Not inside the transaction: a server ends one in which nothing happens for long.
    points = [
        propose(list, study.config, slot=number, planned={}, taken=()) for number in range(n_trials)
    ]
    rows: _Rows = {model: [] for model in _MODELS}
    slots: list[dict[str, Any]] = []
    begin = datetime.now(UTC) - timedelta(seconds=TRIAL_EVERY * n_trials // N_WORKERS)
    with database.transaction() as session:
        newest = sqlalchemy.select(sqlalchemy.func.max(models.TrialModel.trial_id))
        first = (session.scalar(newest) or 0) + 1
        for number, (trial, given) in enumerate(points):
            params = given.model_dump()
            state = _state(number, n_trials - n_running, generator)
            worker = f"gpu{number % N_WORKERS}:{4000 + number % N_WORKERS}"
            began = begin + timedelta(seconds=TRIAL_EVERY * (number // N_WORKERS))
            closed = (
                began + timedelta(seconds=TRIAL_SECONDS) if state != TrialState.RUNNING else None
            )
            _add_trial(rows, study, first + number, number, trial, state, began, closed)
            _add_facts(rows, first + number, state, worker)
            _add_curve(rows, first + number, state, _quality(params, generator), n_reports)
            slots.append(
                {
                    "b_study": study.study_id,
                    "b_slot": number,
                    "state": "done" if closed else "held",
                    "trial_id": first + number,
                    "params": json.dumps(params),
                    "token": int(generator.integers(1, 2**62)),
                    "worker": worker,
                    "closed_at": closed.timestamp() if closed else None,
                    "expires_at": (closed or datetime.now(UTC)).timestamp() + 60,
                }
            )
        for model in _MODELS:
            if rows[model]:
                session.execute(insert(model), rows[model])
        _skip_used_ids(session)
        session.connection().execute(
            update(SLOTS).where(
                SLOTS.c.study_id == sqlalchemy.bindparam("b_study"),
                SLOTS.c.slot == sqlalchemy.bindparam("b_slot"),
            ),
            slots,
        )
    return study


def _state(number: int, n_done: int, generator: np.random.Generator) -> TrialState:
    if number >= n_done:
        return TrialState.RUNNING
    states = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    return states[int(generator.choice(3, p=[0.58, 0.40, 0.02]))]


def _quality(params: Mapping[str, Scalar], generator: np.random.Generator) -> float:
    off = math.log10(float(params["learning_rate"])) + 2.5
    return 0.9 - 0.25 * off**2 + 0.0001 * float(params["units"]) + 0.005 * generator.normal()


def _add_trial(
    rows: _Rows,
    study: StoredStudy,
    trial_id: int,
    number: int,
    drawn: FrozenTrial,
    state: TrialState,
    began: datetime,
    closed: datetime | None,
) -> None:
    rows[models.TrialModel].append(
        {
            "trial_id": trial_id,
            "study_id": study.study_id,
            "number": number,
            "state": state,
            "_datetime_start_utc": began.replace(tzinfo=None),
            "_datetime_complete_utc": closed.replace(tzinfo=None) if closed else None,
        }
    )
    rows[models.TrialParamModel].extend(
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": drawn.distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(drawn.distributions[name]),
        }
        for name, value in drawn.params.items()
    )


def _add_facts(rows: _Rows, trial_id: int, state: TrialState, worker: str) -> None:
    host, _, pid = worker.partition(":")
    facts: dict[str, Any] = {"host": host, "pid": int(pid), "device": "GPU:0", "threads": 4}
    if state == TrialState.FAIL:
        facts["reason"] = "the trainer died: signal 9 (killed)"
    if state == TrialState.PRUNED:
        facts["reason"] = "among the worse two thirds after epoch 3"
    rows[models.TrialUserAttributeModel].extend(
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(fact)}
        for key, fact in facts.items()
    )


def _add_curve(
    rows: _Rows, trial_id: int, state: TrialState, quality: float, n_reports: int
) -> None:
    n_told = n_reports if state == TrialState.COMPLETE else max(1, n_reports // 3)
    values = [quality - 0.3 * math.exp(-epoch) for epoch in range(1, n_told + 1)]
    rows[models.TrialIntermediateValueModel].extend(
        {
            "trial_id": trial_id,
            "step": STEPS_PER_EPOCH * epoch,
            "intermediate_value": value,
            "intermediate_value_type": "FINITE",
        }
        for epoch, value in enumerate(values, start=1)
    )
    if state in {TrialState.COMPLETE, TrialState.PRUNED}:
        rows[models.TrialValueModel].append(
            {"trial_id": trial_id, "objective": 0, "value": values[-1], "value_type": "FINITE"}
        )


def _skip_used_ids(session: Any) -> None:
    """Let the next trial of somebody else get an id that is free: Postgres counts by itself."""
    if session.get_bind().dialect.name == "postgresql":
        name = "SELECT setval(pg_get_serial_sequence('trials', 'trial_id'), max(trial_id)) "
        session.execute(sqlalchemy.text(f"{name} FROM trials"))


def main() -> None:
    """Fill a database from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("storage", help="sqlite:///FILE or postgresql://...")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--reports", type=int, default=10)
    arguments = parser.parse_args()
    with Database.open(arguments.storage, create=True) as database:
        fill(database, n_trials=arguments.trials, n_reports=arguments.reports)


if __name__ == "__main__":
    main()
