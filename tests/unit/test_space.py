"""Domains hold what they say, finite spaces list their points, and draws obey conditions."""

import itertools
from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial

from tuner.domain import Choice, Fixed, Point, Range, Scalar, contains, describe, matches, point_key
from tuner.errors import ConfigError, suggestion
from tuner.params import DEFAULTS, GRUParams
from tuner.space import MAX_FINITE_POINTS, Parameter, Space
from tuner.space_table import parse_space

#: Layers that share a dropout only where there are two.
CONDITIONAL = {
    "layers": [1, 2],
    "layer_dropout": {"low": 0.0, "high": 0.5, "step": 0.25, "when": {"layers": 2}},
}


def random_study(seed: int = 0) -> optuna.Study:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))


# --- hyperparameters ---------------------------------------------------------------------------


def test_every_default_is_listed_and_lies_within_its_own_limits() -> None:
    assert list(DEFAULTS) == list(GRUParams.model_fields)
    assert GRUParams(**DEFAULTS) == GRUParams()  # type: ignore[arg-type]  # checked by pydantic


@pytest.mark.parametrize(
    "wrong", [{"units": 64.0}, {"units": True}, {"bidirectional": 1}, {"dropout": 1.0}, {"unit": 1}]
)
def test_hyperparameters_are_never_converted_nor_invented(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GRUParams(**wrong)


# --- domains -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("domain", "inside", "outside"),
    [
        (Fixed(value=2), [2], [1, 2.0, True, "2"]),
        (Choice(choices=(1, 2)), [1, 2], [3, 1.0, True, "1"]),
        (Choice(choices=(True, False)), [True, False], [1, 0, "true"]),
        (Choice(choices=(0.1, 1.0)), [0.1, 1.0, 1], [0.2, True, "0.1"]),
        (Choice(choices=("last", "max")), ["last"], ["mean", 1, False]),
        (Range(low=32, high=64), [32, 33, 64], [31, 65, 32.5, 33.0, True, "40"]),
        (Range(low=32, high=64, step=8), [32, 40, 64], [33, 72, 40.0, True]),
        (Range(low=0.0, high=0.5), [0, 0.0, 0.123, 0.5], [-0.1, 0.6, False, "0.1", float("nan")]),
        (Range(low=0.0, high=0.9, step=0.1), [0, 0.3, 0.1 * 3, 0.9], [0.25, 1.0, True]),
        (Range(low=1e-4, high=1.0, log=True), [1e-4, 0.5, 1], [1e-5, 2, True]),
    ],
    ids=repr,
)
def test_a_domain_holds_exactly_its_values(
    domain: Fixed | Choice | Range, inside: list[Scalar], outside: list[Scalar]
) -> None:
    assert [value for value in inside if not contains(domain, value)] == []
    assert [value for value in outside if contains(domain, value)] == []


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        (Fixed(value="last"), "'last'"),
        (Choice(choices=(1, 2)), "one of 1, 2"),
        (Range(low=32, high=64), "a whole number from 32 to 64"),
        (Range(low=32, high=64, step=8), "a whole number from 32 to 64 in steps of 8"),
        (Range(low=0.0, high=0.5), "a number from 0.0 to 0.5"),
        (Range(low=1e-4, high=1.0, log=True), "a number from 0.0001 to 1.0 (log)"),
    ],
    ids=repr,
)
def test_a_domain_is_described_in_words(domain: Fixed | Choice | Range, words: str) -> None:
    assert describe(domain) == words


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("units", 64, 64),
        ("pooling", "last", "last"),
        ("units", [32, 64], [32, 64]),
        ("units", {"low": 32, "high": 64}, {"low": 32, "high": 64}),
        ("units", {"low": 32, "high": 64, "step": 8}, {"low": 32, "high": 64, "step": 8}),
        (
            "learning_rate",
            {"low": 1e-3, "high": 1, "log": True},
            {"low": 1e-3, "high": 1.0, "log": True},
        ),
        ("units", {"value": 64, "when": {"layers": 2}}, {"value": 64, "when": {"layers": 2}}),
        (
            "units",
            {"choices": [64], "when": {"layers": [2]}},
            {"choices": [64], "when": {"layers": 2}},
        ),
        (
            "units",
            {"low": 32, "high": 64, "log": False, "when": {"layers": [1, 2], "reset_after": True}},
            {"low": 32, "high": 64, "when": {"layers": [1, 2], "reset_after": True}},
        ),
    ],
    ids=str,
)
def test_a_parameter_written_and_read_again_is_the_same(
    name: str, raw: object, value: object
) -> None:
    space = parse_space({name: raw, "layers": [1, 2], "reset_after": [True, False]})
    written = {p.name: p.to_value() for p in space.parameters}
    assert written[name] == value
    assert parse_space(written) == space


