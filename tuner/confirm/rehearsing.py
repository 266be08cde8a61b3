"""The second stage: what the winner and the default point are worth, by nothing that chose."""

from collections import Counter

from tuner.confirm.beginning import plan_of
from tuner.confirm.scores import choose_by, read_scores
from tuner.confirmation import Confirmation, Rehearsal
from tuner.domain import Point
from tuner.errors import InputError, NoUsableTrialError
from tuner.results import trials
from tuner.storage import Database, StoredStudy, find_study
from tuner.storage.confirming import begin_rehearsals


def rehearse(
    database: Database, study: StoredStudy, *, without_failed: bool = False
) -> StoredStudy:
    """Choose the winner by the first stage, which is over, and store the slots of the second.

    Args:
        database: Where the study is.
        study: A study that confirms.
        without_failed: Whether finalists are out of which a training failed, though it might not
            if it were tried again; those of which one diverged always are.

    Returns:
        The study with its second stage, as it is stored now; somebody else may have begun it.

    Raises:
        InputError: A training failed that can be tried again.
        NoUsableTrialError: No finalist came to its end in all its trainings.
    """
    study = find_study(database, study.config.name)
    confirmation, name = study.config.confirms, study.config.name
    if confirmation is None or confirmation.rehearsals:
        return study
    scores = read_scores(database, study, confirmation)
    choice = choose_by(scores, study)
    if choice is None:
        raise NoUsableTrialError(
            f"Study {name!r}: none of {len(confirmation.finalists)} finalists has a value in each "
            f"of its {confirmation.seeds} trainings, so none can be confirmed. Look at why with "
            f"`tuner trials {name}`; `tuner retry {name}` gives failed trainings another go."
        )
    if not without_failed:
        _refuse_failed(database, study, confirmation)
    first = scores.first()
    default = [place for place in first if confirmation.finalists[place].is_default]
    judged = list(dict.fromkeys([choice.order[0], *default]))
    points = _points(database, study, confirmation)
    return begin_rehearsals(
        database,
        study,
        [Rehearsal(finalist=place, epochs=scores.median_epoch(place)) for place in judged],
        [
            plan_of(study.config, confirmation.finalists[place], points[place])
            for place in judged
            for _ in range(confirmation.seeds)
        ],
    )


def _refuse_failed(database: Database, study: StoredStudy, confirmation: Confirmation) -> None:
    """See that no finalist lost by an accident."""
    failed = Counter(
        confirmation.finalists[confirmation.task(row.slot).finalist].trial
        for row in trials(database, study)
        if row.slot is not None and row.state == "failed"
    )
    if failed:
        name = study.config.name
        listed = ", ".join(
            f"{n} of {'the default point' if trial is None else f'trial {trial}'}"
            for trial, n in failed.items()
        )
        raise InputError(
            f"Study {name!r}: trainings failed ({listed}), and a finalist wins only where all of "
            f"its own came to their end. Look at why with `tuner trials {name}`; `tuner retry "
            f"{name}` gives them another go, and `tuner confirm {confirmation.study} "
            f"--without-failed` chooses among the others."
        )


def _points(database: Database, study: StoredStudy, confirmation: Confirmation) -> dict[int, Point]:
    """Give each finalist's values of the tuned parameters, as its trials had them."""
    return {
        confirmation.task(row.slot).finalist: study.config.space.default_point(row.params)
        for row in trials(database, study)
        if row.slot is not None
    }
