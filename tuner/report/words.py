"""Numbers, times and values of a study as people read them."""

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime

from tuner.domain import Scalar
from tuner.metrics import STEPS_PER_EPOCH


def number(value: float) -> str:
    """Write a number with four significant digits or decimals."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    if value == int(value) and abs(value) < 1e10:
        return f"{int(value):,}"  # bytes, for example
    return f"{value:.4f}" if 0.01 <= abs(value) < 10_000 else f"{value:.3g}"


def setting(value: Scalar) -> str:
    """Write a hyperparameter's value."""
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def duration(seconds: float) -> str:
    """Write a duration in its two largest units."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def share(part: float, whole: float) -> str:
    """Write a part of a whole in per cent, on one line."""
    percent = 100 * part / whole if whole else 0.0
    digits = 1 if 0 < percent < 9.95 else 0
    return f"{percent:.{digits}f}\N{NO-BREAK SPACE}%"


def count(n: int, word: str, plural: str = "") -> str:
    """Write how many of something there are."""
    return f"{n:,} {word if n == 1 else plural or f'{word}s'}"


def listed(words: Sequence[str]) -> str:
    """Join words as in a sentence."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def epochs(steps: float) -> str:
    """Write reported steps in epochs."""
    return f"{steps / STEPS_PER_EPOCH:,.4g}"


def moment(when: datetime) -> str:
    """Write a time to the minute, in UTC."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
