"""`simulate`: what other samplers, pruners and numbers of workers would have done."""

import json
import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import click
from pydantic import TypeAdapter
from rich.table import Table

from tuner.cli.group import say
from tuner.cli.studies import open_study
from tuner.cli.terminal import console
from tuner.config import PrunerConfig, PrunerName, SamplerConfig, SamplerName
from tuner.errors import InputError, suggestion
from tuner.processor import usable_cores
from tuner.simulate import (
    Recording,
    Replay,
    Replayed,
    Row,
    read_recording,
    read_table,
    simulate,
    table_files,
)
from tuner.simulate import rows as rows_of


def read_costs(text: str) -> tuple[float, ...]:
    """Read ``--costs``.

    Raises:
        InputError: It is not a list of numbers above 0.
    """
    try:
        costs = tuple(sorted({float(word) for word in text.split(",")}))
    except ValueError:
        costs = ()
    if not costs or not all(0 < cost < math.inf for cost in costs):
        raise InputError(
            f"--costs: expected numbers above 0, in whole trainings, such as 5,10,20,40. "
            f"Received {text!r}."
        )
    return costs


def print_simulation(
    what: str,
    *,
    n_workers: int,
    n_seeds: int,
    costs: tuple[float, ...],
    sampler: str | None,
    pruner: str | None,
    form: str,
    storage: str | None,
) -> None:
    """Replay recorded trainings and print regrets.

    Args:
        what: A table, a folder of tables, a study file, or the name of a study.
        n_workers: Simulated ones.
        n_seeds: Replays of each recording; their seeds count from 0.
        costs: When to look, in whole trainings.
        sampler: Who proposes; None for the study's own, with tables for the default.
        pruner: Who ends trials; None likewise.
        form: ``table`` or ``json``.
        storage: Where studies live.
    """
    path = Path(what)
    is_table = path.suffix == ".npz" or (path.is_dir() and any(path.glob("*.npz")))
    proposes, ends = SamplerConfig().name, PrunerConfig().name
    if is_table:
        recordings = [read_table(file) for file in table_files(path)]
    else:
        if path.is_dir():
            say(f"note: the folder {path} holds no .npz file; {what!r} is taken for a study.")
        with open_study(what, storage) as (database, stored):
            recordings = [read_recording(database, stored)]
        proposes, ends = stored.config.sampler.name, stored.config.pruner.name
    replays = [
        Replay(
            sampler=_sampler(sampler) if sampler else proposes,
            pruner=_pruner(pruner) if pruner else ends,
            n_workers=n_workers,
            seed=seed,
            # A study is run until its trials are used up: that tells what is saved in all.
            costs=costs if is_table else (*costs, math.inf),
        )
        for seed in range(n_seeds)
    ]
    results = simulate(recordings, replays, n_processes=usable_cores(), progress=_tell())
    rows = [
        row
        for recording, found in zip(recordings, results, strict=True)
        for row in rows_of(recording, replays[0], found)
        if row.cost < math.inf
    ]
    if form == "json":
        for row in rows:
            click.echo(json.dumps(row.to_json()))
    else:
        console(stderr=False).print(_table(rows))
    say(f"Regret: {recordings[0].scale}. Mean of {n_seeds} seeds, with its 95 % interval.")
    if is_table:
        for cost in costs:
            mean = statistics.fmean(row.regret for row in rows if row.cost == cost)
            say(f"At the cost of {cost:g} whole trainings: {mean:.3f} on average over the tables.")
    else:
        _tell_savings(recordings[0], results[0])


def _sampler(name: str) -> SamplerName:
    _check("--sampler", name, get_args(SamplerName))
    return TypeAdapter[SamplerName](SamplerName).validate_python(name)


def _pruner(name: str) -> PrunerName:
    _check("--pruner", name, get_args(PrunerName))
    return TypeAdapter[PrunerName](PrunerName).validate_python(name)


def _check(flag: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise InputError(
            f"{flag}: expected one of: {', '.join(known)}. Received {name!r}."
            f"{suggestion(name, known)}"
        )


def _tell() -> Callable[[int, int], None]:
    """Say now and then how far it is."""
    told = 0

    def progress(done: int, of: int) -> None:
        nonlocal told
        if done * 10 // of > told:
            told = done * 10 // of
            say(f"{done} of {of} replays")

    return progress


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("table", "cost", "workers", "sampler", "pruner", "regret", "95 % interval"):
        left = heading in {"table", "sampler", "pruner"}
        table.add_column(heading, justify="left" if left else "right")
    for row in rows:
        table.add_row(
            *(row.table, f"{row.cost:g}", str(row.workers), row.sampler, row.pruner),
            *(f"{row.regret:.3f}", f"{row.low:.3f} to {row.high:.3f}"),
        )
    return table


def _tell_savings(recording: Recording, results: Sequence[Replayed]) -> None:
    """Say what the whole study would have cost, and what it would have found."""
    n_trials = len(recording.candidates)
    whole = sum(c.reports[-1][0] for c in recording.candidates) / recording.last_step
    cost = statistics.fmean(result.cost for result in results)
    regret = statistics.fmean(result.final_regret for result in results)
    instead = f" instead of {whole:.1f} ({whole / cost:.2g} times less)"
    if recording.n_cut_off:
        say(
            f"note: {recording.n_cut_off} of {n_trials} trials were pruned when they were "
            f"recorded, and end there in any replay. So another pruner's cost and savings cannot "
            f"be told: that takes a study that was run with `pruner.name=none`."
        )
    say(
        f"All {n_trials} trials: {cost:.1f} whole trainings"
        f"{'' if recording.n_cut_off else instead}, and the best complete trial "
        f"has regret {regret:.3f}."
    )
