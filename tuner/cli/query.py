"""`list`, `status`, `show`, `best`, `trials`, `enqueue`: ask the database, print the answer."""

import csv
import json
import sys
import tomllib
from dataclasses import astuple

import click

from tuner.cli.group import say
from tuner.cli.words import (
    best_line,
    end_of,
    headline,
    number,
    refusal_lines,
    refused_mark,
)
from tuner.domain import Point
from tuner.errors import InputError
from tuner.results import best_trials, progress, show_trial, trials
from tuner.results.confirmed import confirmed_of
from tuner.storage import Database, StoredStudy, enqueue, find_study, study_names
from tuner.study_file import study_file_lines


def print_studies(database: Database, form: str) -> None:
    """Print one line a study."""
    for name in study_names(database):
        now = progress(database, find_study(database, name))
        if form == "json":
            click.echo(json.dumps(now.to_json()))
        else:
            click.echo(f"{headline(now)}; {best_line(now)}{refused_mark(now)}")


def print_status(database: Database, study: StoredStudy, form: str) -> None:
    """Print how far a study is."""
    now = progress(database, study)
    if form == "json":
        click.echo(json.dumps(now.to_json()))
        return
    click.echo(headline(now))
    if now.ended is not None:
        click.echo(f"why: {end_of(now)}")
    click.echo(best_line(now))
    for line in refusal_lines(now):
        click.echo(line)
    if now.per_hour is not None:
        click.echo(f"rate: {now.per_hour:.1f} trials an hour")
    if now.running:
        from tuner.cli.show import running_table  # rich, where there is a table
        from tuner.cli.terminal import console

        console(stderr=False).print(running_table(study, now))


def print_trial(database: Database, study: StoredStudy, trial: int, form: str) -> None:
    """Print all about one trial."""
    details = show_trial(database, study, trial)
    if form == "json":
        click.echo(json.dumps(details.to_json()))
    else:
        from tuner.cli.show import trial_view
        from tuner.cli.terminal import console

        console(stderr=False).print(trial_view(study, details))


def print_best(database: Database, study: StoredStudy, top: int | None, form: str) -> None:
    """Print the best trial, or the best few; with several objectives those that none outdoes."""
    several = study.config.metrics is not None
    rows = best_trials(database, study, top=top if several else top or 1)
    if (confirms := study.config.confirms) is not None:
        say(
            f"{study.config.name!r} trains the finalists of {confirms.study!r} again: its best "
            f"training is the luckiest one. The winner is told by `tuner best {confirms.study}`."
        )
    if form == "json":
        found = [
            {"number": row.number, "value": row.value}
            | ({"further": dict(row.further)} if several else {})
            | {"params": dict(row.params)}
            for row in rows
        ]
        click.echo(json.dumps(found[0] if top is None and not several else found))
        return
    if top is not None or several:
        from tuner.cli.show import trials_table
        from tuner.cli.terminal import console

        console(stderr=False).print(trials_table(study, rows))
        return
    row = rows[0]
    click.echo(f"Best of {study.config.name!r}: trial {row.number}")
    click.echo(f"{study.config.metric} = {number(row.value)}")
    if (confirmed := confirmed_of(database, study)) is not None:
        figure = "{:.4f} [{:.4f}, {:.4f}]".format(*astuple(confirmed.figure))
        click.echo(f"confirmed: trial {confirmed.trial}, {confirmed.metric} = {figure}")
    click.echo("\nTo fix its hyperparameters, put into a study file:\n")
    click.echo(study_file_lines(study.config, row.params))


def print_trials(database: Database, study: StoredStudy, form: str) -> None:
    """Print every trial."""
    rows = trials(database, study)
    if form == "json":
        for row in rows:
            click.echo(json.dumps(row.to_json()))
        return
    if form == "csv":
        facts = [row.to_json() for row in rows]
        names = sorted({name for row in rows for name in row.params})
        further = study.config.objectives[1:]
        nested = {"params", "further"}
        fields = [key for key in (facts[0] if facts else {}) if key not in nested]
        writer = csv.writer(sys.stdout)
        writer.writerow([*fields, *further, *names])
        for fact in facts:
            values = [fact["params"].get(name, "") for name in names]
            told = [fact[f] for f in fields] + [fact["further"][name] for name in further]
            writer.writerow(["" if cell is None else cell for cell in told] + values)
        return
    from tuner.cli.show import trials_table
    from tuner.cli.terminal import console

    console(stderr=False).print(trials_table(study, rows))


def enqueue_point(database: Database, study: StoredStudy, words: tuple[str, ...]) -> int:
    """Plan a point that a person typed."""
    point: Point = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise InputError(f"{word!r}: expected KEY=VALUE, such as units=96.")
        try:
            point[name] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            point[name] = text
    study.config.space.check_point(point)
    return enqueue(database, study, point)
