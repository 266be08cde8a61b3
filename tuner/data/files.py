"""Read labelled texts from a file (.csv, .tsv, .jsonl, .parquet) or from a folder per class."""

import contextlib
import csv
import gzip
import json
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tuner.config import DataConfig
from tuner.errors import DataError, suggestion

#: How names of readable files end.
SUFFIXES = (".csv", ".tsv", ".jsonl", ".csv.gz", ".tsv.gz", ".jsonl.gz", ".parquet")
#: csv refuses longer fields than a limit of its own, which is too low for long documents.
MAX_FIELD_CHARACTERS = 2**30

_WHOLE_NUMBER = re.compile(r"(-?\d+)\.0+")

#: A cell's value by column, and where it stands, for messages.
_Row = tuple[str, Mapping[str, object]]


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
        return _read_folder(path, config)
    name = path.name.lower()
    if name.endswith(".parquet"):
        rows = _parquet_rows(path, config)
    elif name.endswith((".csv", ".csv.gz")):
        rows = _csv_rows(path, config, delimiter=",")
    elif name.endswith((".tsv", ".tsv.gz")):
        rows = _csv_rows(path, config, delimiter="\t")
    elif name.endswith((".jsonl", ".jsonl.gz")):
        rows = _json_rows(path, config)
    elif name.endswith(".npz"):
        raise DataError(
            f'{path}: an .npz file is read with source = "imdb" and path = {str(path)!r} in '
            f"[data]. Received it as data.source."
        )
    else:
        raise DataError(
            f"{path}: unknown kind of file. Expected a name that ends in one of "
            f"{', '.join(SUFFIXES)}, or a folder with one folder of .txt files per class."
        )
    return _collect(path, rows, config)


# --- cells -------------------------------------------------------------------------------------


def _collect(path: Path, rows: Iterable[_Row], config: DataConfig) -> Examples:
    examples = Examples(where=str(path), groups=[] if config.group is not None else None)
    for place, cells in rows:
        examples.texts.append(_text(cells[config.text], place, config.text))
        examples.labels.append(_name(cells[config.label], place, "label", config.label))
        if examples.groups is not None and config.group is not None:
            examples.groups.append(_name(cells[config.group], place, "group", config.group))
    if not examples.texts:
        raise DataError(f"{path}: holds no examples. Expected one a row.")
    return examples


def _text(value: object, place: str, column: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(
            f"{place}: expected a text in column {column!r}. Received {value!r} "
            f"({type(value).__name__}). Check that data.text names the right column."
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: the text in column {column!r} holds half a character "
            f"({value[error.start]!r}), which UTF-8 cannot write. Correct or remove it."
        ) from error
    return value


def _name(value: object, place: str, kind: str, column: str) -> str:
    """Give the name of a class or group; 1, 1.0, "1" and " 1.0" are the same."""
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
    whole = _WHOLE_NUMBER.fullmatch(name)
    return whole[1] if whole else name


def _check_columns(place: str, columns: Iterable[str], config: DataConfig) -> None:
    columns = list(columns)
    asked = {"text": config.text, "label": config.label, "group": config.group}
    for key, name in asked.items():
        if name is not None and name not in columns:
            there = ", ".join(repr(column) for column in columns)
            raise DataError(
                f"{place}: no column {name!r} (data.{key}). The columns there are: {there}."
                f"{suggestion(name, columns)} Name the column with data.{key}."
            )


# --- lines -------------------------------------------------------------------------------------


def _lines(path: Path) -> Iterator[str]:
    """Go through the lines of a UTF-8 file, packed or not; a byte order mark is left out."""
    n_lines = 0
    try:
        with contextlib.ExitStack() as stack:
            file: IO[bytes] | gzip.GzipFile = stack.enter_context(path.open("rb"))
            if path.name.lower().endswith(".gz"):
                file = stack.enter_context(gzip.open(file))
            for line in file:
                n_lines += 1
                text = line.decode()
                yield text.removeprefix("\ufeff") if n_lines == 1 else text
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, line {n_lines}, byte {error.start + 1}: not UTF-8 "
            f"(byte 0x{error.object[error.start]:02x}). Save the file in UTF-8."
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: not a whole gzip file ({error}). Pack or copy it again."
        ) from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}). Check the disk and who may read it."
        ) from error
    if not n_lines:
        raise DataError(f"{path}: the file is empty. Expected examples.")


@contextlib.contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(MAX_FIELD_CHARACTERS)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _csv_rows(path: Path, config: DataConfig, *, delimiter: str) -> Iterator[_Row]:
    # strict: without it, a quotation mark that is never closed swallows the rest of the file.
    reader = csv.reader(_lines(path), delimiter=delimiter, strict=True)
    with _long_fields():
        try:
            columns = next(reader, [])
            if len(set(columns)) < len(columns):
                twice = next(column for column in columns if columns.count(column) > 1)
                raise DataError(f"{path}: two columns are named {twice!r}. Rename one of them.")
            _check_columns(f"{path}, line 1", columns, config)
            for cells in reader:
                place = f"{path}, line {reader.line_num}"
                if not cells:
                    continue
                if len(cells) != len(columns):
                    raise DataError(
                        f"{place}: expected {len(columns)} fields as in the first line. Received "
                        f"{len(cells)}. Put fields with a delimiter in quotation marks."
                    )
                yield place, dict(zip(columns, cells, strict=True))
        except csv.Error as error:
            raise DataError(
                f"{path}, line {reader.line_num}: cannot be read as {path.suffixes[0]} ({error}). "
                f"A field with a delimiter, a line break or quotation marks goes in quotation "
                f"marks, and those inside are doubled; or use .jsonl."
            ) from error


def _json_rows(path: Path, config: DataConfig) -> Iterator[_Row]:
    for i, line in enumerate(_lines(path), start=1):
        place = f"{path}, line {i}"
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{place}: broken JSON ({error.msg}, character {error.pos + 1}). "
                f"Expected one whole object a line."
            ) from error
        if not isinstance(cells, dict):
            raise DataError(
                f"{place}: expected a JSON object such as "
                f'{{"{config.text}": "...", "{config.label}": "..."}}. Received '
                f"{type(cells).__name__}."
            )
        _check_columns(place, cells, config)
        yield place, cells


def _parquet_rows(path: Path, config: DataConfig) -> Iterator[_Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(
            f"{path}: reading .parquet needs pyarrow, which is not installed. "
            f"Run: pip install 'tuner[parquet]'"
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            _check_columns(str(path), file.schema_arrow.names, config)
            group = [config.group] if config.group is not None else []
            rows = file.read(columns=[config.text, config.label, *group]).to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]}). Write it again."
        ) from error
    for i, cells in enumerate(rows, start=1):
        yield f"{path}, row {i}", cells


# --- a folder per class ------------------------------------------------------------------------


def _read_folder(path: Path, config: DataConfig) -> Examples:
    if config.group is not None:
        raise DataError(
            f"{path}: data.group = {config.group!r} names a column, and a folder has none. "
            f"Leave it out, or give the examples as .jsonl."
        )
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    names = {folder.name.lower() for folder in folders}
    if "train" in names:
        train = next(folder for folder in folders if folder.name.lower() == "train")
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
            examples.texts.append("".join(_lines(file)) if file.stat().st_size else "")
            examples.labels.append(_name(folder.name, str(folder), "class", "folder"))
    return examples
