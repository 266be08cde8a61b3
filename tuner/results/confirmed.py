"""What confirming a study has come to: who won, how good that is, and how much of it was luck."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from optuna.storages._rdb import models
from pydantic import TypeAdapter
from sqlalchemy import select

from tuner.confirmation import SUFFIX
from tuner.judging import Estimate
from tuner.storage import Database, StoredStudy, find_study, study_names
from tuner.storage.confirming import read_confirmed, write_confirmed


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finalist, and what the trainings that chose made of it."""

    #: Number of its trial in the search; None for a default point that no trial was complete with.
    trial: int | None
    #: Whether it is the default point.
    is_default: bool
    #: What its trial was worth, where it has one.
    first: float | None
    #: Mean over the trainings that chose; None where not all of them came to their end.
    mean: float | None
    #: Median of the best epochs of these; None likewise.
    epochs: int | None


@dataclass(frozen=True, kw_only=True)
class Second:
    """Who came next."""

    #: Number of its trial in the search.
    trial: int
    #: By how much the winner was better in the trainings that chose.
    lead: Estimate

    @property
    def is_tie(self) -> bool:
        """Whether it may be as good as the winner, as far as one can see."""
        return self.lead.low <= 0


@dataclass(frozen=True, kw_only=True)
class Default:
    """The study's default point beside the winner, on the same fresh seeds and examples."""

    #: Its metric.
    figure: Estimate
    #: By how much the winner is better.
    lead: Estimate


@dataclass(frozen=True, kw_only=True)
class Simple:
    """A simple model beside the winner, trained and judged on the same fresh examples."""

    #: What it is.
    name: str
    #: Its accuracy.
    accuracy: float
    #: The winner's accuracy less that.
    lead: Estimate


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """What came of confirming a study."""

    #: The study.
    study: str
    #: The study that confirmed it.
    by: str
    #: What both were judged by.
    metric: str
    #: Number of the trial that won.
    trial: int
    #: What it was worth in the search.
    first: float
    #: What it is worth: its metric with fresh seeds, by examples that chose nothing.
    figure: Estimate
    #: By how much the first score was better than that.
    luck: float
    #: Trainings that say so.
    n_trainings: int
    #: Epochs that they were trained: the median of the best ones in those that chose.
    epochs: int
    #: Who came next; None where nobody did.
    second: Second | None
    #: The default point; None where it is the winner, or has no value.
    default: Default | None
    #: A simple model; None without scikit-learn.
    simple: Simple | None
    #: All finalists, the best by the trainings that chose first; those without a mean at the end.
    finalists: tuple[Trained, ...]

    def to_json(self) -> dict[str, Any]:
        """Give JSON types."""
        told = asdict(self)
        if self.second is not None:
            told["second"] |= {"tie": self.second.is_tie}
        return told


_FORM: TypeAdapter[Confirmed] = TypeAdapter(Confirmed)


def find_confirmation(database: Database, study: StoredStudy) -> StoredStudy | None:
    """Find the study that confirms another one; None where there is none.

    Args:
        database: Where both are.
        study: The other one.
    """
    name = f"{study.config.name}{SUFFIX}"
    found = find_study(database, name) if name in study_names(database) else None
    if found is None or found.config.confirms is None:
        return None
    first = {one.trial: one.value for one in found.config.confirms.finalists}
    trial, value = models.TrialModel, models.TrialValueModel
    statement = (
        select(trial.number, value.value)
        .join(value, value.trial_id == trial.trial_id)
        .where(
            trial.study_id == study.study_id,
            trial.number.in_([number for number in first if number is not None]),
            value.objective == 0,
        )
    )
    with database.transaction() as session:
        rows = session.execute(statement).all()
    known = {row.number: row.value for row in rows}
    # Another study may have had the name; a copy of this one has the same trials.
    is_its = all(known.get(number) == first[number] for number in first if number is not None)
    return found if is_its else None


def keep(database: Database, study: StoredStudy, confirmed: Confirmed) -> None:
    """Keep what came of confirming.

    Args:
        database: Where the study is.
        study: The study that confirmed.
        confirmed: What came of it.
    """
    write_confirmed(database, study, json.dumps(asdict(confirmed)))


def confirmed_by(database: Database, confirmation: StoredStudy) -> Confirmed | None:
    """Read what came of a study that confirms; None while that is not over.

    Args:
        database: Where it is.
        confirmation: The study.
    """
    text, confirms = read_confirmed(database, confirmation), confirmation.config.confirms
    if text is None or confirms is None:
        return None
    # Both may have got other names since.
    found = _FORM.validate_json(text)
    return replace(found, study=confirms.study, by=confirmation.config.name)


def confirmed_of(database: Database, study: StoredStudy) -> Confirmed | None:
    """Read what came of confirming a study; None where that was not done, or is not over.

    Args:
        database: Where the study is.
        study: The study.
    """
    confirmation = find_confirmation(database, study)
    return None if confirmation is None else confirmed_by(database, confirmation)
