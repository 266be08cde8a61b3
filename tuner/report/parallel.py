"""Parallel coordinates: each trial as a line over all parameters."""

import math

from tuner.domain import Choice, Range, Scalar
from tuner.importance import evenly
from tuner.report.material import Material, is_finite
from tuner.report.params import best_tenth, best_values, place, trials_words
from tuner.report.plot import COLOURS, INK, MUTED, Plot, figure, gapped, safe, value_range
from tuner.report.words import listed, number, setting
from tuner.results import TrialRow
from tuner.space import Parameter

#: Trials that are drawn.
MAX_LINES = 2000
#: Where a line passes a parameter that does not count for its trial.
_OFF = -0.14
#: Parameters that the words name.
_N_TOLD = 3


def parallel_plot(material: Material) -> Plot | None:
    """Draw each trial as a line over all parameters; None where there is nothing to compare."""
    tuned = material.tuned
    rows = [r for r in material.rows if r.state in {"complete", "pruned"} and is_finite(r.value)]
    if not tuned or not rows:
        return None
    top = {row.number for row in best_tenth(material)}
    others = [row for row in rows if row.number not in top]
    shown = evenly(others, max(2, MAX_LINES - len(top)))
    top_rows = evenly([row for row in rows if row.number in top], MAX_LINES)
    (low, high), _ = value_range([row.value or 0.0 for row in rows], material.config)
    groups = [
        ("pruned", [r for r in shown if r.state == "pruned"], "pruned", "dot", 1.0, 0.35),
        ("complete", [r for r in shown if r.state == "complete"], "complete", "solid", 1.0, 0.35),
        ("best tenth", top_rows, "best", "solid", 2.0, 0.9),
    ]
    traces = []
    for name, members, state, dash, width, opacity in groups:
        if members:
            lines = [_line(material, row, low, high) for row in members]
            traces.append(
                {
                    "type": "scatter",
                    "name": f"{name} ({len(members):,})",
                    "x": gapped([range(len(line)) for line in lines]),
                    "y": gapped(lines),
                    "text": gapped([[f"trial {row.number}"] * (len(tuned) + 1) for row in members]),
                    "hoverinfo": "text",
                    "mode": "lines",
                    "line": {"color": COLOURS.get(state, INK), "width": width, "dash": dash},
                    "opacity": opacity,
                }
            )
    has_off = any(material.drawn(row, p) is None for row in (*shown, *top_rows) for p in tuned)
    says = [_best_words(material)]
    if has_off:
        says.append("A line below the axes passes a parameter that does not count for its trial.")
    if len(shown) < len(others) or len(top_rows) < len(top):
        says.append(
            f"Shown are {len(shown) + len(top_rows):,} of {len(rows):,} trials: the best tenth and "
            f"an even sample of the others."
        )
    return Plot(
        id="parallel",
        title="Parallel coordinates",
        says=" ".join(says),
        wide=True,
        figure=figure(
            traces,
            height=460,
            margin={"l": 48, "r": 64, "t": 24, "b": 48},
            xaxis={
                "tickvals": list(range(len(tuned) + 1)),
                "ticktext": [safe(p.name) for p in tuned] + [safe(material.config.metric)],
                "range": (-0.15, len(tuned) + 0.15),
                "gridcolor": MUTED,
                "showline": False,
                "tickangle": -30,
                "ticklabeloverflow": "allow",
            },
            yaxis={"visible": False, "range": (_OFF - 0.06 if has_off else -0.08, 1.06)},
            annotations=_marks(material, low, high),
        ),
    )


def _line(material: Material, row: TrialRow, low: float, high: float) -> list[float]:
    heights = []
    for parameter in material.tuned:
        value = material.drawn(row, parameter)
        heights.append(_OFF if value is None else _height(parameter, value))
    clipped = min(max(row.value or 0.0, low), high)
    return [round(height, 4) for height in (*heights, (clipped - low) / (high - low))]


def _height(parameter: Parameter, value: Scalar) -> float:
    """Say how far up its axis a value is, from 0 to 1."""
    domain = parameter.domain
    if isinstance(domain, Choice):
        return place(domain, value) / max(1, len(domain.choices) - 1)
    assert isinstance(domain, Range)  # noqa: S101 - fixed ones are not tuned
    low, high, at = float(domain.low), float(domain.high), float(value)
    if domain.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    # Values may lie outside where a range was narrowed later.
    return min(max((at - low) / (high - low), 0.0), 1.0) if high > low else 0.5


def _marks(material: Material, low: float, high: float) -> list[dict[str, object]]:
    """Write the ends of each range and all choices beside their axes."""
    marks: list[tuple[int, float, str]] = []
    for i, parameter in enumerate(material.tuned):
        match parameter.domain:
            case Choice(choices=choices):
                marks += [(i, _height(parameter, c), setting(c)) for c in choices]
            case Range() as domain:
                marks += [(i, 0.0, setting(domain.low)), (i, 1.0, setting(domain.high))]
    marks += [(len(material.tuned), at, number(end)) for at, end in ((0.0, low), (1.0, high))]
    return [
        {
            "x": x,
            "y": y,
            "text": safe(text),
            "showarrow": False,
            "xanchor": "left",
            "xshift": 3,
            "font": {"size": 12},
            "bgcolor": "rgba(255, 255, 255, 0.8)",
            "borderpad": 1,
        }
        for x, y, text in marks
    ]


def _best_words(material: Material) -> str:
    """Say what the best trials have in common, of the most important parameters."""
    if not material.ranked:
        return "No trial has been completed: all lines are pruned trials."
    found = material.importances
    order = [p.name for p in found.parameters] if found else [p.name for p in material.tuned]
    chosen = sorted(material.tuned, key=lambda p: order.index(p.name))[:_N_TOLD]
    common = [f"{best_values(material, p)} for {p.name}" for p in chosen]
    all_told = " The table below has all parameters." if len(material.tuned) > _N_TOLD else ""
    return f"{trials_words(material)}, in thick lines, {listed(common)}.{all_told}"
