"""Importance, on made-up studies of which the truth is known."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest

from tuner.config import StudyConfig
from tuner.domain import Scalar
from tuner.errors import NoUsableTrialError
from tuner.importance import Importances, weigh
from tuner.importance.reading import MAX_TRIALS
from tuner.results import TrialRow

SPACE = {
    "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "units": {"low": 16, "high": 128, "step": 16},
    "pooling": ["last", "max", "mean"],
    "dropout": {"low": 0.0, "high": 0.5},
}
Quality = Callable[[Mapping[str, Scalar]], float]


def config(space: Mapping[str, object] = SPACE, metric: str = "val_accuracy") -> StudyConfig:
    return StudyConfig.model_validate(
        {
            "name": "truth",
            "metric": metric,
            "data": {"source": "demo"},
            "budget": {"trials": 100, "epochs": 9},
            "space": space,
            "folder": Path(),
        }
    )


def rate_quality(params: Mapping[str, Scalar]) -> float:
    """Best at a learning rate of 0.003, whatever else there is."""
    return 0.9 - 0.1 * (math.log10(float(params["learning_rate"])) + 2.5) ** 2


def row(number: int, params: Mapping[str, Scalar], value: float | None) -> TrialRow:
    return TrialRow(
        number=number,
        state="complete",
        value=value,
        params=params,
        last_step=36,
        last_value=value,
        started=None,
        ended=None,
        slot=number,
        worker=None,
        lease_seconds=None,
        feasible=True,
        superseded=False,
    )


def study(
    quality: Quality, *, n: int = 150, noise: float = 0.01, given: StudyConfig | None = None
) -> list[TrialRow]:
    """Make the trials of a random search."""
    generator = np.random.default_rng(7)
    drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=7))
    points = [(given or config()).space.suggest(drawn.ask()).model_dump() for _ in range(n)]
    return [
        row(number, params, quality(params) + noise * float(generator.normal()))
        for number, params in enumerate(points)
    ]


def prune_the_worse(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """End the worse two thirds early, as the rung rule would."""
    middle = sorted(known(r) for r in rows)[2 * len(rows) // 3]
    return [r if known(r) >= middle else replace(r, state="pruned", last_step=4) for r in rows]


def known(trial: TrialRow) -> float:
    assert trial.value is not None
    return trial.value


def verdicts(found: Importances) -> dict[str, str]:
    return {p.name: p.verdict for p in found.parameters}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_what_decides_is_found_and_the_rest_is_noise() -> None:
    found = weigh(config(), study(rate_quality), {})

    first = found.parameters[0]
    assert (first.name, first.verdict) == ("learning_rate", "decides")
    assert first.noise < first.low <= first.share <= first.high <= 1
    assert sum(p.share for p in found.parameters) == pytest.approx(1)
    others = verdicts(found)
    assert {others[name] for name in ("units", "pooling", "dropout")} == {"noise"}
    assert found.reading.startswith("learning_rate decides (share 0.")
    assert "do not matter within noise" in found.reading


def test_a_lesser_effect_matters_beside_a_greater_one() -> None:
    found = weigh(
        config(),
        study(lambda p: rate_quality(p) + 0.0008 * float(p["units"]), n=400),
        {},
    )

    assert verdicts(found)["learning_rate"] in {"decides", "matters"}
    assert verdicts(found)["units"] in {"decides", "matters"}
    assert verdicts(found)["pooling"] == verdicts(found)["dropout"] == "noise"


def test_where_values_are_chance_nothing_matters() -> None:
    found = weigh(config(), study(lambda _: 0.5, noise=0.1), {})

    assert set(verdicts(found).values()) == {"noise"}
    assert found.reading.endswith("do not matter within noise.")


def test_a_metric_that_falls_is_read_the_other_way_round() -> None:
    given = config(metric="val_loss")

    found = weigh(given, study(lambda p: 1 - rate_quality(p)), {})

    assert verdicts(found)["learning_rate"] == "decides"


def test_pruned_trials_count_as_worse_and_tell_what_complete_ones_cannot() -> None:
    # All trials with a bad learning rate are pruned: among those left, all rates are alike.
    rows = study(lambda p: 0.9 if float(p["learning_rate"]) > 0.02 else 0.6)
    rows = [replace(r, state="pruned", last_step=4) if known(r) < 0.75 else r for r in rows]

    with_all = weigh(config(), rows, {})
    with_complete = weigh(config(), [r for r in rows if r.state == "complete"], {})

    assert (with_all.n_complete, with_all.n_pruned) != (with_complete.n_complete, 0)
    assert verdicts(with_all)["learning_rate"] == "decides"
    assert verdicts(with_complete)["learning_rate"] == "noise"


def test_fewer_complete_trials_than_a_tenth_still_tell_something() -> None:
    rows = sorted(study(rate_quality), key=known)
    rows = [
        replace(r, state="pruned", last_step=4 + 8 * (i > 75)) if i < 145 else r
        for i, r in enumerate(rows)
    ]

    assert verdicts(weigh(config(), rows, {}))["learning_rate"] == "decides"


def test_trials_that_the_clock_ended_say_nothing() -> None:
    rows = prune_the_worse(study(rate_quality, n=40))
    pruned = [r.number for r in rows if r.state == "pruned"]
    out_of_time = dict.fromkeys(pruned[:10], "time: the study's 8 hours are over")

    assert weigh(config(), rows, out_of_time).n_pruned == len(pruned) - 10


def test_trials_that_broke_a_constraint_are_the_worst() -> None:
    # A rate above 0.01 diverges, however good its first reports were.
    rows = [
        replace(r, state="pruned", feasible=False, value=0.99)
        if float(r.params["learning_rate"]) > 0.01
        else replace(r, value=0.5)
        for r in study(lambda _: 0.5)
    ]

    found = weigh(config(), rows, {})

    assert found.parameters[0].name == "learning_rate"
    assert verdicts(found)["learning_rate"] != "noise"


def test_what_failed_runs_or_has_no_finite_value_is_left_out() -> None:
    rows = study(rate_quality, n=30)
    rows[0] = replace(rows[0], state="failed", value=None)
    rows[1] = replace(rows[1], state="running", value=None)
    rows[2] = replace(rows[2], value=math.inf)

    assert weigh(config(), rows, {}).n_complete == 27


def test_too_few_trials_give_no_numbers_but_say_how_many_are_missing() -> None:
    with pytest.raises(NoUsableTrialError, match=r"19 usable trials \(19 complete, 0 pruned\)"):
        weigh(config(), study(rate_quality, n=19), {})


def test_a_small_study_says_that_it_is_rough() -> None:
    assert "Rough: from 25 trials" in weigh(config(), study(rate_quality, n=25), {}).reading


def test_a_large_study_is_thinned_evenly_and_says_so() -> None:
    given = config({"learning_rate": SPACE["learning_rate"]})
    rows = study(rate_quality, n=MAX_TRIALS + 200, given=given)

    found = weigh(given, rows, {})

    assert found.n_used == MAX_TRIALS
    assert f"From {MAX_TRIALS} of {MAX_TRIALS + 200} trials, evenly taken." in found.reading


def test_the_same_trials_give_the_same_numbers() -> None:
    rows = study(rate_quality, n=40)

    assert weigh(config(), rows, {}) == weigh(config(), rows, {})


def test_a_parameter_counts_only_where_its_condition_holds() -> None:
    given = config(
        {
            "layers": [1, 2],
            "layer_dropout": {"low": 0.0, "high": 0.5, "when": {"layers": 2}},
            "dropout": {"low": 0.0, "high": 0.5},
        }
    )

    def quality(params: Mapping[str, Scalar]) -> float:
        return 0.5 + (params["layers"] == 2) * (0.5 - float(params["layer_dropout"]))

    found = weigh(given, study(quality, given=given), {})

    assert verdicts(found)["layer_dropout"] != "noise"
    assert verdicts(found)["dropout"] == "noise"


def test_values_drawn_before_a_range_was_narrowed_still_count() -> None:
    rows = study(rate_quality)
    narrowed = config(SPACE | {"learning_rate": {"low": 1e-3, "high": 1e-2, "log": True}})

    assert verdicts(weigh(narrowed, rows, {}))["learning_rate"] == "decides"


def test_a_single_parameter_has_the_whole_share_and_may_still_be_noise() -> None:
    given = config({"dropout": SPACE["dropout"]})

    (alone,) = weigh(given, study(lambda _: 0.5, noise=0.1, given=given), {}).parameters

    assert (alone.share, alone.verdict) == (1, "noise")


def test_a_study_that_tunes_nothing_says_so() -> None:
    fixed = config({"units": 32})

    found = weigh(fixed, [row(0, {"units": 32}, 0.5)], {})

    assert found.parameters == ()
    assert "tunes no parameter" in found.reading


def test_equal_values_are_no_reason_to_prefer_a_parameter() -> None:
    found = weigh(config(), study(lambda _: 0.5, noise=0.0, n=30), {})

    assert set(verdicts(found).values()) == {"noise"}
    json.dumps(found.to_json(), allow_nan=False)
