"""Explanations of texts on a terminal, and for programs."""

from typing import Any

from rich.style import Style
from rich.table import Table
from rich.text import Text

from tuner.attribution import Balance, Explanation
from tuner.attribution.shades import INK, colour
from tuner.attribution.views import View, views_of
from tuner.cli.terminal import console
from tuner.cli.words import printable


def as_json(found: Explanation, *, each_model: bool) -> dict[str, Any]:
    """Write an explanation for programs."""
    said = {
        "class": found.target,
        "predicted": found.predicted,
        **_balance(found.whole),
        "steps": found.n_steps,
        "agreement": found.agreement,
        "words": [
            {
                "text": found.written(word),
                "begin": word.begin,
                "end": word.end,
                "known": word.is_known,
                "read": word.is_read,
                "attribution": word.attribution,
                "occlusion": word.occlusion,
            }
            for word in found.words
        ],
    }
    if each_model:
        said["models"] = [
            {
                "file": balance.whose,
                **_balance(balance),
                "attributions": [word.by_model[number] for word in found.words],
            }
            for number, balance in enumerate(found.by_model)
        ]
    return said


def _balance(balance: Balance) -> dict[str, float]:
    return {
        "probability": balance.probability,
        "log_odds": balance.log_odds,
        "baseline": balance.baseline,
        "attributed": balance.attributed,
    }


def print_explanation(found: Explanation, *, n_words: int, each_model: bool) -> None:
    """Print an explanation for people."""
    out = console(stderr=False)
    other = "" if found.target == found.predicted else f" (predicted: {found.predicted})"
    for view in views_of(found, each_model=each_model):
        whose = f", {view.balance.whose}" if len(found.by_model) > 1 else ""
        out.print(Text(f"{found.target}{other}{whose}: {_sum(view.balance)}", style="bold"))
        out.print(coloured(view))
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("word")
    table.add_column("attribution", justify="right")
    table.add_column("fall without it", justify="right")
    for word in found.strongest(n_words):
        name = Text(printable(found.written(word)))
        table.add_row(name, f"{word.attribution:+.3f}", f"{word.occlusion:+.3f}")
    out.print(table)
    agreement = "none to rank" if found.agreement is None else f"{found.agreement:.2f}"
    out.print(
        f"Integrated gradients, {found.n_steps} steps, {found.whole.gap:.3f} from the exact sum; "
        f"rank agreement with occlusion: {agreement}.",
        style="dim",
    )


def coloured(view: View) -> Text:
    """Colour a text's words by what they add."""
    result = Text()
    for piece in view.pieces:
        back = colour(piece.level)
        style = Style(color=INK, bgcolor=back) if back else Style()
        if piece.word is not None and not piece.word.is_read:
            style = Style(dim=True, strike=True)
        result.append(printable(piece.text), style)
    return result


def _sum(balance: Balance) -> str:
    return (
        f"probability {balance.probability:.3f}, log-odds {balance.log_odds:+.3f}: "
        f"{balance.baseline:+.3f} without any word's meaning, {balance.attributed:+.3f} from the "
        f"words"
    )
