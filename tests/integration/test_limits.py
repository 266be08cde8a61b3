"""Limits of models' sizes: nothing larger is trained, planned or best, over each database."""

import json

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import create_trial
from sqlalchemy import select, text

from tests.conftest import StudyMaker
from tests.workers import make_worker
from tuner.config import StudyConfig
from tuner.dashboard.shelf import Shelf
from tuner.dashboard.truth import TrueStorage
from tuner.errors import DataError, FrozenStudyError, InputError
from tuner.results import best_trials, show_trial, trials
from tuner.sizes import SIZES, Shape
from tuner.storage import (
    Database,
    StoredStudy,
    agree_on_data,
    create_study,
    enqueue,
    extend_study,
    find_study,
)
from tuner.storage.schema import SLOTS

SHAPE = Shape(n_ids=1000, n_classes=2)
#: From 20,000 bytes up; the default point has 457,736.
LIMITED = (
    "space.units={low=4,high=192}",
    "space.embedding={low=4,high=192}",
    "constraints.bytes=450_000",
    "budget.trials=14",
)
#: Six points, of which those with 64 units are beyond 400,000 bytes.
FINITE = (
    "space={units=[8,16,64],layers=[1,2],embedding=64,dropout=0.5,learning_rate=0.01}",
    "constraints.bytes=400_000",
)


def create(database: Database, config: StudyConfig) -> StoredStudy:
    return create_study(database, config, shape=SHAPE).study


def n_bytes(study: StoredStudy, number: int, database: Database) -> int:
    params = show_trial(database, study, number).row.params
    return SIZES["bytes"](study.config.space.complete(params), SHAPE)


def planned(database: Database) -> list[dict[str, object]]:
    with database.transaction() as session:
        plans = session.scalars(select(SLOTS.c.planned).order_by(SLOTS.c.slot))
        return [json.loads(plan) for plan in plans if plan is not None]


def test_no_trial_is_larger_than_a_limit_and_each_tells_by_how_much(
    database: Database, toy: StudyMaker
) -> None:
    study = create(database, toy(*LIMITED))
    enqueue(database, study, {"dropout": 0.25})

    make_worker(database, study, "quadratic").run()

    rows = trials(database, study)
    assert [row.state for row in rows] == ["complete"] * 14
    assert rows[0].params["dropout"] == 0.25
    for row in rows:
        size = n_bytes(study, row.number, database)
        details = show_trial(database, study, row.number)
        assert size <= 450_000
        assert details.attributes["bytes"] == size
        assert details.constraints == {"bytes": pytest.approx(size / 450_000 - 1)}
    plain = optuna.load_study(study_name="toy", storage=database.storage)
    assert all(trial.constraints["bytes"] <= 0 for trial in plain.trials)


def test_a_point_beyond_the_limits_is_never_planned(database: Database, toy: StudyMaker) -> None:
    config = toy(*LIMITED)
    study = create(database, config)

    begun = planned(database)
    assert begun  # some of the points that fill the space are small enough
    assert config.space.default_point() not in begun
    with pytest.raises(InputError, match=r"beyond the limits of 'toy': bytes 1,\d+,\d+ > 450,000"):
        enqueue(database, study, {"units": 128, "embedding": 128})
    enqueue(database, study, {"units": 8, "embedding": 8})
    assert planned(database) == [*begun, {"units": 8, "embedding": 8}]


@pytest.mark.parametrize("sampler", ["grid", "tpe"])
def test_a_finite_space_has_a_slot_for_each_point_within_the_limits(
    database: Database, toy: StudyMaker, sampler: str
) -> None:
    config = toy(*FINITE, f"sampler.name={sampler}", "budget.trials=2")
    study = create(database, config)
    with pytest.raises(InputError, match=r"has 4 points within its limits.*at most 2"):
        extend_study(database, study, 3)
    extend_study(database, study, 2)

    make_worker(database, find_study(database, "toy"), "quadratic").run()

    points = [(row.params["units"], row.params["layers"]) for row in trials(database, study)]
    assert sorted(points) == [(8, 1), (8, 2), (16, 1), (16, 2)]


def test_a_finite_space_without_a_point_within_the_limits_is_refused(
    database: Database, toy: StudyMaker
) -> None:
    with pytest.raises(InputError, match=r"constraints: no point .* keeps to bytes = 10\."):
        create(database, toy(*FINITE, "constraints.bytes=10"))


def test_a_trial_of_somebody_else_is_best_only_where_it_tells_that_it_keeps_to_the_limits(
    database: Database, toy: StudyMaker
) -> None:
    study = create(database, toy(*LIMITED))
    plain = optuna.load_study(study_name="toy", storage=database.storage)

    def add(value: float, constraints: dict[str, float]) -> None:
        domain: dict[str, BaseDistribution] = {"dropout": FloatDistribution(0.0, 0.9)}
        found = create_trial(
            params={"dropout": 0.5}, distributions=domain, value=value, constraints=constraints
        )
        plain.add_trial(found)

    add(0.9, {})
    add(0.8, {"bytes": 0.25})
    add(0.7, {"bytes": -0.25})
    add(0.95, {"others": -1.0})

    assert [row.number for row in best_trials(database, study, top=9)] == [2]
    assert [row.feasible for row in trials(database, study)] == [False, False, True, False]
    with database.transaction() as session:
        assert session.execute(text("SELECT best_trial FROM tuner_studies")).scalar() == 2
        told = session.execute(text("SELECT feasible FROM tuner_trials ORDER BY trial"))
        assert [bool(feasible) for (feasible,) in told] == [False, False, True, False]
    shelf = Shelf(database, lambda: None)
    assert TrueStorage(shelf).get_best_trial(study.study_id).number == 2


def test_limits_of_a_stored_study_do_not_change(database: Database, toy: StudyMaker) -> None:
    create(database, toy(*LIMITED))

    with pytest.raises(FrozenStudyError, match=r"constraints\.bytes: 450000 -> 2000000"):
        create(database, toy(*LIMITED, "constraints.bytes=2_000_000"))
    with pytest.raises(FrozenStudyError, match=r"constraints\.parameters: \(not there\) -> 9"):
        create(database, toy(*LIMITED, "constraints.parameters=9"))


def test_data_that_makes_models_of_another_size_is_refused(
    database: Database, toy: StudyMaker
) -> None:
    study = create(database, toy(*LIMITED))

    assert find_study(database, "toy").shape == SHAPE
    agree_on_data(database, study, "the same", SHAPE)
    agree_on_data(database, study, "the same")
    with pytest.raises(DataError, match="999 token ids and 2 classes here, 1000 and 2 in"):
        agree_on_data(database, study, "the same", Shape(n_ids=999, n_classes=2))
