"""Read rows from a file (.csv, .tsv, .jsonl, .parquet), whatever its columns mean."""

import contextlib
import csv
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from tuner.errors import DataError, suggestion

#: How names of readable files end.
SUFFIXES = (".csv", ".tsv", ".jsonl", ".csv.gz", ".tsv.gz", ".jsonl.gz", ".parquet")
#: csv refuses longer fields than a limit of its own, which is too low for long documents.
MAX_FIELD_CHARACTERS = 2**30

#: A cell's value by column, and where it stands, for messages.
Row = tuple[str, Mapping[str, object]]
#: Names of the columns that are wanted, by who asked for them, for messages.
Columns = Mapping[str, str]


def read_rows(path: Path, columns: Columns) -> Iterator[Row]:
    """Go through the rows of a file.

    Args:
        path: The file.
        columns: Those that must be there, by the key or option that names them.

    Raises:
        DataError: It cannot be read; the message names the file, the line and the remedy.
    """
    name = path.name.lower()
    if name.endswith(".parquet"):
        return _parquet_rows(path, columns)
    if name.endswith((".csv", ".csv.gz")):
        return _csv_rows(path, columns, delimiter=",")
    if name.endswith((".tsv", ".tsv.gz")):
        return _csv_rows(path, columns, delimiter="\t")
    if name.endswith((".jsonl", ".jsonl.gz")):
        return _json_rows(path, columns)
    raise DataError(
        f"{path}: unknown kind of file. Expected a name that ends in one of {', '.join(SUFFIXES)}."
    )


def _check_columns(place: str, there: Iterable[str], columns: Columns) -> None:
    names = list(there)
    for key, name in columns.items():
        if name not in names:
            listed = ", ".join(repr(column) for column in names)
            raise DataError(
                f"{place}: no column {name!r} ({key}). The columns there are: {listed}."
                f"{suggestion(name, names)} Name the column with {key}."
            )


def lines(path: Path) -> Iterator[str]:
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


def _csv_rows(path: Path, columns: Columns, *, delimiter: str) -> Iterator[Row]:
    # strict: without it, a quotation mark that is never closed swallows the rest of the file.
    reader = csv.reader(lines(path), delimiter=delimiter, strict=True)
    with _long_fields():
        try:
            there = next(reader, [])
            if len(set(there)) < len(there):
                twice = next(column for column in there if there.count(column) > 1)
                raise DataError(f"{path}: two columns are named {twice!r}. Rename one of them.")
            _check_columns(f"{path}, line 1", there, columns)
            for cells in reader:
                place = f"{path}, line {reader.line_num}"
                if not cells:
                    continue
                if len(cells) != len(there):
                    raise DataError(
                        f"{place}: expected {len(there)} fields as in the first line. Received "
                        f"{len(cells)}. Put fields with a delimiter in quotation marks."
                    )
                yield place, dict(zip(there, cells, strict=True))
        except csv.Error as error:
            raise DataError(
                f"{path}, line {reader.line_num}: cannot be read as {path.suffixes[0]} ({error}). "
                f"A field with a delimiter, a line break or quotation marks goes in quotation "
                f"marks, and those inside are doubled; or use .jsonl."
            ) from error


def _json_rows(path: Path, columns: Columns) -> Iterator[Row]:
    for i, line in enumerate(lines(path), start=1):
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
            example = json.dumps(dict.fromkeys(columns.values(), "..."))
            raise DataError(
                f"{place}: expected a JSON object such as {example}. Received "
                f"{type(cells).__name__}."
            )
        _check_columns(place, cells, columns)
        yield place, cells


def _parquet_rows(path: Path, columns: Columns) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(
            f"{path}: reading .parquet needs pyarrow, which is not installed. "
            f"Run in tuner's folder: pip install '.[parquet]'"
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            _check_columns(str(path), file.schema_arrow.names, columns)
            rows = file.read(columns=list(dict.fromkeys(columns.values()))).to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]}). Write it again."
        ) from error
    for i, cells in enumerate(rows, start=1):
        yield f"{path}, row {i}", cells
