"""`reproduce`: train a finished trial again, print what is the same and what is not."""

import json
import math
import os
from typing import Any

import click
from rich.table import Table

from tuner.cli.group import say
from tuner.cli.studies import data_root
from tuner.cli.terminal import console
from tuner.gpus import discover
from tuner.metrics import STEPS_PER_EPOCH
from tuner.processor import usable_cores
from tuner.storage import Database, StoredStudy
from tuner.worker.reproduce import Reproduction, reproduce
from tuner.worker.worker import GRU_OBJECTIVE


def train_again(database: Database, study: StoredStudy, number: int, form: str) -> bool:
    """Train a trial again and print the comparison; say whether all is the same."""
    say(f"Training trial {number} of {study.config.name!r} again; its record stays as it is.")
    found = reproduce(
        database,
        study,
        number,
        objective=GRU_OBJECTIVE,
        threads=usable_cores(),
        gpus=discover(os.environ).found,
        data_root=data_root(),
        environment=os.environ,
    )
    if form == "json":
        click.echo(json.dumps(_to_json(found)))
    else:
        console(stderr=False).print(_table(found))
        for line in (*(f"other than then: {d}" for d in found.differences), _verdict(found)):
            click.echo(line)
    return found.is_equal


def _table(found: Reproduction) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("epoch", "then", "now", "difference"):
        table.add_column(heading, justify="right")
    for step in found.steps:
        cells = (_exactly(value) for value in (step.then, step.now, step.difference))
        table.add_row(f"{step.step / STEPS_PER_EPOCH:g}", *cells)
    if found.value is not None or found.value_then is not None:
        then, now = found.value_then, found.value
        difference = None if then is None or now is None else now - then
        table.add_row("value", *(_exactly(value) for value in (then, now, difference)))
    for name, value in found.further.items():
        before = found.trial.row.further[name]
        change = None if before is None else value - before
        table.add_row(name, *(_exactly(each) for each in (before, value, change)))
    return table


def _exactly(value: float | None) -> str:
    return "-" if value is None else repr(value)


def _verdict(found: Reproduction) -> str:
    row = found.trial.row
    name = f"trial {row.number} ({row.state})"
    if found.is_equal:
        how = f", and fails as it did: {found.failure}" if found.failure else ""
        return f"{name} comes out the same, bit for bit{how}"
    if found.failure != found.failure_then:
        then, now = found.failure_then or "no failure", found.failure or "no failure"
        return f"{name} comes out differently: then {then}, now {now}"
    hint = "" if found.differences else "; software, device and data are those it began with"
    return f"{name} comes out differently{hint}"


def _to_json(found: Reproduction) -> dict[str, Any]:
    row = found.trial.row
    return {
        "number": row.number,
        "state": row.state,
        "equal": found.is_equal,
        "value": {"then": _finite(found.value_then), "now": _finite(found.value)},
        **(
            {
                "further": {
                    name: {"then": _finite(found.trial.row.further[name]), "now": _finite(value)}
                    for name, value in found.further.items()
                }
            }
            if found.further
            else {}
        ),
        "failure": {"then": found.failure_then or None, "now": found.failure or None},
        "reports": [
            {"step": s.step, "then": _finite(s.then), "now": _finite(s.now), "equal": s.is_equal}
            for s in found.steps
        ],
        "differences": list(found.differences),
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
