"""The [space] table of a study file becomes domains, and a bad one is explained."""

from typing import Any

import pytest

from tuner.domain import Choice, Fixed, Range, Scalar
from tuner.errors import ConfigError
from tuner.space import Parameter
from tuner.space_table import parse_space

TWO_LAYERS = {"layers": [1, 2]}


def explanation(raw: dict[str, object]) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_space(raw)
    return str(caught.value)


def half(**changes: object) -> dict[str, object]:
    """A range from 0 to a half, with changes."""
    return {"low": 0.0, "high": 0.5} | changes


@pytest.mark.parametrize(
    ("name", "raw", "domain"),
    [
        ("units", 64, Fixed(value=64)),
        ("bidirectional", True, Fixed(value=True)),
        ("pooling", "last", Fixed(value="last")),
        ("learning_rate", 1, Fixed(value=1.0)),
        ("units", {"value": 64}, Fixed(value=64)),
        ("units", [32], Choice(choices=(32,))),
        ("units", [64, 32], Choice(choices=(64, 32))),
        ("bidirectional", [True, False], Choice(choices=(True, False))),
        ("learning_rate", [1, 0.1], Choice(choices=(1.0, 0.1))),
        ("pooling", {"choices": ["max"]}, Choice(choices=("max",))),
        ("units", {"low": 32, "high": 64}, Range(low=32, high=64)),
        ("units", {"low": 32, "high": 64, "step": 8}, Range(low=32, high=64, step=8)),
        ("units", {"low": 32, "high": 64, "log": True}, Range(low=32, high=64, log=True)),
        ("dropout", {"low": 0, "high": 0.5}, Range(low=0.0, high=0.5)),
        ("dropout", {"low": 0, "high": 0.6, "step": 0.2}, Range(low=0.0, high=0.6, step=0.2)),
        ("units", {"low": 32, "high": 32}, Range(low=32, high=32)),
    ],
    ids=str,
)
def test_a_scalar_is_fixed_and_a_list_a_choice_and_a_table_a_range(
    name: str, raw: object, domain: Fixed | Choice | Range
) -> None:
    (parameter,) = parse_space({name: raw}).parameters
    assert parameter == Parameter(name=name, domain=domain, when={})
    for kind in (Fixed, Choice, Range):
        if isinstance(domain, kind):
            assert list(map(type, vars(parameter.domain).values())) == list(
                map(type, vars(domain).values())
            )


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"layers": 2}, {"layers": (2,)}),
        ({"layers": [1, 2]}, {"layers": (1, 2)}),
        ({"layers": 2, "reset_after": True}, {"layers": (2,), "reset_after": (True,)}),
        ({}, {}),
    ],
    ids=str,
)
def test_a_condition_names_one_value_or_several(
    when: dict[str, object], expected: dict[str, tuple[Scalar, ...]]
) -> None:
    raw = TWO_LAYERS | {"reset_after": True, "layer_dropout": half(when=when)}
    found = {p.name: p.when for p in parse_space(raw).parameters}
    assert found["layer_dropout"] == expected
    assert found["layers"] == {}


def test_unconditional_parameters_come_first_in_the_order_of_the_file() -> None:
    raw = {
        "layer_dropout": half(when={"layers": 2}),
        "units": [32, 64],
        "dropout": half(when={"units": 32}),
        "layers": [1, 2],
    }
    names = [p.name for p in parse_space(raw).parameters]
    assert names == ["units", "layers", "layer_dropout", "dropout"]


