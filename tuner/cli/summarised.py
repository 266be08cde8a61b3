"""What the words of many texts do, on a terminal and for programs."""

from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from tuner.attribution import Summary, WordEffect
from tuner.cli.terminal import console
from tuner.cli.words import printable


def summary_json(summary: Summary) -> dict[str, Any]:
    """Write a summary for programs."""
    return {
        "texts": summary.n_texts,
        "left_out": summary.n_left_out,
        "min_texts": summary.min_texts,
        "words": summary.n_words,
        "models": list(summary.models),
        "classes": {
            name: [_effect(word) for word in words] for name, words in summary.for_class.items()
        },
        "disagreements": None
        if summary.disagreements is None
        else [
            {
                **_effect(each.word),
                "class": each.target,
                "scaled": list(each.scaled),
                "spread": each.spread,
            }
            for each in summary.disagreements
        ],
        "shortcuts": [
            {
                **_effect(each.word),
                "class": each.target,
                "reasons": list(each.reasons),
                "tried": each.n_tried,
                "decided": each.n_decided,
            }
            for each in summary.shortcuts
        ],
    }


def _effect(word: WordEffect) -> dict[str, Any]:
    return {
        "word": word.word,
        "texts": word.n_texts,
        "occurrences": word.n_occurrences,
        "effect": word.effect,
        "by_model": list(word.by_model),
    }


def print_summary(summary: Summary) -> None:
    """Print a summary for people."""
    for name, words in summary.for_class.items():
        _print(
            f"Words for {name}",
            ("word", "effect", "texts", "occurrences"),
            [
                (word.word, f"{word.effect:+.3f}", str(word.n_texts), str(word.n_occurrences))
                for word in words
            ],
        )
    if summary.disagreements is not None:
        _print(
            "Words on which the models disagree (effects on the same scale)",
            ("word", "for", "spread", *summary.models),
            [
                (
                    each.word.word,
                    each.target,
                    f"{each.spread:.2f}",
                    *map("{:+.2f}".format, each.scaled),
                )
                for each in summary.disagreements
            ],
        )
    _print(
        "Likely shortcuts (strong words that are numbers, markup, names, or of one group)",
        ("word", "for", "effect", "why", "decides alone in"),
        [
            (
                each.word.word,
                each.target if each.word.effect > 0 else f"against {each.target}",
                f"{each.word.effect:+.3f}",
                "; ".join(each.reasons),
                f"{each.n_decided} of {each.n_tried} texts",
            )
            for each in summary.shortcuts
        ],
    )
    left_out = f" ({summary.n_left_out} left out: too jagged)" if summary.n_left_out else ""
    click.echo(
        f"{summary.n_texts} texts{left_out}, {summary.n_words} words in {summary.min_texts} texts "
        f"or more. An effect is what a word adds to the log-odds where it stands, on average."
    )


def _print(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; its first column and words are on the left, numbers on the right."""
    listed = list(rows)
    out = console(stderr=False)
    out.print(Text(title, style="bold"))
    if not listed:
        click.echo("  none")
    else:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for heading in headings:
            is_words = heading in {"word", "for", "why", "decides alone in"}
            table.add_column(heading, justify="left" if is_words else "right")
        for row in listed:
            table.add_row(*(Text(printable(cell)) for cell in row))
        out.print(table)
    click.echo()
