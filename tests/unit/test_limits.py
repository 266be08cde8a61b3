"""Proposals keep to a study's limits, whoever draws them, or say what was tried."""

import logging

import pytest
from optuna.trial import FrozenTrial, TrialState

from tests.conftest import StudyMaker
from tuner.config import StudyConfig
from tuner.errors import ConfigError, InputError
from tuner.feasible import beyond_limits, count_points, notes_on
from tuner.params import GRUParams
from tuner.sizes import SIZING, Shape
from tuner.strategy import propose

SHAPE = Shape(n_ids=1000, n_classes=2)
WIDE = ("space.units={low=4,high=256}", "space.embedding={low=4,high=256}")
FINITE = "space={units=[8,16,64],layers=[1,2],embedding=64,dropout=0.5,learning_rate=0.01}"


def first_of(config: StudyConfig, planned: dict[str, float], slot: int = 0) -> GRUParams:
    _, params = propose(list, config, slot=slot, planned=planned, taken=(), shape=SHAPE)
    return params


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_points_within_a_narrow_limit_are_found_by_chance_where_the_sampler_finds_none(
    toy: StudyMaker, sampler: str
) -> None:
    config = toy(*WIDE, "constraints.bytes=60_000", f"sampler.name={sampler}")

    drawn = [first_of(config, {}, slot) for slot in range(8)]

    assert all(config.limits(SHAPE).allow(params) for params in drawn)
    assert len({params.units for params in drawn}) > 1


def test_a_proposal_tells_its_models_size_and_by_how_much_it_keeps_to_the_limits(
    toy: StudyMaker,
) -> None:
    config = toy(*WIDE, "constraints.parameters=1_000_000", 'metrics=["val_accuracy","bytes"]')

    trial, params = propose(list, config, slot=0, planned={}, taken=(), shape=SHAPE)

    assert trial.user_attrs["bytes"] == 4 * trial.user_attrs["parameters"]
    assert trial.constraints == config.limits(SHAPE).excess(params)


def test_a_plan_that_no_allowed_point_fits_is_left_out_with_a_word(
    toy: StudyMaker, caplog: pytest.LogCaptureFixture
) -> None:
    config = toy(*WIDE, "constraints.bytes=30_000")

    with caplog.at_level(logging.WARNING):
        params = first_of(config, {"units": 200})

    assert "slot 0: every point with units=200 is beyond the study's limits" in caplog.text
    assert config.limits(SHAPE).allow(params)


def test_limits_that_nothing_keeps_to_are_an_error_that_names_the_nearest_point(
    toy: StudyMaker,
) -> None:
    config = toy(*WIDE, "constraints.bytes=100")

    with pytest.raises(InputError, match=r"none of 3,010 points.*nearest one has bytes .* > 100"):
        first_of(config, {})


def test_a_finite_space_is_counted_without_what_is_too_large(toy: StudyMaker) -> None:
    config = toy(FINITE, "constraints.bytes=400_000", "budget.trials=5")

    assert (config.space.size(), count_points(config, SHAPE)) == (6, 4)
    assert notes_on(config, SHAPE)[:2] == (
        "4 of the space's 6 points keep to the limits; the others are not tried.",
        "budget.trials is 5: the study ends after 4 trials, each point once.",
    )


def test_a_default_point_that_is_too_large_is_told(toy: StudyMaker) -> None:
    (note,) = notes_on(toy(*WIDE, "constraints.bytes=400_000"), SHAPE)

    assert note.startswith("The default point is beyond the limits: bytes 457,736 > 400,000")


def test_a_part_of_a_point_is_judged_only_where_the_rest_changes_no_size(toy: StudyMaker) -> None:
    config = toy(*WIDE, "constraints.bytes=1_000")

    assert beyond_limits(config, SHAPE, {"units": 200}) == ""
    assert beyond_limits(config, SHAPE, {"units": 4, "embedding": 200}) != ""
    assert beyond_limits(toy(*WIDE), SHAPE, {"units": 256, "embedding": 256}) == ""


def test_only_known_hyperparameters_decide_a_size() -> None:
    assert GRUParams.model_fields.keys() >= SIZING


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("constraints.byte=9", r"constraints: unknown size\. Received 'byte'.*mean `bytes`"),
        ("constraints.bytes=0", "constraints: bytes: expected a number greater than 0. Received 0"),
        ("constraints.bytes=true", "bytes: expected a number greater than 0. Received True"),
        ("constraints=5", r"constraints: expected a table such as \{ bytes = 2_000_000 \}"),
        ("constraints={bytes=inf}", "bytes: expected a number greater than 0. Received inf"),
        ('metrics=["val_loss","bytes"]', "metric: expected one of `metric` and `metrics`"),
        ('metrics=["val_accuracy","size"]', "metrics: unknown objective. Received 'size'"),
        ('metrics=["val_accuracy","val_accuracy"]', "metrics: expected each name once"),
        ('metrics="bytes"', "metrics: expected a list of names"),
        ('metrics=[["val_accuracy","bytes"]]', "metrics: expected a list of names"),
        ('metrics=[{name="val_accuracy"},"bytes"]', "metrics: expected a list of names"),
        (
            'budget={trials=9,epochs=1,min_gain=0.1} metrics=["val_accuracy","bytes"]',
            r"budget.min_gain: with several objectives \(val_accuracy, bytes\)",
        ),
        ("metric=bytes", "metric: a size alone would have the smallest model"),
    ],
)
def test_goals_that_cannot_be_are_explained(toy: StudyMaker, setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        toy(*setting.split())


def test_several_objectives_have_a_direction_each_and_one_alone_is_a_metric(
    toy: StudyMaker,
) -> None:
    several = toy('metrics=["val_accuracy","val_loss","bytes"]')
    alone = toy('metrics=["val_accuracy"]')

    assert several.metric == "val_accuracy"
    assert several.directions == ("maximize", "minimize", "minimize")
    assert StudyConfig.from_json(several.to_json()) == several
    assert alone == toy()


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_samplers_propose_after_complete_pruned_and_infeasible_trials_of_several_objectives(
    toy: StudyMaker, sampler: str
) -> None:
    goals = 'metrics=["val_accuracy","bytes"]', "constraints.bytes=1_000_000"
    config = toy(*WIDE, *goals, f"sampler.name={sampler}", "budget.trials=40")
    trials: list[FrozenTrial] = []
    for slot in range(30):
        trial, params = propose(
            lambda: trials, config, slot=slot, planned={}, taken=(), shape=SHAPE
        )
        trial.number = trial._trial_id = slot
        is_pruned = slot % 3 or slot % 5 == 1
        trial.state = TrialState.PRUNED if is_pruned else TrialState.COMPLETE
        trial.values = [1 - params.dropout, float(trial.user_attrs["bytes"])]
        if slot % 5 == 1:
            trial.values = None  # it diverged before it reported
            trial.set_constraint("diverged", 1.0)
        trials.append(trial)

    assert len({tuple(trial.params.items()) for trial in trials}) > 20


def test_cmaes_is_refused_with_several_objectives(toy: StudyMaker) -> None:
    with pytest.raises(ConfigError, match="cmaes knows one objective"):
        toy('metrics=["val_accuracy","bytes"]', "sampler.name=cmaes", "sampler.allow_pickle=true")
