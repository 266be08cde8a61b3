"""What a study tunes: hyperparameters with their domains, and draws of them."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from tuner.domain import (
    Choice,
    Fixed,
    Point,
    Range,
    Scalar,
    contains,
    describe,
    members,
    n_values,
    same,
)
from tuner.errors import ConfigError, suggestion
from tuner.params import DEFAULTS, GRUParams

#: A space with more points than this is treated as inexhaustible.
MAX_FINITE_POINTS = 100_000


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A hyperparameter with its domain, and when it counts."""

    #: Field of `GRUParams`.
    name: str
    #: Where its values come from.
    domain: Fixed | Choice | Range
    #: Other parameter to the values of it under which this one counts; empty for always.
    when: Mapping[str, tuple[Scalar, ...]]

    def active(self, values: Mapping[str, Scalar]) -> bool:
        """Say whether the parameter counts, given the values of the unconditional ones."""
        return all(
            any(same(values[other], value) for value in allowed)
            for other, allowed in self.when.items()
        )

    def to_value(self) -> object:
        """Give back the form of a study file, as JSON types."""
        match self.domain:
            case Fixed(value=value):
                table: dict[str, object] = {"value": value}
                short: object = value
            case Choice(choices=choices):
                table = {"choices": list(choices)}
                short = list(choices)
            case Range(low=low, high=high, step=step, log=log):
                table = {"low": low, "high": high}
                table |= {"step": step} if step is not None else {}
                table |= {"log": True} if log else {}
                short = table
        if not self.when:
            return short
        return table | {"when": {k: _short(v) for k, v in self.when.items()}}


def _short(values: tuple[Scalar, ...]) -> object:
    return values[0] if len(values) == 1 else list(values)


