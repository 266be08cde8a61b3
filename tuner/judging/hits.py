"""What a model got right, counted by what belongs together, and how two such counts vary."""

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from tuner.judging.intervals import Rows
from tuner.metrics import Labels, Probabilities

#: Attribute of a trial that confirms: `Hits.to_text`.
HITS = "hits"
#: Likewise: how far its value would differ on other examples, a standard deviation.
STANDARD_ERROR = "standard_error"


@dataclass(frozen=True, kw_only=True)
class Hits:
    """Right answers of a model on a set of examples.

    Examples that belong together, such as those of a movie, are alike and tell less than as many
    others: they are one unit here.
    """

    #: Right answers in each unit; int64, (n_units,).
    right: Rows
    #: Examples in each unit; int64, (n_units,).
    size: Rows

    @classmethod
    def of(cls, labels: Labels, probabilities: Probabilities, units: Rows) -> Self:
        """Count.

        Args:
            labels: True classes; int32, (n,).
            probabilities: float32, (n, n_classes).
            units: What belongs together, by number from 0; int64, (n,).
        """
        is_right = np.argmax(probabilities, axis=1) == labels
        right = np.bincount(units, weights=is_right).astype(np.int64)
        return cls(right=right, size=np.bincount(units).astype(np.int64))

    @property
    def share(self) -> float:
        """The accuracy."""
        return float(self.right.sum() / self.size.sum())

    def to_text(self) -> str:
        """Write it shortly: a fifth of a byte for an example by itself, two for a group."""
        counts = np.stack([self.right, self.size]).astype("<u4").tobytes()
        return base64.b64encode(zlib.compress(counts, 9)).decode()

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what `to_text` wrote."""
        counts = np.frombuffer(zlib.decompress(base64.b64decode(text)), "<u4")
        right, size = counts.reshape(2, -1).astype(np.int64)
        return cls(right=right, size=size)


def covariances(judged: Sequence[Hits]) -> npt.NDArray[np.float64]:
    """Say how accuracies on the same examples would vary, and do so together, on other examples.

    Args:
        judged: Of some models, on the same units.

    Returns:
        float64, (n_models, n_models).

    References:
        Cochran 1977, "Sampling techniques", 6.3 (the variance of a ratio, here of sums over units).
    """
    right = np.stack([hits.right for hits in judged])  # (n_models, n_units)
    size = judged[0].size
    n, n_units = size.sum(), len(size)
    off = right - right.sum(axis=1, keepdims=True) / n * size
    result: npt.NDArray[np.float64] = off @ off.T / n**2 * (n_units / max(n_units - 1, 1))
    return result


def correlations(judged: Sequence[Hits]) -> npt.NDArray[np.float64]:
    """Say how much what examples do to a model's accuracy they do to another's too.

    Args:
        judged: Of some models, on the same units.

    Returns:
        float64, (n_models, n_models), from 0 to 1; 0 for a model to whose accuracy they do nothing.
    """
    together = covariances(judged)
    spread = np.sqrt(together.diagonal())
    products = np.outer(spread, spread)
    shares = np.zeros_like(together)
    np.divide(together, products, out=shares, where=products > 0)
    return shares.clip(0.0, 1.0)
