"""`predict`: classes of texts from the command line, from stdin, or from a file."""

import csv
import io
import itertools
import json
import time
from collections.abc import Iterable, Iterator, Sequence

import click

from tuner.cli.computing import use_device
from tuner.cli.group import say
from tuner.cli.texts import texts_of
from tuner.cli.words import printable

#: Texts that are predicted and printed together; within them the short ones come first.
CHUNK = 8_192
#: Seconds from one word about the progress to the next.
TELL_SECONDS = 5.0
#: Characters of a text that a table shows.
SHOWN_CHARACTERS = 60


def predict_texts(folder: str, given: Sequence[str], column: str, form: str) -> None:
    """Predict the classes of texts and print them, in order.

    Args:
        folder: The artifact's.
        given: Texts; or one name of a file, or ``-`` for stdin.
        column: The file's column that holds the texts.
        form: ``table``, ``json`` or ``csv``.
    """
    texts = texts_of(given, column)
    use_device()
    from tuner.deliver import open_artifact

    artifact = open_artifact(folder)
    tell = _Progress()
    for number, chunk in enumerate(_chunks(texts)):
        probabilities = artifact.predict(chunk, after_batch=tell.batch)
        lines = _printed(artifact.classes, chunk, probabilities.tolist(), form, first=not number)
        click.echo("\n".join(lines))
        tell.done(len(chunk))


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(texts)
    while chunk := list(itertools.islice(rest, CHUNK)):
        yield chunk


def _printed(
    classes: Sequence[str],
    texts: Sequence[str],
    probabilities: Sequence[Sequence[float]],
    form: str,
    *,
    first: bool,
) -> Iterator[str]:
    best = [max(range(len(row)), key=row.__getitem__) for row in probabilities]
    if form == "csv":
        if first:
            yield _csv_line(["class", *(f"p_{name}" for name in classes)])
        for i, row in zip(best, probabilities, strict=True):
            yield _csv_line([classes[i], *(f"{p:.6g}" for p in row)])
    elif form == "json":
        for i, row in zip(best, probabilities, strict=True):
            shares = {name: float(f"{p:.6g}") for name, p in zip(classes, row, strict=True)}
            yield json.dumps({"class": classes[i], "probabilities": shares}, ensure_ascii=False)
    else:
        width = max(map(len, classes))
        for i, row, text in zip(best, probabilities, texts, strict=True):
            words = " ".join(printable(text[: 4 * SHOWN_CHARACTERS]).split())
            yield f"{classes[i]:<{width}}  {row[i]:.3f}  {words[:SHOWN_CHARACTERS]}".rstrip()


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


class _Progress:
    """Says now and then how far a long prediction is."""

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()
        self._n_done = 0
        self._n_batches = 0

    def batch(self, number: int) -> None:
        """Count a batch; the number is that within its chunk."""
        now = time.monotonic()
        if now - self._told >= TELL_SECONDS:
            self._told = now
            say(f"{self._n_done} texts done, at batch {number + 1} of the next {CHUNK}")

    def done(self, n: int) -> None:
        """Count texts that were printed."""
        self._n_done += n
        now = time.monotonic()
        if now - self._told >= TELL_SECONDS:
            self._told = now
            rate = self._n_done / (now - self._began)
            say(f"{self._n_done} texts done, {rate:.0f} a second")
