"""Read the ``[space]`` table of a study file into a `Space`, and explain a bad one."""

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from tuner.domain import Choice, Fixed, Range, Scalar, contains, describe, near_whole
from tuner.errors import ConfigError, suggestion
from tuner.params import DEFAULTS, GRUParams
from tuner.space import Parameter, Space

_FIELDS = GRUParams.model_fields
_TABLE_KEYS = {"low", "high", "step", "log", "choices", "value", "when"}
_LIMITS = {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}
_KINDS = {"int_type": "a whole number", "float_type": "a number", "bool_type": "true or false"}


def parse_space(raw: Mapping[str, object]) -> Space:
    """Read the ``[space]`` table of a study file.

    Args:
        raw: Parameter name to a scalar (fixed), a list (choice) or a table (range, or anything
            with a ``when``).

    Raises:
        ConfigError: With the key, what was received and what was expected.
    """
    parameters = [_parse_parameter(name, value) for name, value in raw.items()]
    by_name = {p.name: p for p in parameters}
    for parameter in parameters:
        for other, allowed in parameter.when.items():
            _check_condition(parameter.name, other, allowed, by_name)
    parameters.sort(key=lambda p: bool(p.when))  # stable: conditions are known before they count
    return Space(parameters=tuple(parameters))


def _check_condition(
    name: str, other: str, allowed: tuple[Scalar, ...], by_name: Mapping[str, Parameter]
) -> None:
    key = f"space.{name}.when"
    if other == name:
        raise ConfigError(f"{key}: {name!r} cannot depend on itself. Name another parameter.")
    if other not in by_name:
        known = [n for n, p in by_name.items() if n != name and not p.when]
        hint = suggestion(other, known)
        if hint or other not in _FIELDS:
            mend = f"Expected one of: {', '.join(known)}.{hint}" if known else "Drop the condition."
        else:
            mend = f"Add {other} to [space], such as {other} = [{_example(allowed)}]."
        raise ConfigError(f"{key}: the condition is on {other!r}, which is not in [space]. {mend}")
    if by_name[other].when:
        raise ConfigError(
            f"{key}: {other!r} is conditional itself. Expected a condition on a parameter that "
            f"always counts."
        )
    domain = by_name[other].domain
    if isinstance(domain, Range) and isinstance(domain.low, float) and domain.step is None:
        raise ConfigError(
            f"{key}: {other} is {describe(domain)}, hardly ever one of them exactly. "
            f"Give {other} choices or a step, or condition on another parameter."
        )
    for value in allowed:
        if not contains(domain, value):
            raise ConfigError(
                f"{key}: {other} is never {value!r}. Expected {describe(domain)}. "
                f"Received {other} = {value!r}."
            )


def _parse_parameter(name: str, raw: object) -> Parameter:
    key = f"space.{name}"
    if name not in _FIELDS:
        known = ", ".join(sorted(_FIELDS))
        raise ConfigError(
            f"{key}: unknown hyperparameter.{suggestion(name, _FIELDS)} Known ones: {known}."
        )
    when: dict[str, tuple[Scalar, ...]] = {}
    if isinstance(raw, dict):
        if unknown := sorted(set(raw) - _TABLE_KEYS):
            raise ConfigError(
                f"{key}.{unknown[0]}: unknown key.{suggestion(unknown[0], _TABLE_KEYS)} "
                f"A range has low, high and perhaps step, log, when."
            )
        forms = [k for k in ("value", "choices") if k in raw]
        if forms and (others := sorted(set(raw) - {forms[0], "when"})):
            raise ConfigError(
                f"{key}: {forms[0]} and {others[0]} exclude each other. Expected value, or "
                f"choices, or low and high. Received {raw!r}. Drop one of them."
            )
        when = _parse_when(key, raw.get("when", {}))
    return Parameter(name=name, domain=_parse_domain(name, raw), when=when)


def _parse_when(key: str, raw: object) -> dict[str, tuple[Scalar, ...]]:
    when: dict[str, tuple[Scalar, ...]] = {}
    for other, value in raw.items() if isinstance(raw, dict) else ():
        values = value if isinstance(value, list) else [value]
        if values and all(isinstance(v, bool | int | float | str) for v in values):
            when[other] = tuple(values)
    if not isinstance(raw, dict) or len(when) < len(raw):
        raise ConfigError(
            f"{key}.when: expected a table such as {{ layers = 2 }} or {{ layers = [2, 3] }}. "
            f"Received {raw!r}."
        )
    return when