# --- one mistake each --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            {"unit": 64},
            "space.unit: unknown hyperparameter. Did you mean `units`? Known ones: adversarial, ",
        ),
        ({"zzz": 64}, "space.zzz: unknown hyperparameter. Known ones: adversarial, "),
        ({"units": "big"}, "space.units: expected a whole number. Received 'big' (str)."),
        ({"units": 1.5}, "space.units: expected a whole number. Received 1.5 (float)."),
        ({"units": True}, "space.units: expected a whole number. Received True (bool)."),
        ({"dropout": "0.1"}, "space.dropout: expected a number. Received '0.1' (str)."),
        ({"bidirectional": 1}, "space.bidirectional: expected true or false. Received 1 (int)."),
        (
            {"pooling": "avg"},
            "space.pooling: expected 'last', 'max', 'mean', 'mean_max' or 'attention'. ",
        ),
        ({"units": 0}, "space.units: expected a number greater than or equal to 1. Received 0"),
        ({"dropout": 1.0}, "space.dropout: expected a number less than 1. Received 1.0 (float)."),
        ({"dropout": float("nan")}, "space.dropout: expected a finite number. Received nan "),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_bad_value_is_explained(raw: dict[str, object], message: str) -> None:
    assert explanation(raw).startswith(message)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ([], "space.units: expected a list of at least one value. Received []."),
        ({"choices": 64}, "space.units: expected a list of at least one value. Received 64."),
        ([32, 32], "space.units: expected distinct values. Received [32, 32]."),
        ([32, "x"], "space.units: expected a whole number. Received 'x' (str)."),
        ([32, 9999], "space.units: expected a number less than or equal to 8192. Received 9999"),
    ],
    ids=str,
)
def test_a_bad_choice_is_explained(choices: object, message: str) -> None:
    assert explanation({"units": choices}).startswith(message)


def test_choices_that_are_equal_as_numbers_are_not_distinct() -> None:
    message = "space.learning_rate: expected distinct values. Received [1, 1.0]."
    assert explanation({"learning_rate": [1, 1.0]}) == message


