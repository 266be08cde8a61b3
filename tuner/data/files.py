"""Read labelled texts from a file (.csv, .tsv, .jsonl, .parquet) or from a folder per class."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tuner.config import DataConfig
from tuner.data.rows import SUFFIXES, Row, lines, read_rows
from tuner.errors import DataError

_WHOLE_NUMBER = re.compile(r"(-?\d+)\.0+")


@dataclass(kw_only=True)
class Examples:
    """Labelled texts as they were written, while they are being read."""

    #: What they are read from, for messages.
    where: str
    #: The texts.
    texts: list[str] = field(default_factory=list)
    #: The class of each text.
    labels: list[str] = field(default_factory=list)
    #: What each text belongs to; None where no column was asked for.
    groups: list[str] | None = None
    #: What a person should know.
    notes: list[str] = field(default_factory=list)


def read_examples(path: Path, config: DataConfig) -> Examples:
    """Read a file or folder.

    Args:
        path: The file, or a folder with one folder of ``.txt`` files per class.
        config: Names the columns.

    Raises:
        DataError: It cannot be read; the message names the file, the line and the remedy.
    """
    if path.is_dir():
        try:
            return _read_folder(path, config)
        except OSError as error:
            raise DataError(
                f"{error.filename or path}: cannot be read ({error.strerror}). Check that it is "
                f"there, and who may read it."
            ) from error
    if path.name.lower().endswith(".npz"):
        raise DataError(
            f'{path}: an .npz file is read with source = "imdb" and path = {str(path)!r} in '
            f"[data]. Received it as data.source."
        )
    if not path.name.lower().endswith(SUFFIXES):
        raise DataError(
            f"{path}: unknown kind of file. Expected a name that ends in one of "
            f"{', '.join(SUFFIXES)}, or a folder with one folder of .txt files per class."
        )
    asked = {"data.text": config.text, "data.label": config.label, "data.group": config.group}
    columns = {key: name for key, name in asked.items() if name is not None}
    return _collect(path, read_rows(path, columns), config)


# --- cells -------------------------------------------------------------------------------------


def _collect(path: Path, rows: Iterable[Row], config: DataConfig) -> Examples:
    examples = Examples(where=str(path), groups=[] if config.group is not None else None)
    for place, cells in rows:
        examples.texts.append(text_of(cells[config.text], place, config.text))
        examples.labels.append(name_of(cells[config.label], place, "label", config.label))
        if examples.groups is not None and config.group is not None:
            examples.groups.append(name_of(cells[config.group], place, "group", config.group))
    if not examples.texts:
        raise DataError(f"{path}: holds no examples. Expected one a row.")
    return examples


def text_of(value: object, place: str, column: str) -> str:
    """Give the text in a cell; an empty one where there is nothing.

    Args:
        value: What stands there.
        place: Where that is, for messages.
        column: Its column.

    Raises:
        DataError: It is no text.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(
            f"{place}: expected a text in column {column!r}. Received {value!r} "
            f"({type(value).__name__}). Name the column that holds the texts."
        )
    _check_characters(value, place, "text", column)
    return value


def _check_characters(value: str, place: str, kind: str, column: str) -> None:
    """Refuse what no file could hold: half a character, or a folder's name in another encoding."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: the {kind} in column {column!r} holds half a character "
            f"({value[error.start]!r}), which UTF-8 cannot write. Correct or remove it."
        ) from error


def name_of(value: object, place: str, kind: str, column: str) -> str:
    """Give the name of a class or group; 1, 1.0, "1" and " 1.0" are the same.

    Args:
        value: The cell.
        place: Where it stands, for messages.
        kind: What is named.
        column: Its column.

    Raises:
        DataError: It is missing, or no name.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isnan(value):
        value = None
    if value is not None and not isinstance(value, str | int | float):
        raise DataError(
            f"{place}: expected a {kind} in column {column!r}, a text or number. "
            f"Received {value!r} ({type(value).__name__})."
        )
    name = "" if value is None else str(value).strip()
    if not name:
        raise DataError(
            f"{place}: the {kind} is missing (column {column!r}). Expected a text or number. "
            f"Fill it in or remove the row."
        )
    _check_characters(name, place, kind, column)
    whole = _WHOLE_NUMBER.fullmatch(name)
    return whole[1] if whole else name


# --- a folder per class ------------------------------------------------------------------------


#: Names of what lies beside a folder of training examples that is no class.
_OTHER_PARTS = {"test", "dev", "val", "valid", "validation"}


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _read_folder(path: Path, config: DataConfig) -> Examples:
    if config.group is not None:
        raise DataError(
            f"{path}: data.group = {config.group!r} names a column, and a folder has none. "
            f"Leave it out, or give the examples as .jsonl."
        )
    folders = _folders(path)
    names = {folder.name.lower() for folder in folders}
    train = next((folder for folder in folders if folder.name.lower() == "train"), None)
    if train is not None and (names & _OTHER_PARTS or _folders(train)):
        raise DataError(
            f"{path}: holds a folder {train.name!r} where one folder per class was expected. "
            f"Use source = {str(train)!r}."
        )
    if not folders:
        raise DataError(f"{path}: no folders in it. Expected one per class, with .txt files.")
    examples = Examples(where=str(path))
    if names == {"neg", "pos", "unsup"}:  # the Large Movie Review Dataset as it is unpacked
        folders = [folder for folder in folders if folder.name.lower() != "unsup"]
        examples.notes.append("The folder 'unsup' holds reviews without a class and is left out.")
    for folder in folders:
        files = sorted(folder.glob("*.txt"))
        if not files:
            raise DataError(
                f"{folder}: no .txt files for class {folder.name!r}. Add some or remove the folder."
            )
        for file in files:
            examples.texts.append("".join(lines(file)) if file.stat().st_size else "")
            examples.labels.append(name_of(folder.name, str(folder), "class", "folder"))
    return examples
