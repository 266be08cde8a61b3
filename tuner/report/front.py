"""What one objective costs in another: the trials that none outdoes, and all others."""

from collections.abc import Sequence
from typing import Any

from tuner.report.course import told
from tuner.report.material import Material, counts, is_finite
from tuner.report.plot import COLOURS, INK, SYMBOLS, Plot, figure, safe, titled, value_range
from tuner.report.words import count, number
from tuner.results import TrialRow

#: Ratio of the largest to the smallest value beyond which an axis shows magnitudes.
MAGNITUDES = 10.0


def front_plots(material: Material) -> list[Plot]:
    """Draw the metric against each further objective; nothing where there is none."""
    if not material.front:
        return []
    return [_front_plot(material, name) for name in material.config.objectives[1:]]


def _front_plot(material: Material, name: str) -> Plot:
    metric, front = material.config.metric, material.front
    on_front = {row.number for row in front}
    others = [
        row
        for row in material.rows
        if row.number not in on_front
        and (counts(row) or row.state == "pruned")
        and is_finite(row.value)
        and is_finite(row.further[name])
    ]
    shown = [*front, *others]
    (low, high), outside = value_range([row.value or 0.0 for row in shown], material.config)
    traces: list[Any] = [
        _points(material, name, f"{state} ({len(rows):,})", rows) | _mark(state)
        for state in ("complete", "pruned")
        if (rows := [row for row in others if row.state == state])
    ]
    traces.append(
        _points(material, name, f"Pareto front ({len(front):,})", front)
        | {
            # With more than two objectives the front is no line.
            "mode": "lines+markers" if len(material.config.objectives) == 2 else "markers",
            # What can be had: down to the next one, then along it.
            "line": {"shape": "vh", "color": INK, "width": 2},
            "marker": {"symbol": "diamond", "color": INK, "size": 11},
        }
    )
    costs = [row.further[name] or 0.0 for row in shown]
    is_wide = min(costs) > 0 and max(costs) > MAGNITUDES * min(costs)
    says = [_words(material, name)]
    if any(row.state == "pruned" for row in others):
        says.append("Pruned trials are crosses, at what they reported last.")
    if outside:
        says.append(f"{count(outside, 'trial lies', 'trials lie')} beyond the axis.")
    return Plot(
        id=f"front-{name}",
        title=f"{metric} against {name}",
        says=" ".join(says),
        figure=figure(
            traces,
            height=420,
            xaxis=titled(name) | ({"type": "log"} if is_wide else {}),
            yaxis=titled(metric) | {"range": (low, high)},
        ),
    )


def _points(material: Material, name: str, label: str, rows: Sequence[TrialRow]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": safe(label),
        "x": [row.further[name] for row in rows],
        "y": [row.value for row in rows],
        "mode": "markers",
        "text": [told(material, row) for row in rows],
        "hoverinfo": "text",
    }


def _mark(state: str) -> dict[str, Any]:
    line = {"color": COLOURS[state], "width": 1.5 if SYMBOLS[state] == "x-thin" else 1}
    return {"marker": {"symbol": SYMBOLS[state], "color": COLOURS[state], "size": 7, "line": line}}


def _words(material: Material, name: str) -> str:
    metric, front = material.config.metric, material.front
    n_complete = len(material.ranked)
    if len(front) == 1:
        (only,) = front
        return (
            f"Trial {only.number} is the best of {count(n_complete, 'complete trial')} in all "
            f"objectives: {_both(only, metric, name)}."
        )
    first, last = front[0], front[-1]
    return (
        f"{len(front):,} of {count(n_complete, 'complete trial')} are on the Pareto front: what "
        f"each of them has, no other one has without being worse in something else. It reaches "
        f"from {_both(first, metric, name)} (trial {first.number}) to {_both(last, metric, name)} "
        f"(trial {last.number})."
    )


def _both(row: TrialRow, metric: str, name: str) -> str:
    cost = row.further[name] or 0.0
    return f"{metric} {number(row.value or 0.0)} with {name} {number(cost)}"
