"""Studies and trials on a terminal: tables and the live view."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tuner.cli.words import best_line, duration, headline, number, refusal_lines
from tuner.domain import Fixed
from tuner.judging.hits import HITS
from tuner.metrics import STEPS_PER_EPOCH
from tuner.results import Progress, TrialDetails, TrialRow
from tuner.storage import StoredStudy

_COLOURS = {
    "complete": "green",
    "pruned": "yellow",
    "failed": "red",
    "running": "cyan",
    "waiting": "magenta",
}


def _elapsed(row: TrialRow) -> float | None:
    if row.started is None:
        return None
    return ((row.ended or datetime.now(UTC)) - row.started).total_seconds()


def _told(value: float | None) -> str:
    return "-" if value is None else number(value)


def _epochs(row: TrialRow) -> str:
    return "-" if row.last_step is None else f"{row.last_step / STEPS_PER_EPOCH:g}"


def _columns(study: StoredStudy, rows: Sequence[TrialRow]) -> list[str]:
    """Name the tuned parameters that any of the trials has, in the order of the study file."""
    tuned = [p.name for p in study.config.space.parameters if not isinstance(p.domain, Fixed)]
    return [name for name in tuned if any(name in row.params for row in rows)]


def _state(row: TrialRow) -> Text:
    words = f"{row.state}, superseded" if row.superseded else row.state
    return Text(words, style=_COLOURS.get(row.state, ""))


def trials_table(study: StoredStudy, rows: Sequence[TrialRow]) -> Table:
    """Make the table of trials."""
    columns, objectives = _columns(study, rows), study.config.objectives
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("trial", "state", *objectives, "epochs", "time", *columns):
        table.add_column(heading, justify="left" if heading == "state" else "right")
    for row in rows:
        value = row.value if row.value is not None else row.last_value
        table.add_row(
            str(row.number),
            _state(row),
            _told(value),
            *(_told(row.further[name]) for name in objectives[1:]),
            _epochs(row),
            duration(_elapsed(row)),
            *(number(row.params.get(name, "-")) for name in columns),
        )
    return table


def progress_view(study: StoredStudy, progress: Progress) -> RenderableType:
    """Make the live view: progress, best so far, running trials."""
    bar = Table.grid()  # a bar alone would not end its line
    bar.add_row(ProgressBar(total=progress.slots.total, completed=progress.slots.done, width=60))
    parts: list[RenderableType] = [Text(headline(progress), style="bold"), bar]
    parts.append(Text(best_line(progress), style="green"))
    parts += [Text(line, style="yellow") for line in refusal_lines(progress)]
    if progress.running:
        parts += [Text(""), running_table(study, progress)]
    elif progress.slots.done < progress.slots.total:
        parts.append(Text("workers start: TensorFlow loads, the data is prepared", style="dim"))
    return Group(*parts)


def running_table(study: StoredStudy, progress: Progress) -> Table:
    """Make the table of running trials."""
    columns = _columns(study, progress.running)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("running", "epochs", progress.metric, "time", "worker", "lease", *columns):
        table.add_column(heading, justify="right")
    for row in progress.running:
        table.add_row(
            str(row.number),
            _epochs(row),
            _told(row.last_value),
            duration(_elapsed(row)),
            row.worker or ("waiting" if row.state == "waiting" else "nobody"),
            duration(row.lease_seconds),
            *(number(row.params.get(name, "-")) for name in columns),
        )
    return table


def trial_view(study: StoredStudy, details: TrialDetails) -> RenderableType:
    """Make the view of one trial."""
    row = details.row
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    facts.add_row("trial", str(row.number))
    facts.add_row("state", _state(row))
    facts.add_row(study.config.metric, _told(row.value))
    for name, further in row.further.items():
        facts.add_row(name, _told(further))
    facts.add_row("time", duration(_elapsed(row)))
    if row.worker:
        facts.add_row("worker", row.worker)
    if details.origin:
        facts.add_row("planned", details.origin)
    for name, value in row.params.items():
        facts.add_row(f"  {name}", number(value))
    for name, fact in details.attributes.items():
        if name == HITS:  # no text for people
            continue
        facts.add_row(name, Text(number(fact)))
    for name, excess in details.constraints.items():
        facts.add_row(f"constraint {name}", f"{number(excess)} (kept to where at most 0)")
    for step, value in details.reports.items():
        facts.add_row(f"epoch {step / STEPS_PER_EPOCH:g}", number(value))
    return facts
