"""What confirming has come to: the winner's figure, its luck, and what it is compared with."""

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean

from tuner.config import StudyConfig
from tuner.confirm.scores import Scores, choose_by, read_scores
from tuner.confirmation import Confirmation
from tuner.data.prepare import prepare
from tuner.data.split import Fold
from tuner.errors import NoUsableTrialError
from tuner.judging import (
    Choice,
    Hits,
    Noise,
    Score,
    accuracy_gain,
    accuracy_noise,
    difference,
    estimate,
)
from tuner.results.confirmed import Confirmed, Default, Second, Simple, Trained, keep
from tuner.storage import Database, StoredStudy, agree_on_data
from tuner.yardstick import NAME, fit_yardstick, is_available


def conclude(
    database: Database,
    study: StoredStudy,
    *,
    data_root: Path | None,
    say: Callable[[str], None],
) -> Confirmed:
    """Sum up a study that confirms, when all of its trainings are over, and keep that.

    Args:
        database: Where it is.
        study: The study, with its second stage.
        data_root: Folder in which relative data paths are looked up first.
        say: Told, for people, what takes a while.

    Raises:
        DataError: The data for the simple model is not there, or is not what the study saw.
        NoUsableTrialError: The winner has no value in any training of the second stage.
    """
    confirmation, name = study.config.confirms, study.config.name
    if confirmation is None or not confirmation.rehearsals:
        raise ValueError(f"{name!r} has no second stage")
    scores = read_scores(database, study, confirmation)
    choice = choose_by(scores, study)
    place = confirmation.rehearsals[0].finalist
    fresh = scores.fresh(place)
    winner = confirmation.finalists[place]
    if choice is None or not fresh or winner.trial is None or winner.value is None:
        raise NoUsableTrialError(
            f"Study {name!r}: trial {winner.trial} of {confirmation.study!r} won, and none of its "
            f"{confirmation.seeds} further trainings has a value. Look at why with `tuner trials "
            f"{name}`; `tuner retry {name}` gives failed trainings another go."
        )
    figure = estimate(list(fresh.values()), choice.noise)
    sign = 1.0 if study.config.direction == "maximize" else -1.0
    found = Confirmed(
        study=confirmation.study,
        by=name,
        metric=study.config.metric,
        trial=winner.trial,
        first=winner.value,
        figure=figure,
        luck=sign * (winner.value - figure.value),
        n_trainings=len(fresh),
        epochs=confirmation.rehearsals[0].epochs,
        second=_second(confirmation, choice),
        default=_default(scores, choice.noise, study.config),
        simple=_simple(database, study, scores, fresh, data_root, say),
        finalists=_trained(scores, choice),
    )
    keep(database, study, found)
    return found


def _second(confirmation: Confirmation, choice: Choice) -> Second | None:
    if choice.lead is None:
        return None
    trial = confirmation.finalists[choice.order[1]].trial
    return None if trial is None else Second(trial=trial, lead=choice.lead)


def _default(scores: Scores, noise: Noise, config: StudyConfig) -> Default | None:
    """Compare with the default point, in the replicates that both came to the end of."""
    winner, *others = scores.confirmation.rehearsals
    if not others:
        return None
    ours, theirs = scores.fresh(winner.finalist), scores.fresh(others[0].finalist)
    both = sorted(ours.keys() & theirs.keys())
    if not both:
        return None
    return Default(
        figure=estimate(list(theirs.values()), noise),
        lead=difference(
            [ours[number] for number in both],
            [theirs[number] for number in both],
            noise,
            config.direction,
        ),
    )


def _simple(
    database: Database,
    study: StoredStudy,
    scores: Scores,
    fresh: Mapping[int, Score],
    data_root: Path | None,
    say: Callable[[str], None],
) -> Simple | None:
    """Train a simple model on what the winner learned from, and judge it by the same examples."""
    if not is_available():
        say("No yardstick without scikit-learn; in tuner's folder: pip install '.[yardsticks]'")
        return None
    say(f"Training the yardstick {len(fresh)} times: {NAME}.")
    config, theirs = study.config, []
    for number in fresh:
        data = prepare(
            config.data,
            seed=config.seed,
            folder=config.folder,
            data_root=data_root,
            fold=Fold(number=number, of=scores.confirmation.n_folds),
        )
        agree_on_data(database, study, data.fingerprint)
        shape = data.shape(config.data.vocabulary)
        model = fit_yardstick(data.train, n_ids=shape.n_ids, n_classes=shape.n_classes)
        found = model.predict(data.validation)
        theirs.append(Hits.of(data.validation.labels, found, data.units))
    return Simple(
        name=NAME,
        accuracy=fmean(hits.share for hits in theirs),
        lead=accuracy_gain(
            [score.hits for score in fresh.values()], theirs, accuracy_noise(scores.first())
        ),
    )


def _trained(scores: Scores, choice: Choice) -> tuple[Trained, ...]:
    """Tell of all finalists; those that were ranked come first, those without a mean last."""
    finalists, first = scores.confirmation.finalists, scores.first()
    unranked = [place for place in range(len(finalists)) if place not in choice.order]
    places = (*choice.order, *sorted(unranked, key=lambda place: place not in first))
    return tuple(
        Trained(
            trial=finalists[place].trial,
            is_default=finalists[place].is_default,
            first=finalists[place].value,
            mean=fmean(one.value for one in first[place]) if place in first else None,
            epochs=scores.median_epoch(place) if place in first else None,
        )
        for place in places
    )
