"""Where time went: by how trials ended, by worker, and as a timeline of the workers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tuner.report.material import Material
from tuner.report.plot import COLOURS, INK, Plot, figure, gapped, safe, titled
from tuner.report.words import count, duration, share
from tuner.results import TrialRow

#: Workers that the timeline and the table show: those with the most trials.
MAX_WORKERS = 40
#: Each outcome has a lane of its own within a worker's row, so that colour is not needed.
_LANES = {"complete": 0.24, "pruned": 0.0, "failed": -0.24, "superseded": -0.24}


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Time that went into one kind of thing."""

    #: How the trials ended, or ``idle``.
    kind: str
    #: Trials; None for time between them.
    n_trials: int | None
    #: Seconds from begin to end, summed.
    seconds: float
    #: Of these, seconds in which a network was trained; None where nobody measured.
    training: float | None
    #: Steps that were reported.
    steps: int


@dataclass(frozen=True, kw_only=True)
class Shift:
    """What one worker did."""

    #: Name of the worker, or of host and process.
    worker: str
    #: Machine.
    host: str
    #: What it trained on.
    device: str
    #: Trials, by begin.
    rows: tuple[TrialRow, ...]
    #: From its first begin to its last end.
    seconds: float
    #: Time in which it had a trial.
    busy: float

    @property
    def idle(self) -> float:
        """Time between trials."""
        return self.seconds - self.busy


def kind_of(row: TrialRow) -> str:
    """Name how a trial ended."""
    return "superseded" if row.superseded else row.state


def spent_by_kind(material: Material, shifts: Sequence[Shift]) -> tuple[Spent, ...]:
    """Sum up the time of all trials by how they ended, and that between them."""
    found = []
    for kind in ("complete", "pruned", "failed", "superseded", "running", "waiting"):
        rows = [row for row in material.rows if kind_of(row) == kind]
        if rows:
            facts = [material.facts.get(row.number, {}) for row in rows]
            measured = [seconds for fact in facts if (seconds := _seconds(fact)) is not None]
            found.append(
                Spent(
                    kind=kind,
                    n_trials=len(rows),
                    seconds=sum(material.seconds(row) for row in rows),
                    training=sum(measured) if measured else None,
                    steps=sum(row.last_step or 0 for row in rows),
                )
            )
    idle = sum(shift.idle for shift in shifts)
    if found and idle > 0:
        found.append(Spent(kind="idle", n_trials=None, seconds=idle, training=None, steps=0))
    return tuple(found)


def _seconds(fact: Mapping[str, Any]) -> float | None:
    """Read a duration that somebody else may have written."""
    seconds = fact.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) and seconds >= 0 else None


def shifts_of(material: Material) -> tuple[Shift, ...]:
    """Sort trials by the workers that ended them or are at them, the busiest first."""
    groups: dict[str, list[TrialRow]] = {}
    for row in material.rows:
        worker = _worker_of(material, row)
        if worker is not None and row.started is not None:
            groups.setdefault(worker, []).append(row)
    return tuple(
        _shift(material, worker, sorted(rows, key=_began))
        for worker, rows in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    )


def _worker_of(material: Material, row: TrialRow) -> str | None:
    facts = material.facts.get(row.number, {})
    if row.worker or "worker" in facts:
        return str(row.worker or facts["worker"])
    return f"{facts['host']}:{facts.get('pid', '')}" if "host" in facts else None


def _began(row: TrialRow) -> datetime:
    assert row.started is not None  # noqa: S101 - such rows are not in a shift
    return row.started


def _shift(material: Material, worker: str, rows: list[TrialRow]) -> Shift:
    facts = [material.facts.get(row.number, {}) for row in rows]
    begin = _began(rows[0])
    busy, until = 0.0, 0.0  # seconds since the begin; a trial taken over overlaps others
    for row in rows:
        start = (_began(row) - begin).total_seconds()
        end = start + material.seconds(row)
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return Shift(
        worker=worker,
        host=_latest(facts, "host") or worker.partition(":")[0],
        device=_latest(facts, "device") or "",
        rows=tuple(rows),
        seconds=until,
        busy=busy,
    )


def _latest(facts: Sequence[Mapping[str, Any]], name: str) -> str:
    return next((str(fact[name]) for fact in reversed(facts) if fact.get(name)), "")


