"""What `predict` reads and prints, without any model."""

import csv
import gzip
import io
import json
from pathlib import Path

import pytest

from tuner.cli.predict import CHUNK, _chunks, _printed
from tuner.cli.texts import grouped_texts_of, texts_of
from tuner.errors import DataError, InputError

CLASSES = ("neg", "a, b")
SHARES = [[0.25, 0.75], [0.6, 0.4]]


def texts(*given: str, column: str = "text") -> list[str]:
    return list(texts_of(given, column))


def test_texts_are_taken_as_they_are() -> None:
    assert texts("A great movie!", "", "see my reviews.csv") == [
        "A great movie!",
        "",
        "see my reviews.csv",
    ]


def test_a_file_is_a_file_whatever_its_name_and_there_is_one(tmp_path: Path) -> None:
    one, other = (tmp_path / name for name in ("my reviews.csv", "more.csv"))
    for path in (one, other):
        path.write_text("text\nfive\n")

    assert texts(str(one)) == ["five"]
    with pytest.raises(InputError, match=r"more\.csv is a file, and 2 texts are given"):
        texts("A text", str(other))
    long = f"{'so ' * 200}dull.csv"
    assert texts(long) == [long]


def test_no_text_steers_the_terminal() -> None:
    (line,) = _printed(CLASSES, ["x\x1b[2Jy\x07"], SHARES[:1], "table", first=True)

    assert line == "a, b  0.750  x [2Jy"


def test_files_of_each_kind_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,other\n"one, two",1\nthree,2\n')
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        file.write('{"review": "four"}\n{"review": null, "x": 1}\n')

    assert texts(str(tmp_path / "a.csv")) == ["one, two", "three"]
    assert texts(str(tmp_path / "b.jsonl.gz"), column="review") == ["four", ""]


def test_each_text_of_a_file_belongs_to_something(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,film\none,7\ntwo, 7.0\n")
    assert list(grouped_texts_of([str(path)], "text", "film")) == [("one", "7"), ("two", "7")]

    path.write_text("text,film\none,7\ntwo,\n")
    with pytest.raises(DataError, match=r"line 3: the group is missing \(column 'film'\)"):
        list(grouped_texts_of([str(path)], "text", "film"))


def test_a_file_or_column_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("texts,label\nx,1\n")

    with pytest.raises(InputError, match="there is no such file"):
        texts(str(tmp_path / "gone.csv"))
    with pytest.raises(DataError, match=r"no column 'text' \(--column\).*Did you mean `texts`"):
        texts(str(tmp_path / "a.csv"))


def test_stdin_is_one_text_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "\ufeffone\n\nzwei \u2028 drei\r\nlast".encode()  # a byte order mark is no word
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(words)))
    assert texts("-") == ["one", "", "zwei \u2028 drei", "last"]

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"good\nbad \xff\n")))
    with pytest.raises(InputError, match="stdin, line 2, byte 5: not UTF-8"):
        texts("-")


def test_long_inputs_are_read_in_parts() -> None:
    parts = list(_chunks(str(i) for i in range(CHUNK + 3)))

    assert [len(part) for part in parts] == [CHUNK, 3]
    assert parts[1][-1] == str(CHUNK + 2)


def test_json_has_an_object_a_line() -> None:
    lines = list(_printed(CLASSES, ["x", "y"], SHARES, "json", first=True))

    assert [json.loads(line) for line in lines] == [
        {"class": "a, b", "probabilities": {"neg": 0.25, "a, b": 0.75}},
        {"class": "neg", "probabilities": {"neg": 0.6, "a, b": 0.4}},
    ]


def test_csv_has_one_head_whatever_the_parts() -> None:
    lines = [
        line
        for first in (True, False)
        for line in _printed(CLASSES, ["x", "y"], SHARES, "csv", first=first)
    ]

    rows = list(csv.DictReader(lines))
    assert len(rows) == 4
    assert rows[0] == {"class": "a, b", "p_neg": "0.25", "p_a, b": "0.75"}


def test_the_table_shows_the_begin_of_each_text_on_one_line() -> None:
    lines = list(
        _printed(CLASSES, ["two\nlines  here " + 99 * "x", ""], SHARES, "table", first=True)
    )

    assert lines[0].startswith("a, b  0.750  two lines here xxx")
    assert len(lines[0]) < 80
    assert lines[1] == "neg   0.600"
