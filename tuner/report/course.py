"""How the search went: values by trial, and the learning curves behind them."""

import math
from collections.abc import Sequence
from typing import Any

from tuner.importance import evenly
from tuner.metrics import METRICS, STEPS_PER_EPOCH
from tuner.report.material import Material, counts, is_finite
from tuner.report.plot import (
    COLOURS,
    INK,
    SYMBOLS,
    Plot,
    figure,
    finite,
    gapped,
    safe,
    titled,
    value_range,
)
from tuner.report.words import count, epochs, number, setting
from tuner.results import TrialRow

#: Trials that the history shows, beside those that were the best of their time.
MAX_POINTS = 3000
#: Learning curves that are drawn: the best ones and an even sample of the others.
MAX_CURVES = 300
#: Of these, how many best ones.
N_BEST_CURVES = 50
#: Reports of one curve that are drawn.
MAX_REPORTS = 200


def improvements(material: Material) -> list[TrialRow]:
    """List the trials that were the best of all up to them, by number."""
    better = METRICS[material.config.metric].better
    found: list[TrialRow] = []
    for row in material.rows:
        if counts(row) and (not found or better(row.value or 0.0, found[-1].value or 0.0)):
            found.append(row)
    return found


def history_plot(material: Material) -> Plot | None:
    """Draw values by trial; None where there is none."""
    ever_best = improvements(material)
    kept = {row.number for row in (*evenly(material.rows, MAX_POINTS), *ever_best)}
    rows = [row for row in material.rows if row.number in kept]
    valued = [row for row in rows if is_finite(_shown(row))]
    if not valued:
        return None
    (low, high), outside = value_range([_shown(row) or 0.0 for row in valued], material.config)
    traces: list[Any] = [
        _points(material, state, [row for row in valued if row.state == state])
        for state in ("complete", "pruned", "running", "waiting")
        if any(row.state == state for row in valued)
    ]
    if lost := [row for row in rows if row.state == "failed"]:
        floor = low + 0.02 * (high - low)
        traces.append(_points(material, "failed", lost, at=floor))
    if ever_best:
        last = material.rows[-1].number
        traces.append(
            {
                "type": "scatter",
                "name": "best so far",
                "x": [*(row.number for row in ever_best), last],
                "y": [*(row.value for row in ever_best), ever_best[-1].value],
                "mode": "lines",
                "line": {"shape": "hv", "color": INK, "width": 2},
                "hoverinfo": "skip",
            }
        )
    says = [_history_words(material, ever_best)]
    if any(row.state == "pruned" for row in valued):
        says.append("Pruned trials are crosses, at what they reported last.")
    if lost:
        says.append("Failed trials have no value: triangles at the lower edge.")
    if len(rows) < len(material.rows):
        says.append(
            f"Shown are {len(rows):,} of {len(material.rows):,} trials, evenly taken, and all that "
            f"were the best of their time."
        )
    if outside:
        says.append(f"{count(outside, 'trial lies', 'trials lie')} beyond the axis.")
    return Plot(
        id="history",
        title=f"{material.config.metric} by trial",
        says=" ".join(says),
        figure=figure(
            traces,
            height=420,
            xaxis=titled("trial"),
            yaxis=titled(material.config.metric) | {"range": (low, high)},
        ),
    )


def _shown(row: TrialRow) -> float | None:
    return row.value if row.value is not None else row.last_value


def _points(
    material: Material, state: str, rows: Sequence[TrialRow], at: float | None = None
) -> dict[str, Any]:
    line = {"color": COLOURS[state], "width": 1.5 if SYMBOLS[state] == "x-thin" else 1}
    return {
        "type": "scatter",
        "name": f"{state} ({len(rows):,})",
        "x": [row.number for row in rows],
        "y": [_shown(row) if at is None else at for row in rows],
        "mode": "markers",
        "marker": {"symbol": SYMBOLS[state], "color": COLOURS[state], "size": 7, "line": line},
        "text": [told(material, row) for row in rows],
        "hoverinfo": "text",
    }


def told(material: Material, row: TrialRow) -> str:
    """Say all about a trial that fits beside its point."""
    value = _shown(row)
    lines = [f"trial {row.number}, {row.state}"]
    lines += [f"{material.config.metric} {number(value)}"] if value is not None else []
    lines += [f"{name} {number(more)}" for name, more in row.further.items() if more is not None]
    lines += [
        f"{p.name} {setting(row.params[p.name])}"
        for p in material.tuned
        if material.drawn(row, p) is not None
    ]
    return "<br>".join(map(safe, lines))


def _history_words(material: Material, ever_best: Sequence[TrialRow]) -> str:
    if not ever_best:
        return "No trial has been completed yet."
    metric, first, last = material.config.metric, ever_best[0], ever_best[-1]
    if first is last:
        return (
            f"Trial {last.number}, the first to be completed, has the best {metric}: "
            f"{number(last.value or 0.0)}."
        )
    verb = "rose" if material.config.direction == "maximize" else "fell"
    later = material.rows[-1].number - last.number
    quiet = f"; the {count(later, 'trial')} since brought nothing better" if later > 1 else ""
    return (
        f"The best {metric} so far {verb} from {number(first.value or 0.0)} (trial "
        f"{first.number}) to {number(last.value or 0.0)} (trial {last.number}) in "
        f"{count(len(ever_best) - 1, 'step')}{quiet}."
    )


