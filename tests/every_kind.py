"""Studies with a trial of every kind, for tests of what reads a database."""

import math
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial
from sqlalchemy import Table, insert, select

from tests.conftest import StudyMaker
from tests.integration.test_storage import new_token, slots_of
from tuner.storage import (
    Claim,
    Database,
    Ending,
    Proposal,
    Slots,
    StoredStudy,
    create_study,
    retry_failed,
)
from tuner.storage.schema import METADATA, VERSION

#: What the study of tuner's tunes; `FIXED` is the rest of what its file names.
SPACE: dict[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(1e-6, 10.0, log=True),
    "layers": CategoricalDistribution((1, 2)),
    "bidirectional": CategoricalDistribution((True, False)),
    "pooling": CategoricalDistribution(("last", "mean_max")),
    "layer_dropout": FloatDistribution(0.0, 0.5),
}
#: With two layers `layer_dropout` counts ...
DEEP = {"layers": 2, "bidirectional": False, "pooling": "mean_max", "layer_dropout": 0.25}
#: ... and with one it does not, and is stored with its default.
FLAT = {"layers": 1, "bidirectional": True, "pooling": "last"}
FIXED = {"units": 64, "dropout": 0.4, "layer_dropout": 0.0}
_SETTINGS = (
    "budget.trials=9",
    "space.units=64",
    "space.dropout=0.4",
    "space.layers=[1, 2]",
    "space.bidirectional=[true, false]",
    'space.pooling=["last", "mean_max"]',
    "space.layer_dropout={low = 0.0, high = 0.5, when = {layers = 2}}",
)
_CURVES = {
    0: {1: 0.25, 4: 0.5},
    4: {1: 0.3, 2: math.nan},
    6: {1: math.nan, 2: -math.inf},
    7: {1: 0.125},
}
_COMPLETE = {
    0: (0.5, {"size": 0.0}),
    1: (0.9, {"size": -1.0, "diverged": math.inf}),
    2: (0.8, {"size": -math.inf}),
    3: (0.8, {}),
    6: (math.inf, {}),
}

#: What the study of plain Optuna draws; of each parameter the value and where it is from.
FOREIGN: dict[str, tuple[Any, BaseDistribution]] = {
    "flag": (False, CategoricalDistribution((True, False))),
    "size": (32, CategoricalDistribution((16, 32))),
    "share": (1e-05, CategoricalDistribution((0.5, 1e-05))),
    "word": ('naïve "☃" 🙂', CategoricalDistribution(("plain", 'naïve "☃" 🙂'))),
    "none": (None, CategoricalDistribution((None, "some"))),
    "odd": (math.nan, CategoricalDistribution((math.nan, 1.0))),
    "zero": ("\0", CategoricalDistribution(("\0", ""))),
    "units": (-7, IntDistribution(-8, 8)),
    "rate": (0.1 + 0.2, FloatDistribution(1e-9, 1e9, log=True)),
    "whole": (64.0, FloatDistribution(0.0, 128.0, step=0.5)),
}


def fill_own(database: Database, toy: StudyMaker, *settings: str) -> StoredStudy:
    """Make a study of tuner's: trials 0 to 9 in slots, but for 5, and 10 from a notebook."""
    study = create_study(database, toy(*_SETTINGS, *settings)).study
    workers = [slots_of(database, study, f"w{number}") for number in range(9)]
    claims = [
        _open(worker, learning_rate=number / 7 or 1e-05, **(DEEP if number else FLAT))
        for number, worker in enumerate(workers)
    ]
    for number, curve in _CURVES.items():
        for step, value in curve.items():
            workers[number].report(claims[number], step, value)
    for number, (value, constraints) in _COMPLETE.items():
        workers[number].close(claims[number], _ending(TrialState.COMPLETE, value, constraints))
    workers[4].close(claims[4], _ending(TrialState.PRUNED, 0.3, {"minutes": 0.5}))
    workers[5].close(claims[5], _ending(TrialState.FAIL, None, {}))
    retry_failed(database, study)
    again = slots_of(database, study, "w9")
    again.close(_open(again, learning_rate=0.5, **FLAT), _ending(TrialState.FAIL, None, {}))
    workers[8].release(claims[8])
    optuna.load_study(study_name=study.config.name, storage=database.storage).add_trial(
        create_trial(params={"notes": 3}, distributions={"notes": IntDistribution(0, 9)}, value=0.7)
    )
    return study


def _open(slots: Slots, **params: Any) -> Claim:
    claim = slots.claim(new_token())
    assert claim is not None
    trial = create_trial(
        state=TrialState.RUNNING,
        params=params,
        distributions={name: SPACE[name] for name in params},
    )
    return slots.open(claim, Proposal(trial=trial, params=FIXED | params, unique=False))


def _ending(state: TrialState, value: float | None, constraints: dict[str, float]) -> Ending:
    facts = {"reason": "für später", "superseded by": "none"}
    return Ending(state=state, value=value, attributes=facts, constraints=constraints)


def fill_foreign(database: Database) -> None:
    """Make studies as plain Optuna does: one as any, one with two objectives, one empty."""
    storage = database.storage
    study = optuna.create_study(study_name="Größe, 大", storage=storage)
    params = {name: value for name, (value, _) in FOREIGN.items()}
    distributions = {name: domain for name, (_, domain) in FOREIGN.items()}
    for value, constraints in ((0.5, {"a": 0.0}), (0.25, {"a": 1e-9}), (-math.inf, None)):
        study.add_trial(
            create_trial(
                value=value, params=params, distributions=distributions, constraints=constraints
            )
        )
    study.add_trial(create_trial(state=TrialState.FAIL))
    study.add_trial(create_trial(state=TrialState.RUNNING, intermediate_values={3: 0.5}))
    study.enqueue_trial({"units": 1})
    pareto = optuna.create_study(
        study_name="pareto", storage=storage, directions=["maximize", "minimize"]
    )
    pareto.add_trial(create_trial(values=[0.5, math.inf]))
    pareto.add_trial(create_trial(values=[0.25, 2.0]))
    optuna.create_study(study_name="empty", storage=storage)


def copy(source: Database, target: Database) -> None:
    """Write every row of a database into another one that has no studies."""
    versions = {VERSION.name, "version_info"}
    tables: list[Table] = [t for t in METADATA.sorted_tables if t.name not in versions]
    with source.transaction() as reading, target.transaction() as writing:
        for table in tables:
            rows = [dict(row) for row in reading.execute(select(table)).mappings()]
            if rows:
                writing.execute(insert(table), rows)
