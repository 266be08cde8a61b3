"""Numbers of less precision: float16, or int8 with a scale for each row or column."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tuner.errors import InputError
from tuner.packing.factors import LEFT
from tuner.packing.stored import TABLE, Floats, Stored

NumberFormat: TypeAlias = Literal["float32", "float16", "int8"]

#: How the names of matrices end that multiply inputs or states.
KERNEL = "kernel"
#: The largest int8 number that is used: the same on both sides of 0.
_LARGEST = 127


def store(weights: Mapping[str, Floats], numbers: NumberFormat) -> dict[str, Stored]:
    """Give weights the numbers that they are stored with.

    Of int8, word vectors have a scale each, and kernels one for each output. What is small and
    delicate is float16 then: biases, and what turns short word vectors into long ones.

    Args:
        weights: By name, finite.
        numbers: What to store.

    Raises:
        InputError: A weight is too large for that.
    """
    if numbers == "float32":
        return {name: Stored(numbers=weight) for name, weight in weights.items()}
    stored = {}
    for name, weight in weights.items():
        axis = _scaled_axis(name, weight) if numbers == "int8" else None
        try:
            stored[name] = _as_int8(weight, axis) if axis is not None else _as_float16(weight)
        except InputError as error:
            raise InputError(f"The weight {name!r} {error}.") from error
    return stored


def _scaled_axis(name: str, weight: Floats) -> int | None:
    """Say along which axis numbers share a scale; None where int8 saves nothing."""
    if name in (TABLE, TABLE + LEFT):
        return 1
    return 0 if name.endswith(KERNEL) and weight.ndim == 2 else None


def _as_int8(weight: Floats, axis: int) -> Stored:
    r"""Round to whole multiples of a scale.

    .. math:: |w - s q| \le s / 2, \qquad s = \max |w| / 127,

    where the scale :math:`s` is itself rounded up to float16.
    """
    scale = _rounded_up(np.abs(weight).max(axis=axis, keepdims=True).astype(np.float64) / _LARGEST)
    divisor = np.where(scale > 0, scale, 1).astype(np.float64)
    whole = np.rint(weight / divisor) * (scale > 0)
    return Stored(numbers=whole.astype(np.int8), scale=scale)


def _rounded_up(scale: npt.NDArray[np.float64]) -> npt.NDArray[np.float16]:
    nearest = _to_float16(scale)
    above: npt.NDArray[np.float16] = np.nextafter(nearest, np.float16(np.inf))
    rounded = np.where(nearest.astype(np.float64) < scale, above, nearest)
    return rounded.astype(np.float16)


def _as_float16(weight: Floats) -> Stored:
    return Stored(numbers=_to_float16(weight))


def _to_float16(values: npt.NDArray[Any]) -> npt.NDArray[np.float16]:
    largest = float(np.abs(values).max(initial=0))
    if not largest < float(np.finfo(np.float16).max):
        raise InputError(
            f"is too large for numbers of less precision ({largest:g}). Expected at most "
            f"{np.finfo(np.float16).max:g} for float16, and 127 times that for int8. Leave these "
            f"steps out"
        )
    return values.astype(np.float16)
