"""What was measured, kept as lines of JSON, so that nothing is measured twice."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from tests.benchmarks.peers.protocol import Params, Table


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What must be equal in measurements that are compared."""

    #: SHA-256 of the reviews, shortened.
    reviews: str
    #: How many there are.
    n_reviews: int
    #: Words of a review that are read.
    words: int
    #: Minutes that everybody has.
    minutes: float


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A contestant's time with one seed."""

    #: Whose code trained.
    table: Table
    #: Name of the contestant.
    contestant: str
    #: Of the split, and of whatever was drawn.
    seed: int
    #: What was measured on.
    setting: Setting
    #: From its start to its end.
    seconds: float
    #: Seconds and validation accuracy of each evaluation, by time.
    evaluations: tuple[tuple[float, float], ...]
    #: Trials by how they ended.
    trials: Mapping[str, int]
    #: Hyperparameters of the best evaluation.
    params: Params
    #: Epochs that led to it.
    epoch: int
    #: Of what these led to once more; None where there are no test reviews.
    test_accuracy: float | None
    #: Package to version.
    versions: Mapping[str, str]

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from other measurements."""
        return self.table, self.contestant, self.seed, self.setting

    @property
    def final(self) -> float:
        """The best validation accuracy."""
        return self.best_at(math.inf)

    def best_at(self, seconds: float) -> float:
        """Give the best validation accuracy so far at a time; not a number where there is none."""
        values = [value for at, value in self.evaluations if at <= seconds]
        return max(values, default=math.nan)

    def seconds_to(self, accuracy: float) -> float:
        """Give the seconds until a validation accuracy was reached; infinite where it was not."""
        return min((at for at, value in self.evaluations if value >= accuracy), default=math.inf)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Read what `asdict` and JSON made of one."""
        evaluations = tuple((at, value) for at, value in row["evaluations"])
        setting = Setting(**row["setting"])
        return cls(**{**row, "evaluations": evaluations, "setting": setting})


class Results:
    """All measurements, in a file.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        rows = map(json.loads, text.splitlines())
        #: By key; of those with the same key the last one counts.
        self._all = {one.key: one for one in map(Measurement.from_json, rows)}

    def get(self, table: Table, contestant: str, seed: int, setting: Setting) -> Measurement | None:
        """Give a measurement, where it was made."""
        return self._all.get((table, contestant, seed, setting))

    def of(self, table: Table, setting: Setting) -> Sequence[Measurement]:
        """Give all measurements of a table."""
        return [one for one in self._all.values() if (one.table, one.setting) == (table, setting)]

    def add(self, measurement: Measurement) -> None:
        """Keep a measurement."""
        self._all[measurement.key] = measurement
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(measurement)) + "\n")
