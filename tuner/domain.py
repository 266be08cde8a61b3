"""Where a hyperparameter's values come from: one value, a choice, or a range."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Scalar: TypeAlias = bool | int | float | str
Point: TypeAlias = dict[str, Scalar]


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """One value for every trial."""

    #: The value.
    value: Scalar


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of several values."""

    #: The values, in the order of the study file.
    choices: tuple[Scalar, ...]


@dataclass(frozen=True, kw_only=True)
class Range:
    """Any number from low to high, both included."""

    #: Smallest value; an int for a whole-number parameter, like ``high`` and ``step``.
    low: float
    #: Largest value.
    high: float
    #: Distance of neighbouring values; ``None`` for any float or every whole number.
    step: float | None = None
    #: Whether magnitudes are equally likely rather than values.
    log: bool = False


def contains(domain: Fixed | Choice | Range, value: Scalar) -> bool:
    """Say whether a value lies in a domain; a whole number also counts as a float, no float whole.

    Booleans are no numbers.
    """
    if isinstance(domain, Fixed):
        return contains(Choice(choices=(domain.value,)), value)
    if isinstance(domain, Choice):
        return any(
            same(value, c) and (isinstance(c, float) or not isinstance(value, float))
            for c in domain.choices
        )
    if isinstance(value, bool | str) or not domain.low <= value <= domain.high:
        return False
    if isinstance(domain.low, int) and isinstance(domain.high, int):
        return isinstance(value, int) and (value - domain.low) % (domain.step or 1) == 0
    return domain.step is None or near_whole((value - domain.low) / domain.step)


def matches(point: Mapping[str, Scalar], values: Mapping[str, Scalar]) -> bool:
    """Say whether a point has all the values, but for the rounding of steps."""
    return all(name in point and same(point[name], value) for name, value in values.items())


def same(one: Scalar, other: Scalar) -> bool:
    """Say whether two values are equal, but for the rounding of steps."""
    if isinstance(one, bool | str) or isinstance(other, bool | str):
        return type(one) is type(other) and one == other
    return math.isclose(one, other, rel_tol=1e-12)


def point_key(point: Mapping[str, Scalar]) -> str:
    """Write a point so that equal points are equal text.

    Samplers reach the values of a stepped range by other roundings than `Space.points`, so that
    0.1 + 2 * 0.1 is also 0.3, and a person's 0 is 0.0.
    """
    return json.dumps({name: _tidy(value) for name, value in point.items()}, sort_keys=True)


def _tidy(value: Scalar) -> Scalar:
    if not isinstance(value, float):
        return value
    rounded = float(f"{value:.12g}")
    return int(rounded) if rounded.is_integer() else rounded


def describe(domain: Fixed | Choice | Range) -> str:
    """Say in words what a domain holds."""
    match domain:
        case Fixed(value=value):
            return repr(value)
        case Choice(choices=choices):
            return "one of " + ", ".join(repr(c) for c in choices)
        case Range(low=low, high=high, step=step, log=log):
            stepped = f" in steps of {step}" if step not in (None, 1) else ""
            kind = (
                "a whole number" if isinstance(low, int) and isinstance(high, int) else "a number"
            )
            return f"{kind} from {low} to {high}{stepped}{' (log)' if log else ''}"


def n_values(domain: Fixed | Choice | Range) -> int | None:
    """Count the values; None for a range of floats without a step."""
    match domain:
        case Fixed():
            return 1
        case Choice(choices=choices):
            return len(choices)
        case Range(low=int(), high=int()):
            return int((domain.high - domain.low) // (domain.step or 1)) + 1
        case Range(low=low, high=high) if low == high:
            return 1
        case Range(step=step):
            return None if step is None else round((domain.high - domain.low) / step) + 1


def members(domain: Choice | Range) -> Iterator[Scalar]:
    """Go through the values of a finite domain, in order."""
    if isinstance(domain, Choice):
        yield from domain.choices
        return
    step = domain.step or 1
    for i in range(n_values(domain) or 0):
        value = domain.low + i * step
        yield value if isinstance(value, int) else min(float(f"{value:.12g}"), domain.high)


def near_whole(number: float) -> bool:
    """Say whether a number is whole but for rounding."""
    return abs(number - round(number)) < 1e-9