def _parse_domain(name: str, raw: object) -> Fixed | Choice | Range:
    key = f"space.{name}"
    if isinstance(raw, dict):
        if "value" in raw:
            return Fixed(value=_check(name, raw["value"], key))
        if "choices" in raw:
            return _parse_choice(name, raw["choices"])
        return _parse_range(name, raw)
    if isinstance(raw, list):
        return _parse_choice(name, raw)
    return Fixed(value=_check(name, raw, key))


def _parse_choice(name: str, raw: object) -> Choice:
    key = f"space.{name}"
    if not isinstance(raw, list) or not raw:
        raise ConfigError(f"{key}: expected a list of at least one value. Received {raw!r}.")
    choices = tuple(_check(name, value, key) for value in raw)
    if len(set(choices)) < len(choices):
        raise ConfigError(f"{key}: expected distinct values. Received {raw!r}.")
    return Choice(choices=choices)


def _parse_range(name: str, raw: Mapping[str, object]) -> Range:
    key = f"space.{name}"
    if missing := [k for k in ("low", "high") if k not in raw]:
        raise ConfigError(
            f"{key}.{missing[0]}: missing. A range needs low and high. Received {dict(raw)!r}."
        )
    if isinstance(DEFAULTS[name], bool | str):
        raise ConfigError(
            f"{key}: a range needs numbers; expected a list of choices such as "
            f"[{DEFAULTS[name]!r}]. Received {dict(raw)!r}."
        )
    log = raw.get("log", False)
    if not isinstance(log, bool):
        raise ConfigError(f"{key}.log: expected true or false. Received {log!r}.")
    low, high = _number(raw["low"], f"{key}.low"), _number(raw["high"], f"{key}.high")
    if low > high:
        raise ConfigError(
            f"{key}: low must not be above high. Received low = {low}, high = {high}. Swap them."
        )
    if log and low <= 0:
        raise ConfigError(
            f"{key}.low: a log range must start above 0. Received {low}. "
            f"Use a small positive number or drop log."
        )
    step = _number(raw["step"], f"{key}.step") if "step" in raw else None
    if step is not None and step <= 0:
        raise ConfigError(f"{key}.step: expected a number above 0. Received {step}.")
    if step is not None and log:
        raise ConfigError(f"{key}: step and log exclude each other. Drop one of them.")
    low_checked, high_checked = _check(name, low, f"{key}.low"), _check(name, high, f"{key}.high")
    whole = isinstance(DEFAULTS[name], int)
    if whole and step is not None and not isinstance(step, int):
        raise ConfigError(f"{key}.step: expected a whole number. Received {step}.")
    if step is not None and not near_whole((high - low) / step):
        reached = low + math.floor((high - low) / step) * step
        mends = [round(end, 12) for end in (reached, reached + step) if _allowed(name, end)]
        raise ConfigError(
            f"{key}: steps of {step} from {low} miss high = {high}. "
            f"Use high = {' or '.join(str(end) for end in mends)}."
        )
    return (
        Range(low=float(low_checked), high=float(high_checked), step=step, log=log)
        if (not whole)
        else Range(low=int(low_checked), high=int(high_checked), step=step, log=log)
    )


def _number(value: object, key: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e300 < value < 1e300:
        raise ConfigError(f"{key}: expected a number. Received {value!r} ({type(value).__name__}).")
    return value


def _example(values: tuple[Scalar, ...]) -> str:
    return ", ".join(json.dumps(value) for value in values)


def _allowed(name: str, value: object) -> bool:
    try:
        _check(name, value, name)
    except ConfigError:
        return False
    return True


def _check(name: str, value: object, key: str) -> Scalar:
    """Check a value against the type and limits of the hyperparameter."""
    field = _FIELDS[name]
    kind: Any = field.annotation
    limited: Any = Annotated[kind, *field.metadata] if field.metadata else kind
    try:
        # What a study holds is stored as JSON, which knows no infinity.
        config = ConfigDict(strict=True, allow_inf_nan=False)
        checked: Scalar = TypeAdapter(limited, config=config).validate_python(value)
    except ValidationError as error:
        item = error.errors()[0]
        expected = _KINDS.get(item["type"]) or item["msg"].removeprefix("Input should be ")
        if item["type"] in _LIMITS:
            expected = f"a number {expected}"
        raise ConfigError(
            f"{key}: expected {expected}. Received {value!r} ({type(value).__name__})."
        ) from error
    return checked
