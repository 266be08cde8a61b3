"""What a study is that confirms another one: which points it trains again, when, and on what."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

#: What the name of such a study adds to that of the one that it confirms.
SUFFIX = ".confirm"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Finalist(_Table):
    """A point that is trained again."""

    trial: Annotated[int, Field(ge=0)] | None
    """Number of the complete trial that found it; None for a default point that none has."""
    value: float | None
    """What that trial was worth: the first score, by which it was found."""
    is_default: bool
    """Whether it is the default point."""


class Rehearsal(_Table):
    """A finalist that is trained as a final model would be, and judged once."""

    finalist: Annotated[int, Field(ge=0)]
    """Its place among the finalists."""
    epochs: Annotated[int, Field(ge=1)]
    """Epochs that it is trained: the median of its best ones in the trainings that chose."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one training of a confirmation is to do."""

    #: Place of the finalist.
    finalist: int
    #: Decides the seed and the examples that judge; from 0.
    replicate: int
    #: Epochs after which the only evaluation is; None to judge each epoch as a search does.
    epochs: int | None


class Confirmation(_Table):
    """What a study confirms, and how.

    Finalists are trained in two stages, `seeds` times each. In the first one all are, to choose
    the best. In the second one, the rehearsal, the winner and the default point are, to say how
    good they are: with seeds, and by examples, that had no part in any choice.
    """

    study: str
    """Name of the study that is confirmed, as it was then."""
    top: Annotated[int, Field(ge=1)]
    """How many of its best trials were asked for."""
    seeds: Annotated[int, Field(ge=2)]
    """Trainings of a finalist in each stage."""
    finalists: Annotated[tuple[Finalist, ...], Field(min_length=1, strict=False)]
    """The points, the one with the best first score first."""
    rehearsals: Annotated[tuple[Rehearsal, ...], Field(strict=False)] = ()
    """What the second stage trains, the winner first; empty while the first one is on."""

    @property
    def n_first(self) -> int:
        """Trainings of the first stage."""
        return len(self.finalists) * self.seeds

    @property
    def n_folds(self) -> int:
        """Sets of examples that judge, each in one replicate; those of both stages."""
        return 2 * self.seeds

    def task(self, slot: int) -> Task:
        """Say what a slot's training is to do.

        Args:
            slot: Its place in the budget, from 0.
        """
        place, number = divmod(slot, self.seeds)
        if slot < self.n_first:
            return Task(finalist=place, replicate=number, epochs=None)
        rehearsal = self.rehearsals[place - len(self.finalists)]
        return Task(
            finalist=rehearsal.finalist, replicate=self.seeds + number, epochs=rehearsal.epochs
        )


def training_seed(seed: int, replicate: int) -> int:
    """Give the seed of a training; the search's own is none of them.

    Args:
        seed: Of the study.
        replicate: Which of its replicates.
    """
    return int((seed + 1 + replicate) % 2**31)
