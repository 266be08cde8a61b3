"""`confirm`: from a finished study to its winner, and how good that really is."""

import importlib.util
import json
from dataclasses import dataclass

import click

from tuner.cli.group import say
from tuner.cli.patience import end_at_sigterm
from tuner.cli.run import Launch, run_workers
from tuner.cli.studies import data_root
from tuner.cli.words import number
from tuner.confirm import begin, conclude, finalists, newcomers, rehearse
from tuner.data.prepare import prepare
from tuner.data.split import Fold
from tuner.errors import InputError
from tuner.judging import Estimate
from tuner.results import progress
from tuner.results.confirmed import Confirmed, Trained, confirmed_by, find_confirmation
from tuner.storage import Database, StoredStudy, agree_on_data, create_study, find_study

#: Best trials that are trained again, and trainings of each, where nobody says it.
TOP, SEEDS = 5, 3


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What somebody asked for; None where they did not."""

    #: ``--top``.
    top: int | None
    #: ``--seeds``.
    seeds: int | None
    #: ``--without-failed``.
    without_failed: bool


def confirm_study(
    name: str,
    storage: str,
    wanted: Wanted,
    *,
    launch: Launch | None,
    artifacts: str | None,
    form: str,
) -> None:
    """Begin or go on, run workers, print what came of it.

    Args:
        name: Of the study.
        storage: URL of its storage.
        wanted: What was asked for.
        launch: Starts workers; None to leave the work to others.
        artifacts: ``--artifacts``.
        form: ``text`` or ``json``.
    """
    end_at_sigterm()  # like Ctrl-C: the workers hand their trials back before
    with Database.open(storage) as database:
        study = find_study(database, name)
        confirmation = find_confirmation(database, study)
        if confirmation is None:
            confirmation = _begin(database, study, wanted)
        else:
            _refuse_other_wishes(confirmation, wanted)
            say_newcomers(database, study, confirmation)
        found = confirmed_by(database, confirmation)
        if found is None or (found.simple is None and _has_scikit_learn()):
            finished = _finish(database, confirmation, wanted, launch, artifacts)
            if finished is None:
                return
            found = conclude(database, finished, data_root=data_root(), say=say)
    if form == "json":
        click.echo(json.dumps(found.to_json()))
    else:
        click.echo("\n".join(_lines(found)))


def _has_scikit_learn() -> bool:
    return importlib.util.find_spec("sklearn") is not None


def _begin(database: Database, study: StoredStudy, wanted: Wanted) -> StoredStudy:
    """Store the study that confirms; what cannot be done is told before."""
    top, seeds, config = wanted.top or TOP, wanted.seeds or SEEDS, study.config
    chosen = finalists(database, study, top=top)
    data = prepare(
        config.data,
        seed=config.seed,
        folder=config.folder,
        data_root=data_root(),
        fold=Fold(number=0, of=2 * seeds),
    )
    agree_on_data(database, study, data.fingerprint)
    confirmation = begin(database, study, top=top, seeds=seeds)
    which = ", ".join(_called(one.trial, is_default=one.is_default) for one, _ in chosen)
    say(
        f"Created {confirmation.config.name!r}: {which}; {seeds} trainings of each to choose the "
        f"winner, and {seeds} or {2 * seeds} more to say how good it is."
    )
    return confirmation


def _refuse_other_wishes(confirmation: StoredStudy, wanted: Wanted) -> None:
    confirms, name = confirmation.config.confirms, confirmation.config.name
    if confirms is None:
        raise ValueError(f"{name!r} confirms nothing")
    if wanted.top not in (None, confirms.top) or wanted.seeds not in (None, confirms.seeds):
        raise InputError(
            f"Study {name!r} confirms {confirms.study!r} with --top {confirms.top} and --seeds "
            f"{confirms.seeds}. Leave both out to go on with it, or drop it with `tuner delete "
            f"{name}` to begin anew."
        )


def say_newcomers(database: Database, study: StoredStudy, confirmation: StoredStudy) -> None:
    """Say which trials have come too late to be confirmed.

    Args:
        database: Where both are.
        study: The study.
        confirmation: The study that confirms it.
    """
    confirms, name = confirmation.config.confirms, confirmation.config.name
    late = [] if confirms is None else newcomers(database, study, confirms)
    if confirms is not None and late:
        few = "trial" if len(late) == 1 else "trials"
        say(
            f"note: {few} {', '.join(map(str, late))} came to be among the best {confirms.top} of "
            f"{study.config.name!r} after {name!r} began, and {'has' if len(late) == 1 else 'have'}"
            f" no part in it. `tuner delete {name}` and `tuner confirm {study.config.name}` begin "
            f"anew."
        )


def _finish(
    database: Database,
    confirmation: StoredStudy,
    wanted: Wanted,
    launch: Launch | None,
    artifacts: str | None,
) -> StoredStudy | None:
    """Run both stages to their end; None where the work is left to others."""
    name = confirmation.config.name
    while True:
        # Where somebody has stopped it, it goes on.
        study = create_study(database, find_study(database, name).config).study
        if launch is not None:
            run_workers(database, study, launch=launch, artifacts=artifacts)
        now = progress(database, study)
        if find_study(database, name).config != study.config:
            continue  # somebody else, who confirms it too, was faster
        if now.slots.done < now.slots.total:
            if launch is not None:
                raise InputError(
                    f"Study {name!r} ended before its trainings were done: {now.slots.done} of "
                    f"{now.slots.total}. Why, says `tuner status {name}`; call this again to go on."
                )
            say(
                f"{now.slots.done} of {now.slots.total} trainings of {name!r} are done. Start "
                f"workers with `tuner work {name}`, unless standing ones serve it, and call this "
                f"again when `tuner status {name}` says that they are."
            )
            return None
        following = rehearse(database, study, without_failed=wanted.without_failed)
        if following.config == study.config:
            return study
        _say_who_won(following)


def _say_who_won(confirmation: StoredStudy) -> None:
    confirms = confirmation.config.confirms
    if confirms is None:
        return
    winner = confirms.rehearsals[0]
    trial = confirms.finalists[winner.finalist].trial
    n = len(confirms.rehearsals) * confirms.seeds
    say(
        f"Trial {trial} of {confirms.study!r} wins. {n} more trainings say how good it is, "
        f"its own of {winner.epochs} {'epoch' if winner.epochs == 1 else 'epochs'} each."
    )


def _called(trial: int | None, *, is_default: bool) -> str:
    if trial is None:
        return "the default point"
    return f"trial {trial} (the default point)" if is_default else f"trial {trial}"


def _lines(found: Confirmed) -> list[str]:
    """Say it in words and a table."""
    lines = [
        f"Winner of {found.study!r}: trial {found.trial}",
        f"{found.metric} = {_shown(found.figure)}",
        f"  mean of {found.n_trainings} trainings of {found.epochs} "
        f"{'epoch' if found.epochs == 1 else 'epochs'}, with seeds and examples that chose nothing",
        "  on as many examples as in the search; the model of `tuner refit` learns from all",
        f"first score: {number(found.first)}, {_luck(found.luck)}",
    ]
    if found.second is not None:
        tie = "a tie with" if found.second.is_tie else "clearly ahead of"
        lead = _shown(found.second.lead, sign=True)
        lines.append(f"first place: {tie} trial {found.second.trial}, by {lead}")
    if found.default is not None:
        lines.append(
            f"default point: {_shown(found.default.figure)}; what the winner gains on it: "
            f"{_shown(found.default.lead, sign=True)}"
        )
    if found.simple is not None:
        lines += [
            f"{found.simple.name}: accuracy {number(found.simple.accuracy)}",
            f"  {_worth(found.simple.lead)}: its accuracy less that: "
            f"{_shown(found.simple.lead, sign=True)}",
        ]
    lines += ["", "finalist                      first   mean  epochs"]
    lines += [_row(one) for one in found.finalists]
    return [*lines, "", "In brackets: 95 % intervals."]


def _luck(luck: float) -> str:
    return f"{number(luck)} better by luck" if luck > 0 else f"{number(-luck)} worse"


def _worth(lead: Estimate) -> str:
    if lead.low > 0:
        return "the GRU was worth it"
    return "the GRU was not worth it" if lead.high < 0 else "whether the GRU was worth it is open"


def _row(one: Trained) -> str:
    first, mean, epochs = (
        "-" if value is None else number(value) for value in (one.first, one.mean, one.epochs)
    )
    return f"{_called(one.trial, is_default=one.is_default):28} {first:>6} {mean:>6} {epochs:>7}"


def _shown(estimate: Estimate, *, sign: bool = False) -> str:
    plus = "+" if sign else ""
    value, low, high = (f"{x:{plus}.4f}" for x in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"
