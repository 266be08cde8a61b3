"""Data that is ready to be learned from, as it is handed to a training."""

from dataclasses import dataclass

from tuner.data.corpus import Rows
from tuner.data.encoded import Encoded
from tuner.data.summary import Summary
from tuner.sizes import Shape


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Data that trials learn from and are judged by."""

    #: Training examples.
    train: Encoded
    #: Validation examples.
    validation: Encoded
    #: Words of the training texts by id, from id 2; None where only ranks are known.
    words: tuple[str, ...] | None
    #: Names the examples and their preparation.
    fingerprint: str
    #: What the examples are, for people.
    summary: Summary
    #: Which validation examples belong together, by number; int64, (n_validation,).
    units: Rows

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by label."""
        return tuple(name for name, _ in self.summary.classes)

    def shape(self, vocabulary: int) -> Shape:
        """Give what the data decides of every model that learns from it.

        Args:
            vocabulary: Token ids at most, padding and out-of-vocabulary included; of data that is
                known by ranks alone, as many as there are.
        """
        words = self.words
        n_ids = vocabulary if words is None else len(words) + 2
        return Shape(n_ids=n_ids, n_classes=len(self.classes))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know."""
        return self.summary.notes
