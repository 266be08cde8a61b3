"""Explained texts as they are shown: cut into coloured words and what stands between them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tuner.attribution.explanation import Balance, Explanation, Word
from tuner.attribution.shades import shade


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a text: a word, or what stands between two."""

    #: As it stands there.
    text: str
    #: The word; None between two.
    word: Word | None
    #: What it adds, by whom it is looked at; 0 between two.
    value: float
    #: Its colour, as `shade` gives it.
    level: int


@dataclass(frozen=True, kw_only=True)
class View:
    """A text as the models together, or one of them, see it."""

    #: What is explained.
    balance: Balance
    #: The text, in order.
    pieces: tuple[Piece, ...]


def views_of(found: Explanation, *, each_model: bool) -> list[View]:
    """Give what the models say of a text: together, and one by one where that is asked for."""
    views = [
        View(
            balance=found.whole,
            pieces=tuple(_pieces(found, [word.attribution for word in found.words])),
        )
    ]
    if each_model and len(found.by_model) > 1:
        views += [
            View(
                balance=balance,
                pieces=tuple(_pieces(found, [word.by_model[number] for word in found.words])),
            )
            for number, balance in enumerate(found.by_model)
        ]
    return views


def _pieces(found: Explanation, values: Sequence[float]) -> Iterator[Piece]:
    """Cut a text into its words and what stands between them; together they are the text.

    Args:
        found: What was said of it.
        values: Attribution of each word, by whom it shall be.
    """
    strongest = max(map(abs, values))
    end = 0
    for word, value in zip(found.words, values, strict=True):
        if word.begin > end:
            yield Piece(text=found.text[end : word.begin], word=None, value=0, level=0)
        yield Piece(text=found.written(word), word=word, value=value, level=shade(value, strongest))
        end = word.end
    if end < len(found.text):
        yield Piece(text=found.text[end:], word=None, value=0, level=0)
