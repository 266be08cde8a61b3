"""What a model can be made smaller by, and which combinations are worth a look."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tuner.errors import InputError, suggestion
from tuner.packing.formats import NumberFormat

#: What changes a model itself, in the order in which it is done: a student learns with the words
#: that are left, zeros are learned with, and a table is taken apart when it is finished.
SHAPING = ("vocabulary", "distil", "prune", "low_rank")
#: How its numbers are stored then, the smallest last.
FORMATS: tuple[NumberFormat, ...] = ("float16", "int8")
#: Every step.
STEPS = (*SHAPING, *FORMATS)
#: Those that train nothing.
QUICK = ("vocabulary", "low_rank", *FORMATS)
#: Of which only one makes sense: zeros are gone from a table that is multiplied out of two.
_APART = ({"prune", "low_rank"}, set(FORMATS))


@dataclass(frozen=True, kw_only=True)
class Size:
    """What the amounts of steps are shares of."""

    #: Token ids, padding and unknown words included.
    n_ids: int
    #: Width of the word vectors.
    embedding: int
    #: Width of a GRU layer.
    units: int


@dataclass(frozen=True, kw_only=True)
class Step:
    """One way to make a model smaller."""

    #: One of `STEPS`.
    name: str
    #: How far: ids that are left, units of the student, share of zeros, rank; None for a format.
    amount: float | None = None

    def __str__(self) -> str:
        if self.amount is None:
            return self.name
        whole = self.amount.is_integer()
        return f"{self.name}:{int(self.amount) if whole else self.amount}"

    @property
    def count(self) -> int:
        """The amount, where it is a number of something."""
        return int(self.amount or 0)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Steps that are done together, in order."""

    #: The steps; none for the model as it is.
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return "+".join(map(str, self.steps)) or "original"

    @property
    def shaping(self) -> tuple[Step, ...]:
        """Those that change the model itself."""
        return tuple(step for step in self.steps if step.name in SHAPING)

    @property
    def numbers(self) -> NumberFormat:
        """How its numbers are stored."""
        names = {step.name for step in self.steps}
        return next((name for name in FORMATS if name in names), "float32")


def read_variant(text: str, size: Size) -> Variant:
    """Read steps, such as ``vocabulary:5000+int8``, in any order.

    Args:
        text: Steps with a plus between them; one without an amount has its mildest.
        size: Of the model.

    Raises:
        InputError: It says something else, or what cannot be done together.
    """
    steps = [step for part in text.split("+") for step in _read(part, size)[:1]]
    _check_names(steps, text)
    return Variant(steps=tuple(sorted(steps, key=lambda step: STEPS.index(step.name))))


def candidates(texts: Sequence[str], size: Size) -> tuple[Variant, ...]:
    """Combine steps: each format by itself, and what changes the model, in the smallest format.

    Where a step has no amount, a mild and a strong one are tried; mild ones go with mild ones.

    Args:
        texts: Steps, such as ``"int8"`` or ``"prune:0.8"``.
        size: Of the model.

    Returns:
        Each variant once, the simpler ones first.

    Raises:
        InputError: There is no such step, or there is none at all.
    """
    levels: dict[str, list[Step]] = {}
    for text in texts:
        steps = _read(text, size)
        levels.setdefault(steps[0].name, []).extend(steps)
    if not levels:
        raise InputError(f"Expected steps, of: {', '.join(STEPS)}. Received none.")
    formats = [Step(name=name) for name in FORMATS if name in levels]
    found = [Variant(steps=(step,)) for step in formats]
    for names in _together([name for name in SHAPING if name in levels]):
        found += [Variant(steps=(*steps, *formats[-1:])) for steps in _side_by_side(names, levels)]
    return tuple(dict.fromkeys(found))


def _together(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for n in range(1, len(names) + 1):
        for chosen in itertools.combinations(names, n):
            if not any(apart <= set(chosen) for apart in _APART):
                yield chosen


def _side_by_side(
    names: Sequence[str], levels: dict[str, list[Step]]
) -> Iterator[tuple[Step, ...]]:
    """Take the first level of each step, then the second one, and so on, or the last there is."""
    for level in range(max(len(levels[name]) for name in names)):
        yield tuple(levels[name][min(level, len(levels[name]) - 1)] for name in names)


def _read(text: str, size: Size) -> list[Step]:
    """Read one step, or all that are tried where no amount is given, from mild to strong."""
    name, colon, amount = text.strip().partition(":")
    if name not in STEPS:
        raise InputError(
            f"There is no step {name!r}. Expected one of: {', '.join(STEPS)}."
            f"{suggestion(name, STEPS)}"
        )
    if not colon:
        return [Step(name=name, amount=each) for each in _amounts(name, size)]
    return [Step(name=name, amount=_read_amount(name, amount, size))]


def _amounts(name: str, size: Size) -> tuple[float | None, ...]:
    match name:
        case "vocabulary":
            shares = (size.n_ids // 4, size.n_ids // 8)
            return tuple(float(max(3, n)) for n in shares)
        case "distil":
            return (float(max(1, size.units // 2)),)
        case "prune":
            return 0.8, 0.9
        case "low_rank":
            shares = (size.embedding // 4, size.embedding // 8)
            return tuple(float(max(1, n)) for n in shares)
    return (None,)


def _read_amount(name: str, text: str, size: Size) -> float:
    # Of each step: the least amount, what it must stay below or reach, and what it is.
    least, most, what = {
        "vocabulary": (3, size.n_ids - 1, "ids that are left, padding and unknown words included"),
        "distil": (1, 8_192, "units of the student"),
        "prune": (0.01, 0.99, "share of zeros"),
        "low_rank": (1, size.embedding - 1, "rank of the table of word vectors"),
    }.get(name, (0, 0, "none"))
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    is_right = least <= amount <= most and (name == "prune" or amount.is_integer())
    if not is_right or what == "none":
        expected = "no amount" if what == "none" else f"{what}, from {least:,} to {most:,}"
        raise InputError(f"{name}:{text}: expected {expected}. Received {text!r}.")
    return amount


def _check_names(steps: Sequence[Step], text: str) -> None:
    names = [step.name for step in steps]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"{text}: {twice} is there twice. Expected each step once.")
    for apart in _APART:
        if apart <= set(names):
            raise InputError(
                f"{text}: {' and '.join(sorted(apart))} do not go together. Leave one out."
            )