def time_plot(spent: Sequence[Spent]) -> Plot | None:
    """Draw where time went; None where there was none."""
    whole = sum(part.seconds for part in spent)
    if not whole:
        return None
    parts = list(spent)[::-1]  # Plotly begins at the bottom
    unit, length = ("hours", 3600) if whole >= 7200 else ("minutes", 60)
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [part.seconds / length for part in parts],
        "y": [part.kind for part in parts],
        "text": [f"{duration(part.seconds)}, {share(part.seconds, whole)}" for part in parts],
        "textposition": "auto",
        "insidetextfont": {"color": "#ffffff"},
        "outsidetextfont": {"color": INK},
        "constraintext": "none",
        "marker": {"color": [COLOURS[part.kind] for part in parts]},
        "hoverinfo": "text",
        "cliponaxis": False,
    }
    return Plot(
        id="time",
        title="Time by outcome",
        says=time_words(spent),
        figure=figure(
            [bars], height=90 + 38 * len(parts), xaxis=titled(unit), yaxis={}, bargap=0.3
        ),
    )


def time_words(spent: Sequence[Spent]) -> str:
    """Say where time went."""
    whole = sum(part.seconds for part in spent)
    by_kind = {part.kind: part for part in spent}
    used = by_kind.get("complete")
    lost = [by_kind[kind] for kind in ("failed", "superseded") if kind in by_kind]
    says = [f"All workers together spent {duration(whole)}."]
    if used:
        says.append(f"{share(used.seconds, whole)} of it went into trials that were completed")
        if pruned := by_kind.get("pruned"):
            says[-1] += f", {share(pruned.seconds, whole)} into pruned ones"
        if lost:
            lost_seconds = sum(part.seconds for part in lost)
            says[-1] += f", {share(lost_seconds, whole)} into failed ones"
        says[-1] += "."
    if idle := by_kind.get("idle"):
        says.append(f"Between trials workers waited {duration(idle.seconds)}.")
    training = sum(part.training or 0.0 for part in spent)
    if training:
        says.append(
            f"Training itself took {duration(training)}; the rest is preparation, and trials that "
            f"were cut off and waited to be taken up."
        )
    return " ".join(says)


def timeline_plot(material: Material, shifts: Sequence[Shift]) -> Plot | None:
    """Draw what each worker did when; None where no trial says who ran it."""
    if not shifts:
        return None
    shown = list(shifts[:MAX_WORKERS])[::-1]  # Plotly begins at the bottom
    lanes: dict[str, list[list[Any]]] = {}
    heights: dict[str, list[list[float]]] = {}
    told: dict[str, list[list[str]]] = {}
    for position, shift in enumerate(shown):
        for row in shift.rows:
            kind = kind_of(row)
            begin = round(1000 * _began(row).timestamp())
            # A line of no length would not be seen.
            end = begin + max(round(1000 * material.seconds(row)), 1)
            height = position + _LANES.get(kind, 0.24)
            lanes.setdefault(kind, []).append([begin, end])
            heights.setdefault(kind, []).append([height, height])
            told.setdefault(kind, []).append([f"trial {row.number}, {kind}"] * 2)
    traces = [
        {
            "type": "scatter",
            "name": f"{kind} ({len(lanes[kind]):,})",
            "x": gapped(lanes[kind]),
            "y": gapped(heights[kind]),
            "text": gapped(told[kind]),
            "hoverinfo": "text",
            "mode": "lines",
            "line": {"color": COLOURS[kind], "width": 6},
        }
        for kind in COLOURS
        if kind in lanes
    ]
    idle = sum(shift.idle for shift in shifts)
    whole = sum(shift.seconds for shift in shifts)
    says = [
        f"{count(len(shifts), 'worker')} on "
        f"{count(len({shift.host for shift in shifts}), 'machine')} ran "
        f"{count(sum(len(shift.rows) for shift in shifts), 'trial')} and had one "
        f"{share(whole - idle, whole)} of their time. Of a worker's three lanes the upper one is "
        f"for complete trials and those that run, the middle one for pruned, the lower one for "
        f"failed ones. A trial that was handed over lies with the worker that ended it."
    ]
    if len(shifts) > MAX_WORKERS:
        says.append(f"Shown are the {MAX_WORKERS} workers with the most trials.")
    return Plot(
        id="timeline",
        title="Timeline of the workers",
        says=" ".join(says),
        figure=figure(
            traces,
            height=130 + 34 * len(shown),
            xaxis=titled("UTC") | {"type": "date"},
            yaxis={
                "tickvals": list(range(len(shown))),
                "ticktext": [safe(shift.worker) for shift in shown],
                "range": (-0.6, len(shown) - 0.4),
                "showgrid": False,
            },
        ),
    )