class Suggester(Protocol):
    """What `suggest` needs of a trial: Optuna's `Trial` and `FixedTrial` fit."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Draw one of several values."""

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Draw a whole number."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Draw a number."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """The parameters of a study, unconditional ones first."""

    #: One entry a hyperparameter that the study file names.
    parameters: tuple[Parameter, ...]

    def suggest(self, trial: Suggester) -> GRUParams:
        """Draw one point, as all hyperparameters of a trial.

        Args:
            trial: Whatever suggests values: a trial of Optuna's, or one fed from elsewhere.

        Returns:
            All hyperparameters, with defaults where the study file names nothing or where a
            condition does not hold.
        """
        return self.complete(self.draw(trial))

    @staticmethod
    def complete(point: Mapping[str, Scalar]) -> GRUParams:
        """Give all hyperparameters of a point that `draw` gave, with defaults for the others."""
        return GRUParams(**point)  # type: ignore[arg-type]  # checked by pydantic, strictly

    def draw(self, trial: Suggester) -> Point:
        """Draw one point: a value of each parameter that counts, the fixed ones too.

        Args:
            trial: Whatever suggests values.
        """
        values: Point = {}
        for parameter in self.parameters:
            if parameter.active(self._with_defaults(values)):
                values[parameter.name] = _draw(trial, parameter)
        return values

    def points(self) -> Iterator[Point]:
        """Go through every point of a finite space, as the values that trials suggest.

        Fixed values are left out, as Optuna knows nothing of them. The order is that of the
        study file, the last parameter moving fastest.
        """
        return self._points(0, {}, {})

    def _points(self, i: int, values: Point, drawn: Point) -> Iterator[Point]:
        if i == len(self.parameters):
            yield drawn
            return
        parameter = self.parameters[i]
        if not parameter.active(self._with_defaults(values)):
            yield from self._points(i + 1, values, drawn)
        elif isinstance(parameter.domain, Fixed):
            fixed = {parameter.name: parameter.domain.value}
            yield from self._points(i + 1, values | fixed, drawn)
        else:
            for value in members(parameter.domain):
                chosen: Point = {parameter.name: value}
                yield from self._points(i + 1, values | chosen, drawn | chosen)

    def default_point(self, given: Mapping[str, Scalar] | None = None) -> Point:
        """Give the first guess: the defaults, and the middle of a domain that has not its default.

        Args:
            given: Values that the point has instead, of parameters that count with them.

        Returns:
            Values of the tuned parameters that count, as `points` gives them.
        """
        values: Point = {}
        drawn: Point = {}
        for parameter in self.parameters:
            if parameter.active(self._with_defaults(values)):
                values[parameter.name] = (given or {}).get(parameter.name, _default(parameter))
                if not isinstance(parameter.domain, Fixed):
                    drawn[parameter.name] = values[parameter.name]
        return drawn

    def filled(self, point: Mapping[str, Scalar]) -> Point:
        """Give a point as `draw` would: with the fixed values, and first guesses for what it lacks.

        Args:
            point: Values of some or all tuned parameters that count.
        """
        values: Point = {}
        for parameter in self.parameters:
            if parameter.active(self._with_defaults(values)):
                known = point.get(parameter.name)
                values[parameter.name] = _default(parameter) if known is None else known
        return values

    def tuned(self, point: Mapping[str, Scalar]) -> Point:
        """Take the values of a point that are not fixed, as `points` gives them."""
        fixed = {p.name for p in self.parameters if isinstance(p.domain, Fixed)}
        return {name: value for name, value in point.items() if name not in fixed}

    def size(self) -> int | None:
        """Count the points; None where there are more than `MAX_FINITE_POINTS`."""
        return self._size

    @cached_property
    def _size(self) -> int | None:
        bound = 1
        for parameter in self.parameters:
            n = n_values(parameter.domain)
            if n is None:
                return None
            bound *= n if not parameter.when else 1
            if bound > MAX_FINITE_POINTS:
                return None
        n_points = sum(1 for _ in itertools.islice(self.points(), MAX_FINITE_POINTS + 1))
        return None if n_points > MAX_FINITE_POINTS else n_points

    def endless(self) -> list[str]:
        """Name the parameters that have no finite list of values."""
        return [p.name for p in self.parameters if n_values(p.domain) is None]

    def check_point(self, point: Mapping[str, Scalar]) -> None:
        """Check values that somebody wants tried; some may be left out.

        Raises:
            ConfigError: One is not tuned, outside its domain, or does not count here.
        """
        known = {p.name: p for p in self.parameters}
        for name, value in point.items():
            received = f"Received {name}={value!r}."
            if name not in known:
                tuned = ", ".join(n for n, p in known.items() if not isinstance(p.domain, Fixed))
                hint = suggestion(name, known)
                raise ConfigError(
                    f"{name}: is not in this study's space.{hint} Expected some of: {tuned}. "
                    f"{received}"
                )
            domain = known[name].domain
            if isinstance(domain, Fixed):
                raise ConfigError(f"{name}: is fixed to {domain.value!r} in this study. {received}")
            if not contains(domain, value):
                raise ConfigError(f"{name}: expected {describe(domain)}. {received}")
            for other, allowed in known[name].when.items():
                given = point.get(other, _fixed_value(known[other]))
                if given is None or not any(same(given, v) for v in allowed):
                    words = " or ".join(f"{other}={v!r}" for v in allowed)
                    raise ConfigError(
                        f"{name}: counts only with {words}; give that too. {received}"
                    )

    @staticmethod
    def _with_defaults(values: Point) -> dict[str, Scalar]:
        return DEFAULTS | values


def _fixed_value(parameter: Parameter) -> Scalar | None:
    return parameter.domain.value if isinstance(parameter.domain, Fixed) else None


def _draw(trial: Suggester, parameter: Parameter) -> Scalar:
    match parameter.domain:
        case Fixed(value=value):
            return value
        case Choice(choices=choices):
            drawn: Scalar = trial.suggest_categorical(parameter.name, choices)
            return drawn
        case Range(low=int() as low, high=int() as high, step=step, log=log):
            return trial.suggest_int(parameter.name, low, high, step=int(step or 1), log=log)
        case Range(low=low, high=high, step=step, log=log):
            return trial.suggest_float(parameter.name, low, high, step=step, log=log)


def _default(parameter: Parameter) -> Scalar:
    domain, default = parameter.domain, DEFAULTS.get(parameter.name)
    if isinstance(domain, Fixed):
        return domain.value
    if default is not None and contains(domain, default):
        return default
    if isinstance(domain, Choice):
        return domain.choices[len(domain.choices) // 2]
    low, high = domain.low, domain.high
    middle = math.sqrt(low * high) if domain.log else (low + high) / 2
    if domain.step is not None:
        middle = round(low + round((middle - low) / domain.step) * domain.step, 12)
    return round(middle) if isinstance(low, int) else middle
