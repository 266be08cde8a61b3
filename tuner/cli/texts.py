"""Texts that are given to a command: as they are, in a file, or on stdin."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tuner.errors import InputError

#: What stands for stdin.
STDIN = "-"


def texts_of(given: Sequence[str], column: str) -> Iterable[str]:
    """Give the texts that are meant.

    Args:
        given: Texts; or one name of a file, or `STDIN`.
        column: The file's column that holds the texts.

    Raises:
        InputError: There is no such file, or more than one, or what is in it cannot be read.
    """
    if list(given) == [STDIN]:
        return _lines_of_stdin()
    path = _file_of(given)
    if path is None:
        return given
    return (text for text, _, _ in _rows(path, {"--column": column}))


def grouped_texts_of(given: Sequence[str], column: str, group: str) -> Iterable[tuple[str, str]]:
    """Give the texts of a file, and what each belongs to.

    Args:
        given: One name of a file.
        column: The column that holds the texts.
        group: The column that says what each belongs to.

    Raises:
        InputError: It is no file, or what is in it cannot be read.
    """
    path = _file_of(given)
    if path is None:
        raise InputError(
            f"--group {group} names a column of a file. Received no file: name one, or leave out "
            f"--group."
        )
    from tuner.data.files import name_of

    return (
        (text, name_of(cells[group], place, "group", group))
        for text, place, cells in _rows(path, {"--column": column, "--group": group})
    )


def _rows(
    path: Path, columns: Mapping[str, str]
) -> Iterator[tuple[str, str, Mapping[str, object]]]:
    """Give each row's text, where it is, and its cells."""
    from tuner.data.files import text_of
    from tuner.data.rows import read_rows

    column = columns["--column"]
    return (
        (text_of(cells[column], place, column), place, cells)
        for place, cells in read_rows(path, columns)
    )


def _file_of(given: Sequence[str]) -> Path | None:
    """Give the file that is named; None where texts are given."""
    from tuner.data.rows import SUFFIXES

    named = [text for text in given if text.lower().endswith(SUFFIXES)]
    files = [path for path in map(Path, named) if _is_file(path)]
    if len(given) > 1 and files:
        raise InputError(
            f"{files[0]} is a file, and {len(given)} texts are given. Expected one file, or texts."
        )
    if files:
        return files[0]
    if len(given) == 1 and named and not any(map(str.isspace, given[0])):
        raise InputError(f"{given[0]}: there is no such file. Expected a text, - or a file.")
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # longer than any name
        return False


def _lines_of_stdin() -> Iterator[str]:
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            text = line.decode().rstrip("\r\n")
            yield text.removeprefix("\ufeff") if number == 1 else text
        except UnicodeDecodeError as error:
            raise InputError(
                f"stdin, line {number}, byte {error.start + 1}: not UTF-8. Expected one text a "
                f"line in UTF-8."
            ) from error
