"""`predict`: classes of texts from the command line, from stdin, or from a file."""

import csv
import io
import itertools
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from tuner.cli.computing import use_device
from tuner.cli.group import say
from tuner.errors import InputError

#: What stands for stdin.
STDIN = "-"
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
        given: Texts; or one name of a file, or `STDIN`.
        column: The file's column that holds the texts.
        form: ``table``, ``json`` or ``csv``.
    """
    texts = _texts(given, column)
    use_device()
    from tuner.deliver import open_artifact

    artifact = open_artifact(folder)
    tell = _Progress()
    for number, chunk in enumerate(_chunks(texts)):
        probabilities = artifact.predict(chunk, after_batch=tell.batch)
        lines = _printed(artifact.classes, chunk, probabilities.tolist(), form, first=not number)
        click.echo("\n".join(lines))
        tell.done(len(chunk))


def _texts(given: Sequence[str], column: str) -> Iterable[str]:
    from tuner.data.files import text_of
    from tuner.data.rows import SUFFIXES, read_rows

    if list(given) == [STDIN]:
        return _lines_of_stdin()
    if len(given) == 1:
        is_name = given[0].lower().endswith(SUFFIXES) and not any(map(str.isspace, given[0]))
        path = Path(given[0])
        if is_name and not path.is_file():
            raise InputError(f"{path}: there is no such file. Expected a text, - or a file.")
        if is_name:
            rows = read_rows(path, {"--column": column})
            return (text_of(cells[column], place, column) for place, cells in rows)
    return given


def _lines_of_stdin() -> Iterator[str]:
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield line.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputError(
                f"stdin, line {number}, byte {error.start + 1}: not UTF-8. Expected one text a "
                f"line in UTF-8."
            ) from error


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
            words = " ".join(text[: 4 * SHOWN_CHARACTERS].split())
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