@pytest.mark.parametrize(
    ("name", "table", "message"),
    [
        ("units", {}, "space.units.low: missing. A range needs low and high. Received {}."),
        ("units", {"low": 3}, "space.units.high: missing. A range needs low and high. Received "),
        (
            "units",
            {"low": 64, "high": 32},
            "space.units: low must not be above high. Received low = 64, high = 32. Swap them.",
        ),
        (
            "learning_rate",
            {"low": 0, "high": 1, "log": True},
            "space.learning_rate.low: a log range must start above 0. Received 0. "
            "Use a small positive number or drop log.",
        ),
        (
            "dropout",
            half(log=True),
            "space.dropout.low: a log range must start above 0. Received 0.0. ",
        ),
        (
            "units",
            {"low": 32, "high": 100, "step": 8},
            "space.units: steps of 8 from 32 miss high = 100. Use high = 96 or 104.",
        ),
        (
            "dropout",
            half(step=0.2),
            "space.dropout: steps of 0.2 from 0.0 miss high = 0.5. Use high = 0.4 or 0.6.",
        ),
        (
            "dropout",
            {"low": 0.0, "high": 0.9, "step": 0.2},
            "space.dropout: steps of 0.2 from 0.0 miss high = 0.9. Use high = 0.8.",
        ),
        (
            "units",
            {"low": 32, "high": 64, "step": 8, "log": True},
            "space.units: step and log exclude each other. Drop one of them.",
        ),
        (
            "units",
            {"low": 32, "high": 64, "step": 0},
            "space.units.step: expected a number above 0. Received 0.",
        ),
        (
            "units",
            {"low": 32, "high": 64, "step": 0.5},
            "space.units.step: expected a whole number. Received 0.5.",
        ),
        (
            "units",
            {"low": 32, "high": 64, "step": "8"},
            "space.units.step: expected a number. Received '8' (str).",
        ),
        (
            "units",
            {"low": "a", "high": 64},
            "space.units.low: expected a number. Received 'a' (str).",
        ),
        (
            "units",
            {"low": True, "high": 64},
            "space.units.low: expected a number. Received True (bool).",
        ),
        (
            "dropout",
            {"low": 0.0, "high": float("inf")},
            "space.dropout.high: expected a number. Received inf (float).",
        ),
        ("dropout", {"low": 0.0, "high": 10**400}, "space.dropout.high: expected a number. "),
        (
            "units",
            {"low": 32.0, "high": 64},
            "space.units.low: expected a whole number. Received 32.0 (float).",
        ),
        (
            "learning_rate",
            {"low": 0.001, "high": 100},
            "space.learning_rate.high: expected a number less than or equal to 10. Received 100",
        ),
        (
            "units",
            {"low": 32, "high": 64, "log": 1},
            "space.units.log: expected true or false. Received 1.",
        ),
        (
            "units",
            {"low": 32, "high": 64, "stp": 8},
            "space.units.stp: unknown key. Did you mean `step`? "
            "A range has low, high and perhaps step, log, when.",
        ),
        (
            "units",
            {"low": 32, "high": 64, "value": 48},
            "space.units: value and high exclude each other. Expected value, or choices, "
            "or low and high. ",
        ),
        (
            "units",
            {"value": 48, "choices": [48]},
            "space.units: value and choices exclude each other. ",
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_bad_range_is_explained(name: str, table: dict[str, object], message: str) -> None:
    assert explanation({name: table}).startswith(message)


@pytest.mark.parametrize(
    ("name", "example"), [("bidirectional", "[True]"), ("pooling", "['mean_max']")]
)
def test_a_range_of_what_has_no_order_is_refused_with_an_example(name: str, example: str) -> None:
    assert explanation({name: {"low": 0, "high": 1}}) == (
        f"space.{name}: a range needs numbers; expected a list of choices such as {example}. "
        "Received {'low': 0, 'high': 1}."
    )


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            {"dropout": half(when={"layers": 2})},
            "space.dropout.when: the condition is on 'layers', which is not in [space]. "
            "Add layers to [space], such as layers = [2].",
        ),
        (
            TWO_LAYERS | {"dropout": half(when={"layer": 2})},
            "space.dropout.when: the condition is on 'layer', which is not in [space]. "
            "Expected one of: layers. Did you mean `layers`?",
        ),
        (
            {"dropout": half(when={"zzz": 2})},
            "space.dropout.when: the condition is on 'zzz', which is not in [space]. "
            "Drop the condition.",
        ),
        (
            TWO_LAYERS
            | {
                "units": {"choices": [8, 16], "when": {"layers": 2}},
                "dropout": half(when={"units": 8}),
            },
            "space.dropout.when: 'units' is conditional itself. Expected a condition on a "
            "parameter that always counts.",
        ),
        (
            {"dropout": half(when={"dropout": 0.1})},
            "space.dropout.when: 'dropout' cannot depend on itself. Name another parameter.",
        ),
        (
            TWO_LAYERS | {"dropout": half(when={"layers": 3})},
            "space.dropout.when: layers is never 3. Expected one of 1, 2. Received layers = 3.",
        ),
        (
            TWO_LAYERS | {"dropout": half(when={"layers": [2, 3]})},
            "space.dropout.when: layers is never 3. Expected one of 1, 2. Received layers = 3.",
        ),
        (
            {"layers": 1, "dropout": half(when={"layers": 2})},
            "space.dropout.when: layers is never 2. Expected 1. Received layers = 2.",
        ),
        (
            {"layers": 1, "dropout": half(when={"layers": True})},
            "space.dropout.when: layers is never True. Expected 1. Received layers = True.",
        ),
        (
            {"units": {"low": 8, "high": 16, "step": 8}, "dropout": half(when={"units": 9})},
            "space.dropout.when: units is never 9. Expected a whole number from 8 to 16 in steps "
            "of 8. Received units = 9.",
        ),
        (
            {"embedding_dropout": half(), "dropout": half(when={"embedding_dropout": 0.2})},
            "space.dropout.when: embedding_dropout is a number from 0.0 to 0.5, hardly ever one of "
            "them exactly. Give embedding_dropout choices or a step, or condition on another "
            "parameter.",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_condition_that_cannot_be_met_is_explained(raw: dict[str, object], message: str) -> None:
    assert explanation(raw) == message


@pytest.mark.parametrize("when", [2, "layers", [2], {"layers": []}, {"layers": [{}]}], ids=str)
def test_a_condition_of_the_wrong_shape_is_explained(when: Any) -> None:
    assert explanation(TWO_LAYERS | {"dropout": half(when=when)}) == (
        "space.dropout.when: expected a table such as { layers = 2 } or { layers = [2, 3] }. "
        f"Received {when!r}."
    )
