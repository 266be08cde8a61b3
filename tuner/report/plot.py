"""What all plots share: colours and shapes of states, axes, text that is safe, words beside."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuner.config import StudyConfig

#: Text and lines.
INK = "#1b1f24"
#: Text of less weight; 4.5 to 1 on all backgrounds of the page.
MUTED = "#4d5660"
GRID = "#e3e7eb"
PAPER = "#ffffff"
#: Each state has a colour and a shape of its own: neither alone must be told apart.
COLOURS: Mapping[str, str] = {
    "complete": "#1f5fa8",
    "pruned": "#b45309",
    "failed": "#a4133c",
    "superseded": "#7c3f58",
    "running": "#4a7023",
    "waiting": "#6b4fa0",
    "idle": "#5f6b76",
}
SYMBOLS: Mapping[str, str] = {
    "complete": "circle",
    "pruned": "x-thin",
    "failed": "triangle-down",
    "running": "diamond-open",
    "waiting": "square-open",
}


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot with its text alternative."""

    #: Name in the page.
    id: str
    #: Heading.
    title: str
    #: What it shows, in sentences.
    says: str
    #: What Plotly draws: its data and layout, JSON types.
    figure: Mapping[str, Any]
    #: Whether it needs room, and is scrolled in its frame where there is none.
    wide: bool = False

    @property
    def height(self) -> int:
        """Pixels, so that the page keeps its place while plots are drawn."""
        return int(self.figure["layout"]["height"])


def safe(text: object) -> str:
    """Write text so that Plotly shows it as it is: it reads a part of HTML in labels."""
    return html.escape(str(text), quote=False)


def figure(
    traces: Sequence[Mapping[str, Any]],
    *,
    height: int,
    xaxis: Mapping[str, Any],
    yaxis: Mapping[str, Any],
    **layout: Any,
) -> dict[str, Any]:
    """Make a figure in the style of the page.

    Plotly's own classes would check every number of it, which takes longer than all the rest; the
    tests do that instead.

    Args:
        traces: What is drawn, as Plotly's reference names it.
        height: Pixels.
        xaxis: What is special about the horizontal axis.
        yaxis: What is special about the vertical axis.
        layout: What else is special.
    """
    axis = {
        "gridcolor": GRID,
        "linecolor": MUTED,
        "tickcolor": MUTED,
        "ticks": "outside",
        "showline": True,
        "zeroline": False,
        "automargin": True,
    }
    font = "system-ui, -apple-system, 'Segoe UI', sans-serif"
    style = {
        "font": {"family": font, "size": 14, "color": INK},
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "margin": {"l": 56, "r": 16, "t": 12, "b": 48},
        "height": height,
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": axis | dict(xaxis),
        "yaxis": axis | dict(yaxis),
    }
    return {"data": list(traces), "layout": style | layout}


def titled(text: str) -> dict[str, Any]:
    """Make the title of an axis."""
    return {"title": {"text": safe(text), "standoff": 8}}


def finite(value: float) -> float | None:
    """Give a number for a figure; JSON knows no other than finite ones."""
    return value if math.isfinite(value) else None


def value_range(values: Sequence[float], config: StudyConfig) -> tuple[tuple[float, float], int]:
    """Choose what part of an axis of values is worth seeing.

    A few trials that went wrong by orders of magnitude would press all others into one line.

    Args:
        values: Finite numbers, at least one.
        config: Says on which side the good ones are, of which none is left out.

    Returns:
        Low and high end, and how many values lie outside.
    """
    numbers = np.asarray(values, dtype=float)
    low, high = float(numbers.min()), float(numbers.max())
    near, middle, far = np.quantile(numbers, (0.1, 0.5, 0.9))
    if config.direction == "maximize":
        low = max(low, float(middle - 6 * max(high - middle, middle - near)))
    else:
        high = min(high, float(middle + 6 * max(middle - low, far - middle)))
    outside = int(((numbers < low) | (numbers > high)).sum())
    margin = 0.06 * (high - low) or max(abs(high), 1.0) * 0.05
    return (low - margin, high + margin), outside


def gapped(lines: Sequence[Sequence[Any]]) -> list[Any]:
    """Put many lines into one trace: Plotly draws a gap at None."""
    return [point for line in lines for point in (*line, None)]
