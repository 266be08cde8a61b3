"""`refit`: train the winner for good, judge it by the test set, write an artifact."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from tuner.cli.computing import use_device
from tuner.cli.confirm import say_newcomers
from tuner.cli.group import say
from tuner.cli.patience import Patience, end_at_sigterm
from tuner.cli.studies import data_root, open_study
from tuner.cli.words import duration
from tuner.data import has_test, locate_test
from tuner.results.confirmed import confirmed_by, find_confirmation
from tuner.storage import Database, StoredStudy, check_unread

#: Minutes to wait, after the training, for a database that is away.
PATIENCE_MINUTES = 60.0


def refit_study(
    study: str,
    storage: str | None,
    *,
    output: str,
    force: bool,
    trial: int | None,
    top: int,
    n_seeds: int,
    epochs: int | None,
    test: bool,
    again: bool,
    form: str,
) -> None:
    """Do what the options say; what cannot be done is refused before the training."""
    with open_study(study, storage) as (database, stored):
        config = stored.config
        reads_test = test and has_test(config.data)
        if reads_test:
            check_unread(database, stored, again=again)
            locate_test(config.data, folder=config.folder, data_root=data_root())
        device = use_device()
        from tuner.deliver.card import different
        from tuner.deliver.final import make_plan
        from tuner.deliver.folder import check_target
        from tuner.deliver.refit import Order, refit

        check_target(Path(output), replace=force)
        if trial is None:
            _say_what_was_confirmed(database, stored)
        plan = make_plan(database, stored, trial=trial, top=top, n_seeds=n_seeds, epochs=epochs)

    n_models = len(plan.models)
    say(
        f"{'Trial' if len(plan.trials) == 1 else 'Trials'} {different(plan.trials)} of "
        f"{config.name!r}: {'1 model' if n_models == 1 else f'{n_models} models'}, "
        f"{different(model.epochs for model in plan.models)} epochs ({plan.epochs_from}), on "
        f"training and validation examples ({device})."
    )
    if test and not reads_test:
        say("The study has no test set (data.test): the artifact will tell no test result.")

    @contextmanager
    def open_database() -> Iterator[Database]:
        with open_study(study, storage, Patience(PATIENCE_MINUTES)) as (opened, _):
            yield opened

    end_at_sigterm()  # like Ctrl-C: nothing half-written stays
    written = refit(
        Order(
            plan=plan,
            target=Path(output),
            replace=force,
            reads_test=reads_test,
            again=again,
            data_root=data_root(),
        ),
        open_database=open_database,
        say=say,
        tell=lambda stage: say(
            f"model {stage.model} of {n_models}: epoch {stage.epochs:g} of {stage.of_epochs}, loss "
            f"{stage.loss:.4f}, {duration(stage.seconds_left)} to go"
        ),
    )
    _print(written, output, form)


def _say_what_was_confirmed(database: Database, study: StoredStudy) -> None:
    """Say where a confirmation does not tell the winner that there is now."""
    confirmation = find_confirmation(database, study)
    if confirmation is None:
        return
    if confirmed_by(database, confirmation) is None:
        say(
            f"note: {confirmation.config.name!r} has no result yet, so the search's best trial is "
            f"taken. `tuner confirm {study.config.name}` goes on with it."
        )
    else:
        say_newcomers(database, study, confirmation)


def _print(manifest: Any, output: str, form: str) -> None:
    if form == "json":
        click.echo(json.dumps({"artifact": output, **manifest.model_dump(mode="json")}))
        return
    click.echo(f"artifact: {output}")
    if manifest.test is None:
        return
    from tuner.deliver.card import shown

    found = manifest.test
    click.echo(f"test examples: {found.judgement.n_examples} (reading {found.reading})")
    for name, estimate in found.judgement.metrics.items():
        click.echo(f"{name}: {shown(estimate)}")
    for other in found.comparisons:
        click.echo(
            f"{other.other}: accuracy {other.accuracy:.4f}; ours less that: "
            f"{shown(other.difference, sign=True)}, p = {other.p_value:.2g}"
        )
