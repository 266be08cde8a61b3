"""Which points of an earlier study a new one begins with, and what of them does not fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner.config import StudyConfig
from tuner.domain import Choice, Fixed, Point, Scalar, contains, describe, point_key, same
from tuner.params import DEFAULTS
from tuner.space import Parameter, Space
from tuner.urls import is_url

#: Of a study's trials, one in so many takes a point of the earlier study ...
SHARE = 6
#: ... but no more than these: they are for a start, and what follows is the sampler's to find.
MOST = 10


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A finished trial of an earlier study."""

    #: Its number there.
    number: int
    #: All its hyperparameters, fixed ones included.
    params: Mapping[str, Scalar]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What becomes of an earlier trial's point in a new study."""

    #: The trial's number in the earlier study.
    number: int
    #: The values to plan; what a whole point has besides is the sampler's to choose.
    point: Point
    #: Each value that does not fit, with what is done about it, for people.
    misfits: tuple[str, ...]
    #: Why the point is left out, for people; empty where it is planned.
    left_out: str


def n_wanted(config: StudyConfig) -> int:
    """Say how many points a study begins with, beside its default point."""
    return min(MOST, max(1, config.n_slots // SHARE))


def fit_points(config: StudyConfig, earlier: Sequence[Earlier]) -> tuple[Fitted, ...]:
    """Fit the points of earlier trials into the space of a new study.

    A trial has a value of every hyperparameter, be it drawn, fixed or a default. So a parameter
    that only the new study tunes gets the value that the earlier trial was trained with. A value
    that does not fit is left to the sampler, not moved to the nearest that does: the end of a range
    is a point that nobody has tried. In a finite space, where no point may come twice, it becomes
    the default.

    Args:
        config: The new study.
        earlier: Trials with different hyperparameters, best first.

    Returns:
        What becomes of each, in the same order.
    """
    space = config.space
    planned: dict[str, str] = {}
    if config.sampler.learns:
        planned[point_key(space.default_point())] = "the default point, which runs first anyway"
    fitted = []
    for trial in earlier:
        point, misfits = _fit(space, trial.params)
        known = planned.get(point_key(point), "")
        left_out = f"what fits is {known}" if known else "" if point else "nothing of it fits"
        if not left_out:
            planned[point_key(point)] = f"what trial {trial.number} gives"
        fitted.append(Fitted(number=trial.number, point=point, misfits=misfits, left_out=left_out))
    return tuple(fitted)


def _fit(space: Space, params: Mapping[str, Scalar]) -> tuple[Point, tuple[str, ...]]:
    """Give the values that fit, and say what does not."""
    theirs = DEFAULTS | dict(params)
    tuned = {p.name: p for p in space.parameters}
    otherwise = "takes its default" if space.size() is not None else "is left to the sampler"
    point: Point = {}
    misfits: list[str] = []
    #: What the point has here of the parameters that others depend on; None: not known yet.
    here: dict[str, Scalar | None] = dict(DEFAULTS)
    for name in [*tuned, *(name for name in theirs if name not in tuned)]:
        value, parameter = theirs[name], tuned.get(name)
        why = ""
        if parameter is None:
            why = _unless_same(value, DEFAULTS.get(name), "is not in the new space, where it is")
        elif missing := _unmet(parameter, here):
            why = _unless_same(
                value, DEFAULTS[name], f"counts only with {missing} in the new study; else it is"
            )
        elif isinstance(parameter.domain, Fixed):
            here[name] = parameter.domain.value
            why = _unless_same(value, parameter.domain.value, "is fixed in the new study, to")
        elif contains(parameter.domain, value):
            here[name] = point[name] = _of_domain(parameter.domain, value)
        else:
            here[name] = None
            why = f"is not {describe(parameter.domain)}; it {otherwise}"
        if why:
            misfits.append(f"{name} = {value!r} {why}")
    if point and space.size() is not None:
        point = space.default_point(point)
    return point, tuple(misfits)


def _unless_same(value: Scalar, other: Scalar | None, words: str) -> str:
    return "" if other is not None and same(value, other) else f"{words} {other!r}"


def _unmet(parameter: Parameter, here: Mapping[str, Scalar | None]) -> str:
    """Say what a parameter's condition lacks; empty where it holds."""
    for other, allowed in parameter.when.items():
        given = here[other]
        if given is None or not any(same(given, value) for value in allowed):
            return " or ".join(f"{other} = {value!r}" for value in allowed)
    return ""


def _of_domain(domain: object, value: Scalar) -> Scalar:
    """Give a choice as the study file has it, since Optuna knows no other."""
    if not isinstance(domain, Choice):
        return value
    return next(choice for choice in domain.choices if same(choice, value))


def unlike(config: StudyConfig, earlier: StudyConfig) -> tuple[str, ...]:
    """Say what else differs, so that the earlier study's best need not be the new one's."""
    pairs = {
        "metric": (earlier.metric, config.metric),
        "metrics": (_further(earlier), _further(config)),
        "constraints": (earlier.constraints or None, config.constraints or None),
        "budget.epochs": (earlier.budget.epochs, config.budget.epochs),
        "seed": (earlier.seed, config.seed),
    }
    old, new = earlier.data.model_dump(), config.data.model_dump()
    pairs |= {f"data.{key}": (old[key], new[key]) for key in new}
    pairs["data.source"] = (_place(earlier), _place(config))
    return tuple(
        f"{key} was {_told(was)} and is {_told(now)}"
        for key, (was, now) in pairs.items()
        if was != now
    )


def _further(config: StudyConfig) -> list[str] | None:
    return None if config.metrics is None else list(config.objectives)


def _told(value: object) -> str:
    return "not given" if value is None else repr(value)


def _place(config: StudyConfig) -> str:
    """Name a study's data so that files of one name in different folders differ."""
    source = config.data.source
    if source in {"demo", "imdb"} or is_url(source) or Path(source).is_absolute():
        return source
    return str(config.folder / source)
