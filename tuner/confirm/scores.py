"""What the trainings of a study that confirms have come to, by finalist and replicate."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from tuner.confirmation import Confirmation
from tuner.judging import Choice, Score, choose
from tuner.judging.hits import HITS, STANDARD_ERROR, Hits
from tuner.results import trial_attributes, trials
from tuner.storage import Database, StoredStudy


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The trainings that came to their end."""

    #: What they were for.
    confirmation: Confirmation
    #: Place of a finalist to replicate to score.
    of: Mapping[int, Mapping[int, Score]]
    #: Likewise, to the epoch that was best.
    epochs: Mapping[int, Mapping[int, int]]

    def first(self) -> dict[int, list[Score]]:
        """Give the scores by which finalists are chosen, of those that came to their end always."""
        replicates = range(self.confirmation.seeds)
        return {
            place: [scores[number] for number in replicates]
            for place, scores in self.of.items()
            if scores.keys() >= set(replicates)
        }

    def fresh(self, place: int) -> dict[int, Score]:
        """Give a finalist's scores of the second stage, by replicate."""
        scores = self.of.get(place, {})
        return {n: score for n, score in scores.items() if n >= self.confirmation.seeds}

    def median_epoch(self, place: int) -> int:
        """Give the median of the best epochs of the trainings by which a finalist is chosen."""
        found = self.epochs[place]
        return statistics.median_low(
            epoch for number, epoch in found.items() if number < self.confirmation.seeds
        )


def read_scores(database: Database, study: StoredStudy, confirmation: Confirmation) -> Scores:
    """Read the scores.

    Args:
        database: Where the study is.
        study: A study that confirms.
        confirmation: What it confirms.
    """
    facts = trial_attributes(database, study, (HITS, STANDARD_ERROR, "best_epoch"))
    of: dict[int, dict[int, Score]] = {}
    epochs: dict[int, dict[int, int]] = {}
    for row in trials(database, study):
        if row.state != "complete" or row.slot is None or row.value is None:
            continue
        told = facts.get(row.number, {})
        if not math.isfinite(row.value) or HITS not in told:
            continue
        task = confirmation.task(row.slot)
        of.setdefault(task.finalist, {})[task.replicate] = Score(
            value=row.value,
            error=told[STANDARD_ERROR],
            hits=Hits.from_text(told[HITS]),
        )
        epochs.setdefault(task.finalist, {})[task.replicate] = int(told["best_epoch"])
    return Scores(confirmation=confirmation, of=of, epochs=epochs)


def choose_by(scores: Scores, study: StoredStudy) -> Choice | None:
    """Rank the finalists; None where none of the search's trials came to its end always.

    A default point that no trial of the search was complete with is ranked with the others, and
    cannot win: there is nothing to take home.

    Args:
        scores: As `read_scores` gave them.
        study: The study that confirms.
    """
    first = scores.first()
    finalists = scores.confirmation.finalists
    candidates = [place for place in first if finalists[place].trial is not None]
    if not candidates:
        return None
    return choose(first, study.config.direction, candidates=candidates)