# --- points ------------------------------------------------------------------------------------


def test_points_run_through_the_product_with_the_last_parameter_fastest() -> None:
    space = parse_space({"units": [32, 64], "embedding": 16, "pooling": ["max", "last"]})
    assert list(space.points()) == [
        {"units": 32, "pooling": "max"},
        {"units": 32, "pooling": "last"},
        {"units": 64, "pooling": "max"},
        {"units": 64, "pooling": "last"},
    ]


def test_a_conditional_parameter_multiplies_only_the_points_where_it_counts() -> None:
    points = list(parse_space(CONDITIONAL).points())
    assert points == [
        {"layers": 1},
        {"layers": 2, "layer_dropout": 0.0},
        {"layers": 2, "layer_dropout": 0.25},
        {"layers": 2, "layer_dropout": 0.5},
    ]


@pytest.mark.parametrize("flipped", [False, True], ids=["in order", "condition first"])
def test_the_order_of_a_condition_and_its_parameter_in_the_file_does_not_matter(
    flipped: bool,
) -> None:
    items = list(CONDITIONAL.items())
    space = parse_space(dict(reversed(items) if flipped else items))
    assert [p.name for p in space.parameters] == ["layers", "layer_dropout"]
    assert space.size() == 4


@pytest.mark.parametrize(
    ("raw", "size"),
    [
        ({}, 1),
        ({"units": 64}, 1),
        ({"units": {"low": 32, "high": 64}}, 33),
        ({"units": {"low": 32, "high": 64, "step": 8}}, 5),
        ({"units": {"low": 32, "high": 64, "log": True}}, 33),
        ({"units": {"low": 32, "high": 32}, "dropout": {"low": 0.2, "high": 0.2}}, 1),
        ({"dropout": {"low": 0.0, "high": 0.9, "step": 0.1}}, 10),
        ({"dropout": {"low": 0.0, "high": 0.9}}, None),
        ({**CONDITIONAL, "units": [32, 64]}, 8),
        (CONDITIONAL | {"dropout": {"low": 0.0, "high": 0.5, "when": {"layers": 1}}}, None),
        ({"layers": [1, 2], "units": {"value": 32, "when": {"layers": 2}}}, 2),
        ({"units": {"low": 1, "high": 8192}, "embedding": {"low": 1, "high": 8192}}, None),
        ({"max_length": {"low": 1, "high": MAX_FINITE_POINTS}}, MAX_FINITE_POINTS),
    ],
    ids=str,
)
def test_a_space_knows_how_many_points_it_has(raw: dict[str, object], size: int | None) -> None:
    space = parse_space(raw)
    assert space.size() == size
    if size is not None:
        assert len({point_key(p) for p in space.points()}) == size


def test_a_space_just_too_big_counts_as_inexhaustible_also_with_conditions() -> None:
    half = {"low": 1, "high": MAX_FINITE_POINTS // 2 + 1}
    raw = {"layers": [1, 2], "max_length": half}
    assert parse_space(raw).size() is None
    conditional = {"layers": [1, 2], "max_length": half | {"when": {"layers": [1, 2]}}}
    assert parse_space(conditional).size() is None


def test_endless_names_the_parameters_without_a_list_of_values() -> None:
    space = parse_space(
        {
            "units": {"low": 1, "high": 8192},
            "dropout": {"low": 0.0, "high": 0.5},
            "embedding_dropout": {"low": 0.0, "high": 0.5, "step": 0.1},
            "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        }
    )
    assert space.endless() == ["dropout", "learning_rate"]
    assert parse_space(CONDITIONAL).endless() == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"units": 64, "layers": 2}, {"layers": 2, "units": 64}),
        ({"dropout": 0.3}, {"dropout": 3 * 0.1}),
        ({"dropout": 0}, {"dropout": 0.0}),
    ],
    ids=["order", "rounding", "whole"],
)
def test_equal_points_are_equal_text(one: Point, other: Point) -> None:
    assert point_key(one) == point_key(other)
    assert matches(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"dropout": 0.3}, {"dropout": 0.31}),
        ({"learning_rate": 1e-5}, {"learning_rate": 2e-5}),
        ({"layers": 1}, {"layers": 1, "units": 64}),
        ({"bidirectional": True}, {"bidirectional": 1}),
        ({"pooling": "max"}, {"pooling": "mean"}),
    ],
    ids=str,
)
def test_different_points_are_different_text(one: Point, other: Point) -> None:
    assert point_key(one) != point_key(other)
    assert not matches(one, other)


