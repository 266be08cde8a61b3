"""Points of earlier trials in the space of a new study."""

import pytest

from tests.conftest import StudyMaker
from tuner.config import StudyConfig
from tuner.domain import Scalar
from tuner.params import DEFAULTS
from tuner.strategy.warm_start import Earlier, Fitted, fit_points, n_wanted, unlike


def fit(config: StudyConfig, **params: Scalar) -> Fitted:
    """Fit one trial that differs from the defaults in some hyperparameters."""
    rest = {"learning_rate": 0.01, "dropout": 0.3}
    return fit_points(config, [Earlier(number=7, params=DEFAULTS | rest | params)])[0]


def test_a_point_of_the_same_space_is_planned_as_it_was(toy: StudyMaker) -> None:
    fitted = fit(toy())

    assert fitted.point == {"learning_rate": 0.01, "dropout": 0.3}
    assert (fitted.misfits, fitted.left_out) == ((), "")


def test_a_value_outside_its_range_is_left_to_the_sampler_and_named(toy: StudyMaker) -> None:
    fitted = fit(toy(), learning_rate=3.0)

    assert fitted.point == {"dropout": 0.3}
    assert fitted.misfits == (
        "learning_rate = 3.0 is not a number from 0.0001 to 1.0 (log); it is left to the sampler",
    )


def test_a_parameter_that_only_the_new_study_tunes_gets_what_the_trial_was_trained_with(
    toy: StudyMaker,
) -> None:
    fitted = fit(toy("space.units={low=32,high=128}", "space.layers=[1,2]"), units=96)

    assert fitted.point == {"learning_rate": 0.01, "dropout": 0.3, "units": 96, "layers": 1}
    assert fitted.misfits == ()


@pytest.mark.parametrize(
    ("settings", "params", "misfit"),
    [
        (
            ("space.units=[32,64]",),
            {"units": 96},
            "units = 96 is not one of 32, 64; it is left to the sampler",
        ),
        (("space.units=64",), {"units": 96}, "units = 96 is fixed in the new study, to 64"),
        ((), {"units": 96}, "units = 96 is not in the new space, where it is 64"),
        (
            ("space.layers=[1,2]", "space.layer_dropout={low=0.0,high=0.5,when={layers=2}}"),
            {"layer_dropout": 0.2},
            "layer_dropout = 0.2 counts only with layers = 2 in the new study; else it is 0.0",
        ),
        (
            ("space.layers=[1,2]", "space.layer_dropout={low=0.0,high=0.5,when={layers=2}}"),
            {"layers": 2, "layer_dropout": 0.6},
            "layer_dropout = 0.6 is not a number from 0.0 to 0.5; it is left to the sampler",
        ),
    ],
)
def test_whatever_does_not_fit_is_named(
    toy: StudyMaker, settings: tuple[str, ...], params: dict[str, Scalar], misfit: str
) -> None:
    fitted = fit(toy(*settings), **params)

    assert fitted.misfits == (misfit,)
    assert fitted.point["learning_rate"] == 0.01
    assert not fitted.left_out


def test_what_hangs_on_a_value_that_does_not_fit_goes_with_it(toy: StudyMaker) -> None:
    config = toy("space.layers=[1,2]", "space.layer_dropout={low=0.0,high=0.5,when={layers=2}}")

    fitted = fit(config, layers=3, layer_dropout=0.2)

    assert fitted.point == {"learning_rate": 0.01, "dropout": 0.3}
    assert [misfit.split(" = ")[0] for misfit in fitted.misfits] == ["layers", "layer_dropout"]


def test_a_choice_is_planned_as_the_new_study_writes_it(toy: StudyMaker) -> None:
    fitted = fit(toy("space.learning_rate=[0.1,0.3]"), learning_rate=0.1 + 2 * 0.1)

    assert fitted.point["learning_rate"] == 0.3


def test_a_finite_space_gets_whole_points_each_once(toy: StudyMaker) -> None:
    config = toy("space.learning_rate=[0.002,0.01]", "space.dropout=[0.3,0.4]")
    default = {"learning_rate": 0.002, "dropout": 0.4}
    points = [(0.5, 0.3), (0.002, 0.3), (0.002, 0.4), (0.01, 0.9), (0.5, 0.9)]
    earlier = [
        Earlier(number=n, params=DEFAULTS | {"learning_rate": rate, "dropout": dropout})
        for n, (rate, dropout) in enumerate(points)
    ]

    fitted = fit_points(config, earlier)

    assert config.space.default_point() == default
    assert [trial.point for trial in fitted[:4]] == [
        {"learning_rate": 0.002, "dropout": 0.3},
        {"learning_rate": 0.002, "dropout": 0.3},
        default,
        {"learning_rate": 0.01, "dropout": 0.4},
    ]
    assert fitted[0].misfits == (
        "learning_rate = 0.5 is not one of 0.002, 0.01; it takes its default",
    )
    assert [trial.left_out for trial in fitted] == [
        "",
        "what fits is what trial 0 gives",
        "what fits is the default point, which runs first anyway",
        "",
        "nothing of it fits",
    ]


@pytest.mark.parametrize(("trials", "n"), [(2, 1), (11, 1), (30, 5), (60, 10), (1000, 10)])
def test_a_sixth_of_the_budget_goes_to_earlier_points_but_no_more_than_ten(
    toy: StudyMaker, trials: int, n: int
) -> None:
    assert n_wanted(toy(f"budget.trials={trials}")) == n


def test_what_makes_an_earlier_best_no_best_here_is_told(toy: StudyMaker) -> None:
    changed = toy("metric=val_loss", "data.vocabulary=500", "budget.epochs=9")

    assert unlike(toy(), toy("budget.trials=50", "pruner.name=none", "name=other")) == ()
    assert unlike(changed, toy()) == (
        "metric was 'val_accuracy' and is 'val_loss'",
        "budget.epochs was 3 and is 9",
        "data.vocabulary was 20000 and is 500",
    )


def test_files_of_one_name_in_two_folders_are_different_data(
    toy: StudyMaker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    here = toy().model_copy(
        update={"data": toy().data.model_copy(update={"source": "reviews.csv"})}
    )
    there = here.model_copy(update={"folder": elsewhere})

    (told,) = unlike(there, here)

    assert told == (
        f"data.source was '{here.folder / 'reviews.csv'}' and is '{elsewhere / 'reviews.csv'}'"
    )
