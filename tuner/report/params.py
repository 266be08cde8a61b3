"""What the parameters do: their importance, and one slice a parameter."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.domain import Choice, Range, Scalar, same
from tuner.importance import Importances, evenly
from tuner.report.material import Material, is_finite
from tuner.report.plot import (
    COLOURS,
    INK,
    PAPER,
    SYMBOLS,
    Plot,
    figure,
    safe,
    titled,
    value_range,
)
from tuner.report.words import count, listed, setting
from tuner.results import TrialRow
from tuner.space import Parameter

#: Trials in each slice.
MAX_DOTS = 1000


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One parameter by itself."""

    #: Values over it.
    plot: Plot
    #: What the best trials have, shortly.
    best: str
    #: Where all values may come from.
    domain: str


def importance_plot(found: Importances) -> Plot | None:
    """Draw shares with intervals and noise; None where nothing is tuned."""
    if not found.parameters:
        return None
    rows = found.parameters[::-1]  # Plotly begins at the bottom
    names = [safe(row.name) for row in rows]
    inside = [row.verdict == "noise" for row in rows]
    blue = COLOURS["complete"]
    bars = {
        "type": "bar",
        "name": "share, with its 90 % interval",
        "orientation": "h",
        "x": [row.share for row in rows],
        "y": names,
        "marker": {
            "color": [PAPER if hollow else blue for hollow in inside],
            "line": {"color": blue, "width": 1.5},
        },
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [row.high - row.share for row in rows],
            "arrayminus": [row.share - row.low for row in rows],
            "color": INK,
            "thickness": 1.5,
        },
        "hovertext": [f"{n}: {row.share:.2f}" for n, row in zip(names, rows, strict=True)],
        "hoverinfo": "text",
    }
    noise = {
        "type": "scatter",
        "name": "noise",
        "x": [min(row.noise, 1.0) for row in rows],
        "y": names,
        "mode": "markers",
        "marker": {
            "symbol": "line-ns",
            "size": 18,
            "line": {"color": COLOURS["pruned"], "width": 3},
        },
        "hoverinfo": "skip",
    }
    return Plot(
        id="importance",
        title="Share of each parameter",
        says=f"{found.reading} Hollow bars are within noise, which the upright marks show.",
        figure=figure(
            [bars, noise],
            height=110 + 34 * len(rows),
            xaxis=titled("share of importance") | {"range": (0, 1.02)},
            yaxis={},
            bargap=0.35,
        ),
    )


def best_tenth(material: Material) -> list[TrialRow]:
    """List the best tenth of the complete trials, at least one where there are any."""
    ranked = material.ranked
    return ranked[: math.ceil(len(ranked) / 10)]


def slices(material: Material) -> tuple[Slice, ...]:
    """Draw values over each parameter by itself; nothing where no trial has a value."""
    rows = [r for r in material.rows if r.state in {"complete", "pruned"} and is_finite(r.value)]
    if not rows:
        return ()
    (low, high), _ = value_range([row.value or 0.0 for row in rows], material.config)
    found = []
    for i, parameter in enumerate(material.tuned):
        drawn = [row for row in rows if material.drawn(row, parameter) is not None]
        if drawn:
            found.append(_slice(material, i, parameter, drawn, (low, high)))
    return tuple(found)