@pytest.mark.parametrize("step", [0.1, 0.05, 0.3])
def test_what_a_sampler_draws_from_a_stepped_range_is_among_the_points(step: float) -> None:
    space = parse_space({"dropout": {"low": 0.0, "high": 0.9, "step": step}})
    listed = {point_key(p) for p in space.points()}
    study = random_study()
    for _ in range(60):
        space.suggest(study.ask())
    assert {point_key(t.params) for t in study.trials} <= listed
    assert all(
        contains(Range(low=0.0, high=0.9, step=step), t.params["dropout"]) for t in study.trials
    )


# --- a person's point --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "point",
    [
        {},
        {"layers": 1},
        {"layers": 2, "layer_dropout": 0.25},
        {"layers": 2, "layer_dropout": 0},
        {"units": 40, "pooling": "max"},
    ],
    ids=str,
)
def test_a_point_of_the_space_may_be_asked_for_in_whole_or_in_part(point: Point) -> None:
    raw = CONDITIONAL | {"units": {"low": 32, "high": 64, "step": 8}, "pooling": ["max", "last"]}
    parse_space(raw).check_point(point)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (
            {"unit": 64},
            "unit: is not in this study's space. Did you mean `units`? "
            "Expected some of: layers, units, layer_dropout. Received unit=64.",
        ),
        ({"embedding": 8}, "embedding: is fixed to 16 in this study. Received embedding=8."),
        ({"layers": 3}, "layers: expected one of 1, 2. Received layers=3."),
        ({"layers": True}, "layers: expected one of 1, 2. Received layers=True."),
        ({"layers": 2.0}, "layers: expected one of 1, 2. Received layers=2.0."),
        ({"units": 32.5}, "units: expected a whole number from 32 to 64. Received units=32.5."),
        ({"units": "big"}, "units: expected a whole number from 32 to 64. Received units='big'."),
        (
            {"layer_dropout": 0.25},
            "layer_dropout: counts only with layers=2; give that too. Received layer_dropout=0.25.",
        ),
        (
            {"layer_dropout": 0.25, "layers": 1},
            "layer_dropout: counts only with layers=2; give that too. Received layer_dropout=0.25.",
        ),
        (
            {"layer_dropout": 0.3, "layers": 2},
            "layer_dropout: expected a number from 0.0 to 0.5 in steps of 0.25. "
            "Received layer_dropout=0.3.",
        ),
    ],
    ids=str,
)
def test_a_point_outside_the_space_is_refused_with_what_was_expected(
    point: Point, message: str
) -> None:
    space = parse_space(CONDITIONAL | {"embedding": 16, "units": {"low": 32, "high": 64}})
    with pytest.raises(ConfigError) as caught:
        space.check_point(point)
    assert str(caught.value) == message


def test_a_condition_on_a_fixed_parameter_needs_not_be_repeated_in_a_point() -> None:
    space = parse_space({"layers": 2, "layer_dropout": {"choices": [0.1], "when": {"layers": 2}}})
    space.check_point({"layer_dropout": 0.1})


# --- drawing -----------------------------------------------------------------------------------


def test_a_fixed_trial_gives_its_values_and_the_rest_is_fixed_or_default() -> None:
    space = parse_space(
        {
            "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
            "units": {"low": 32, "high": 64, "step": 8},
            "pooling": ["max", "last"],
            "embedding": 16,
        }
    )
    params = space.suggest(FixedTrial({"learning_rate": 1e-3, "units": 40, "pooling": "last"}))
    expected = {"learning_rate": 1e-3, "units": 40, "pooling": "last", "embedding": 16}
    assert params.model_dump() == DEFAULTS | expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [({"layers": 1}, 0.0), ({"layers": 2, "layer_dropout": 0.5}, 0.5)],
    ids=["condition does not hold", "condition holds"],
)
def test_a_conditional_parameter_is_asked_for_only_where_it_counts(
    values: Point, expected: float
) -> None:
    trial = FixedTrial(dict(values))
    assert parse_space(CONDITIONAL).suggest(trial).layer_dropout == expected
    assert trial.params == values


