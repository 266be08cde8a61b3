"""One weight as it is stored: floats, or int8 with scales."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]

#: Name of the table of word vectors: its layer's and its own.
TABLE = "embedding/embeddings"
#: Types that numbers are stored in.
DTYPES = tuple(map(np.dtype, (np.float32, np.float16, np.int8)))


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A weight, or one of its factors."""

    #: float32, float16 or int8.
    numbers: npt.NDArray[Any]
    #: What int8 numbers are to be multiplied by, float16, (rows, 1) or (1, columns); None for
    #: floats.
    scale: npt.NDArray[np.float16] | None = None

    def value(self) -> Floats:
        """Give the weight as a net computes with it."""
        floats = self.numbers.astype(np.float32)
        return floats if self.scale is None else floats * self.scale.astype(np.float32)
