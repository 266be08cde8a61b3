"""Data that is ready to be learned from, as it is handed to a training."""

from dataclasses import dataclass

from tuner.data.encoded import Encoded
from tuner.data.summary import Summary


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

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by label."""
        return tuple(name for name, _ in self.summary.classes)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know."""
        return self.summary.notes