@pytest.mark.parametrize(("dropout", "counts"), [(0.1 * 3, True), (0.3, True), (0.6, False)])
def test_a_condition_on_a_stepped_range_holds_whatever_its_rounding(
    dropout: float, counts: bool
) -> None:
    space = parse_space(
        {
            "dropout": {"low": 0.0, "high": 0.9, "step": 0.1},
            "units": {"value": 8, "when": {"dropout": 0.3}},
        }
    )
    drawn = space.suggest(FixedTrial({"dropout": dropout}))
    assert drawn.units == (8 if counts else DEFAULTS["units"])


def test_conditions_on_two_parameters_must_both_hold() -> None:
    when = {"layers": [2, 3], "bidirectional": True}
    space = parse_space(
        {
            "layers": [1, 2, 3],
            "bidirectional": [True, False],
            "units": {"choices": [8, 16], "when": when},
        }
    )
    for layers, both in itertools.product((1, 2, 3), (True, False)):
        trial = FixedTrial({"layers": layers, "bidirectional": both, "units": 8})
        assert (space.suggest(trial).units == 8) == (layers > 1 and both)


def test_a_study_draws_every_kind_of_domain_within_its_limits() -> None:
    raw = CONDITIONAL | {
        "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
        "batch_size": {"low": 8, "high": 512, "log": True},
        "units": {"low": 32, "high": 64, "step": 8},
        "bidirectional": [True, False],
        "pooling": ["last", "max"],
        "embedding": 16,
    }
    space = parse_space(raw)
    study = random_study()
    drawn = [space.suggest(study.ask()) for _ in range(80)]
    for parameter in space.parameters:
        seen = {
            params.model_dump()[parameter.name] for params in drawn if _counts(parameter, params)
        }
        assert all(contains(parameter.domain, value) for value in seen)
        assert len(seen) == 1 if isinstance(parameter.domain, Fixed) else len(seen) > 1
    for trial, params in zip(study.trials, drawn, strict=True):
        space.check_point(trial.params)
        assert trial.params.items() <= params.model_dump().items()
        assert ("layer_dropout" in trial.params) == (params.layers == 2)
    rates = sorted(params.learning_rate for params in drawn)
    assert 1e-3 < rates[len(rates) // 2] < 1e-2  # the middle of the magnitudes


def _counts(parameter: Parameter, params: GRUParams) -> bool:
    return parameter.active(params.model_dump())


def test_an_empty_space_gives_the_defaults() -> None:
    assert Space(parameters=()).suggest(FixedTrial({})) == GRUParams()


@pytest.mark.parametrize(
    ("word", "hint"), [("unit", " Did you mean `units`?"), ("xyz", ""), ("", "")]
)
def test_only_a_near_miss_gets_a_suggestion(word: str, hint: str) -> None:
    assert suggestion(word, DEFAULTS) == hint


# --- the first guess ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"units": 64},
        {"units": {"low": 32, "high": 256, "step": 8}, "pooling": ["last", "mean_max"]},
        {"units": {"low": 200, "high": 256, "step": 8}, "pooling": ["last", "max"]},
        {"units": {"low": 33, "high": 34, "log": True}},
        {"dropout": {"low": 0.0, "high": 0.3, "step": 0.1}},
        {"dropout": {"low": 0.5, "high": 0.5}},
        {"learning_rate": {"low": 1e-4, "high": 1e-3, "log": True}},
        {"learning_rate": [0.1, 0.01, 0.001]},
        CONDITIONAL,
        CONDITIONAL | {"layers": [2, 3]},
    ],
    ids=str,
)
def test_the_first_guess_is_a_whole_point_of_the_space(raw: dict[str, object]) -> None:
    space = parse_space(raw)
    guess = space.default_point()
    space.check_point(guess)
    study = random_study()
    study.enqueue_trial(guess)
    trial = study.ask()
    space.suggest(trial)
    assert trial.params == guess
    if space.size() is not None:
        assert point_key(guess) in {point_key(point) for point in space.points()}


def test_the_first_guess_has_the_defaults_where_the_domains_hold_them() -> None:
    raw = {"units": {"low": 32, "high": 256}, "bidirectional": [False, True], "embedding": 16}
    assert parse_space(raw).default_point() == {
        "units": DEFAULTS["units"],
        "bidirectional": DEFAULTS["bidirectional"],
    }