def curves_plot(material: Material) -> Plot | None:
    """Draw the reports of trials by epoch; None where there is none."""
    by_number = {row.number: row for row in material.rows}
    with_curve = [number for number in material.curves if number in by_number]
    ranked = [row.number for row in material.ranked if row.number in material.curves]
    favoured = ranked[:N_BEST_CURVES]
    others = sorted(set(with_curve) - set(favoured))
    shown = set(favoured) | set(evenly(others, MAX_CURVES - len(favoured)))
    values = [v for n in shown for _, v in material.curves[n] if math.isfinite(v)]
    if not values:
        return None
    (low, high), outside = value_range(values, material.config)
    best = [number for number in ranked[:1] if number == material.ranked[0].number]
    groups = {
        "pruned": [n for n in shown if by_number[n].state == "pruned"],
        "complete": [n for n in shown if by_number[n].state == "complete" and n not in best],
        "running": [n for n in shown if by_number[n].state in {"running", "waiting"}],
        "failed": [n for n in shown if by_number[n].state == "failed"],
    }
    traces: list[Any] = []
    for state, numbers in groups.items():
        traces += _curves(material, state, sorted(numbers)) if numbers else []
    if best:
        points = evenly(material.curves[best[0]], MAX_REPORTS)
        traces.append(
            {
                "type": "scatter",
                "name": f"best (trial {best[0]})",
                "x": [step / STEPS_PER_EPOCH for step, _ in points],
                "y": [finite(value) for _, value in points],
                "mode": "lines+markers",
                "line": {"color": INK, "width": 3},
                "marker": {"size": 6, "color": INK},
            }
        )
    return Plot(
        id="curves",
        title="Learning curves",
        says=_curves_words(material, groups, best, len(with_curve), len(shown), outside),
        figure=figure(
            traces,
            height=420,
            xaxis=titled("epoch") | {"rangemode": "tozero"},
            yaxis=titled(material.config.metric) | {"range": (low, high)},
        ),
    )


def _curves(material: Material, state: str, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Make one line trace for all curves of a state, and crosses where pruned ones end."""
    dash = {"complete": "solid", "pruned": "dash", "running": "dot", "failed": "dashdot"}[state]
    curves = [evenly(material.curves[number], MAX_REPORTS) for number in numbers]
    lines = {
        "type": "scatter",
        "name": f"{state} ({len(numbers):,})",
        "legendgroup": state,
        "x": gapped([[step / STEPS_PER_EPOCH for step, _ in curve] for curve in curves]),
        "y": gapped([[finite(value) for _, value in curve] for curve in curves]),
        "text": gapped(
            [[f"trial {n}"] * len(curve) for n, curve in zip(numbers, curves, strict=True)]
        ),
        "hovertemplate": "%{text}: %{y:.4f} at epoch %{x}<extra></extra>",
        "mode": "lines",
        "line": {"color": COLOURS[state], "width": 1, "dash": dash},
        "opacity": 0.65,
    }
    if state == "complete":
        return [lines]
    ends = {
        "type": "scatter",
        "name": f"{state}: last report",
        "legendgroup": state,
        "showlegend": False,
        "x": [curve[-1][0] / STEPS_PER_EPOCH for curve in curves],
        "y": [finite(curve[-1][1]) for curve in curves],
        "mode": "markers",
        "marker": {
            "symbol": SYMBOLS[state],
            "color": COLOURS[state],
            "size": 7,
            "line": {"color": COLOURS[state], "width": 1.5},
        },
        "hoverinfo": "skip",
    }
    return [lines, ends]


def _curves_words(
    material: Material,
    groups: dict[str, list[int]],
    best: Sequence[int],
    n_curves: int,
    n_shown: int,
    outside: int,
) -> str:
    says = []
    if best:
        curve = material.curves[best[0]]
        value = material.ranked[0].value
        # The value is that of the best whole epoch, often not the last one.
        peak = next((point for point in curve if point[1] == value), curve[-1])
        says.append(
            f"The best trial, {best[0]}, went from {number(curve[0][1])} at epoch "
            f"{epochs(curve[0][0])} to {number(peak[1])} at epoch {epochs(peak[0])}."
        )
    if pruned := groups["pruned"]:
        middle = sorted(material.curves[n][-1][0] for n in pruned)[len(pruned) // 2]
        says.append(
            f"Half of the pruned trials shown (dashed, ending in a cross) had ended by epoch "
            f"{epochs(middle)}."
        )
    if n_shown < n_curves:
        says.append(
            f"Shown are {n_shown} of {n_curves:,} curves: the {N_BEST_CURVES} best and an even "
            f"sample of the others."
        )
    if outside:
        says.append(f"{count(outside, 'report lies', 'reports lie')} beyond the axis.")
    return " ".join(says) or f"{count(n_curves, 'learning curve')}, none of a complete trial yet."