def _slice(
    material: Material,
    position: int,
    parameter: Parameter,
    rows: Sequence[TrialRow],
    span: tuple[float, float],
) -> Slice:
    shown = evenly(rows, MAX_DOTS)
    domain = parameter.domain
    traces = []
    for state in ("pruned", "complete"):
        members = [row for row in shown if row.state == state]
        if members:
            traces.append(
                {
                    "type": "scatter",
                    "name": f"{state} ({len(members):,})",
                    "x": [_across(domain, row, parameter.name) for row in members],
                    "y": [row.value for row in members],
                    "text": [f"trial {row.number}" for row in members],
                    "hovertemplate": "%{text}: %{y:.4f}<extra></extra>",
                    "mode": "markers",
                    "marker": {
                        "symbol": SYMBOLS[state],
                        "color": COLOURS[state],
                        "size": 6,
                        "opacity": 0.75,
                        "line": {"color": COLOURS[state], "width": 1},
                    },
                }
            )
    # Where Plotly itself chooses between straight and slanted labels, it may never settle.
    axis: dict[str, object] = titled(parameter.name) | {"tickangle": 0}
    if isinstance(domain, Choice):
        axis |= {
            "tickvals": list(range(len(domain.choices))),
            "ticktext": [safe(setting(c)) for c in domain.choices],
            "range": (-0.5, len(domain.choices) - 0.5),
            "tickangle": 0 if sum(len(setting(c)) for c in domain.choices) <= 16 else -30,
        }
    elif isinstance(domain, Range) and domain.log:
        axis |= {"type": "log", **_log_ticks(domain)}
    best = best_values(material, parameter) if material.ranked else "no complete trial yet"
    thinned = f" Shown are {len(shown):,} of {len(rows):,}." if len(shown) < len(rows) else ""
    return Slice(
        plot=Plot(
            id=f"slice-{position}",
            title=parameter.name,
            says=f"{_slice_words(material, best)}{thinned}",
            figure=figure(
                traces,
                height=250,
                showlegend=False,
                xaxis=axis,
                yaxis=titled(material.config.metric) | {"range": span},
            ),
        ),
        best=best,
        domain=_domain_words(domain),
    )


def place(domain: Choice, value: Scalar) -> int:
    """Give the position of a value among the choices."""
    return next((i for i, choice in enumerate(domain.choices) if same(choice, value)), 0)


def _log_ticks(domain: Range) -> dict[str, object]:
    """Mark 1 and 3 of each power of ten: Plotly's own marks crowd a small plot."""
    powers = range(math.floor(math.log10(domain.low)), math.ceil(math.log10(domain.high)) + 1)
    steps = (1, 3) if len(powers) <= 3 else (1,)
    ticks = [step * 10.0**power for power in powers for step in steps]
    return {"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def _across(domain: object, row: TrialRow, name: str) -> object:
    """Say where along its axis a trial lies; choices are spread, so that dots do not cover."""
    value = row.params[name]
    if not isinstance(domain, Choice):
        return value
    spread = random.Random(row.number).uniform(-0.25, 0.25)  # noqa: S311 - no secret
    return place(domain, value) + spread


def _slice_words(material: Material, best: str) -> str:
    if not material.ranked:
        return "No trial has been completed: all crosses are pruned trials."
    return f"{trials_words(material)} {best}."


def trials_words(material: Material) -> str:
    """Begin a sentence about the best trials."""
    n_best, n_complete = len(best_tenth(material)), len(material.ranked)
    if n_best == 1:
        return f"The best of {count(n_complete, 'complete trial')} has"
    return f"The best tenth ({n_best} of {n_complete:,} complete trials) has"


def best_values(material: Material, parameter: Parameter) -> str:
    """Say which values of a parameter the best trials have."""
    drawn = [v for r in best_tenth(material) if (v := material.drawn(r, parameter)) is not None]
    if not drawn:
        return "nothing, as it does not count there"
    if isinstance(parameter.domain, Choice):
        n_of = {choice: sum(same(choice, v) for v in drawn) for choice in parameter.domain.choices}
        parts = [(n, setting(c)) for c, n in n_of.items() if n]
        parts.sort(key=lambda part: -part[0])
        if len(parts) == 1:
            return parts[0][1]
        return listed([f"{value} ({n} of {len(drawn)})" for n, value in parts])
    ordered = sorted(v for v in drawn if not isinstance(v, str))
    low, middle, high = (setting(ordered[i]) for i in (0, len(ordered) // 2, -1))
    return low if low == high else f"{low} to {high} (median {middle})"


def _domain_words(domain: object) -> str:
    match domain:
        case Choice(choices=choices):
            return ", ".join(map(setting, choices))
        case Range(low=low, high=high, log=log):
            return f"{setting(low)} to {setting(high)}{' (log)' if log else ''}"
    return ""
