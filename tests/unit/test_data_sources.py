"""The same examples from any source, and an explained error for any source that is no good."""

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tuner.config import DataConfig
from tuner.data.corpus import Corpus
from tuner.data.sources import has_test, read, read_test
from tuner.errors import DataError

EXAMPLES = [
    ('He said "no", twice.\nThen he left.', 0, "a"),
    ("", 0, "a"),
    ("Nicht übel: 映画!", 1, "b"),
    ("tab\there, comma", 1, "c"),
    ("good " * 50_000, 1, "c"),  # beyond the field limit of the csv module
]


def write_csv(folder: Path, delimiter: str = ",", name: str = "r.csv", mark: str = "") -> Path:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(["stars", "review", "film"])
    writer.writerows([label, text, group] for text, label, group in EXAMPLES)
    path = folder / name
    path.write_text(mark + text.getvalue(), encoding="utf-8", newline="")
    return path


def write_tsv(folder: Path) -> Path:
    return write_csv(folder, "\t", "r.tsv")


def write_marked_csv(folder: Path) -> Path:
    return write_csv(folder, mark="\ufeff")


def write_jsonl(folder: Path) -> Path:
    path = folder / "r.jsonl"
    lines = [json.dumps({"review": t, "stars": n, "film": g, "more": 1}) for t, n, g in EXAMPLES]
    path.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    return path


def packed(write: Callable[[Path], Path]) -> Callable[[Path], Path]:
    def write_packed(folder: Path) -> Path:
        plain = write(folder)
        path = plain.with_name(plain.name + ".gz")
        path.write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
        return path

    return write_packed


def write_parquet(folder: Path) -> Path:
    texts, labels, groups = (list(column) for column in zip(*EXAMPLES, strict=True))
    path = folder / "r.parquet"
    pq.write_table(pa.table({"review": texts, "stars": labels, "film": groups}), path)
    return path


def write_parquet_with_fractions(folder: Path) -> Path:
    texts, labels, groups = (list(column) for column in zip(*EXAMPLES, strict=True))
    path = folder / "r.parquet"
    numbers = [float(label) for label in labels]
    pq.write_table(pa.table({"review": texts, "stars": numbers, "film": groups}), path)
    return path


def write_folder(folder: Path) -> Path:
    for i, (text, label, _) in enumerate(EXAMPLES):
        file = folder / "reviews" / str(label) / f"{i}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="")
    return folder / "reviews"


SOURCES = {
    "csv": write_csv,
    "csv with a byte order mark": write_marked_csv,
    "tsv": write_tsv,
    "jsonl": write_jsonl,
    "csv.gz": packed(write_csv),
    "tsv.gz": packed(write_tsv),
    "jsonl.gz": packed(write_jsonl),
    "parquet": write_parquet,
    "parquet with fractions": write_parquet_with_fractions,
    "folder": write_folder,
}


def read_path(path: Path, *, group: str | None = None, examples: int | None = None) -> Corpus:
    config = DataConfig(
        source=str(path), text="review", label="stars", group=group, examples=examples
    )
    return read(config, seed=0, folder=path.parent)


def explained(path: Path, *, group: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read_path(path, group=group)
    return str(caught.value)


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_the_same_examples(kind: str, tmp_path: Path) -> None:
    grouped = kind != "folder"
    corpus = read_path(SOURCES[kind](tmp_path), group="film" if grouped else None)
    assert corpus.texts == tuple(text for text, _, _ in EXAMPLES)
    assert corpus.labels.tolist() == [label for _, label, _ in EXAMPLES]
    assert corpus.classes == ("0", "1")
    assert corpus.groups == (tuple(group for _, _, group in EXAMPLES) if grouped else None)
    assert corpus.ranks is None
    assert corpus.notes == ()


def write_lines(folder: Path, *lines: str, name: str = "r.csv") -> Path:
    path = folder / name
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def test_number_classes_are_sorted_as_numbers_and_others_as_letters(tmp_path: Path) -> None:
    numbers = write_lines(tmp_path, "review,stars", *(f"x{i % 3},{i}" for i in (10, 9, 1) * 2))
    assert read_path(numbers).classes == ("1", "9", "10")
    names = write_lines(tmp_path, "review,stars", *(f"x,{i}" for i in ("pos", "9", "10") * 2))
    assert read_path(names).classes == ("10", "9", "pos")


def test_true_and_false_are_classes(tmp_path: Path) -> None:
    lines = [json.dumps({"review": "x", "stars": i % 2 == 0}) for i in range(4)]
    corpus = read_path(write_lines(tmp_path, *lines, name="r.jsonl"))
    assert corpus.classes == ("false", "true")


# --- where -------------------------------------------------------------------------------------


def test_a_relative_path_begins_at_the_data_root_if_it_is_there_else_at_the_study_file(
    tmp_path: Path,
) -> None:
    study, root = tmp_path / "study", tmp_path / "root"
    for place, word in ((study, "study"), (root, "root")):
        place.mkdir()
        write_lines(place, "text,label", f"{word},0", f"{word},1", f"{word},0", f"{word},1")
    config = DataConfig(source="r.csv")
    assert (read(config, seed=0, folder=study).texts or ())[0] == "study"
    assert (read(config, seed=0, folder=study, data_root=root).texts or ())[0] == "root"
    (root / "r.csv").unlink()
    assert (read(config, seed=0, folder=study, data_root=root).texts or ())[0] == "study"


def test_a_missing_file_names_the_places_looked_at(tmp_path: Path) -> None:
    config = DataConfig(source="gone.csv")
    with pytest.raises(DataError, match="no such file or folder") as caught:
        read(config, seed=0, folder=tmp_path / "a", data_root=tmp_path / "b")
    assert str(tmp_path / "a" / "gone.csv") in str(caught.value)
    assert str(tmp_path / "b" / "gone.csv") in str(caught.value)


def test_a_place_that_cannot_be_looked_at_is_told_and_others_are_looked_at(tmp_path: Path) -> None:
    name = "x" * 300 + ".csv"
    with pytest.raises(DataError, match=r"no such file.*x\.csv \(File name too long\) and "):
        read(DataConfig(source=name), seed=0, folder=tmp_path, data_root=tmp_path)


def test_a_mistyped_source_name_is_understood(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Did you mean `imdb`"):
        read(DataConfig(source="imbd"), seed=0, folder=tmp_path)


def test_an_unknown_ending_lists_the_known_ones(tmp_path: Path) -> None:
    message = explained(write_lines(tmp_path, "x", name="r.xlsx"))
    assert ".csv, .tsv, .jsonl" in message
    assert ".parquet" in message


def test_an_npz_file_is_sent_to_the_imdb_source(tmp_path: Path) -> None:
    assert 'source = "imdb" and path' in explained(write_lines(tmp_path, "x", name="r.npz"))


# --- what is wrong in it -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_missing_column_names_those_that_are_there(kind: str, tmp_path: Path) -> None:
    path = SOURCES[kind](tmp_path)
    with pytest.raises(DataError, match=r"no column 'reviews' \(data.text\).*'stars'") as caught:
        read(DataConfig(source=str(path), text="reviews", label="stars"), seed=0, folder=tmp_path)
    assert "Did you mean `review`?" in str(caught.value)


def test_a_missing_group_column_is_named(tmp_path: Path) -> None:
    assert "no column 'flm' (data.group)" in explained(write_csv(tmp_path), group="flm")


def test_texts_that_are_all_empty_are_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path, "review,stars", ",1", " ,0", ",1", ",0")
    assert "all 4 texts are empty" in explained(path)


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path, "review,stars", "a,1", "b,1")
    assert "all 2 examples are of one class, '1'" in explained(path)


def test_a_class_with_one_example_is_refused_by_name(tmp_path: Path) -> None:
    path = write_lines(tmp_path, "review,stars", "a,1", "b,1", "c,rare")
    assert "only one example of class 'rare'" in explained(path)


def test_bytes_that_are_not_utf_8_are_found(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(b"review,stars\ngood,1\ncaf\xe9,0\n")
    assert f"{path}, line 3, byte 4: not UTF-8 (byte 0xe9)" in explained(path)


def test_bytes_that_are_not_utf_8_are_found_in_a_folder(tmp_path: Path) -> None:
    path = write_folder(tmp_path)
    (path / "1" / "9.txt").write_bytes(b"caf\xe9")
    assert f"{path / '1' / '9.txt'}, line 1, byte 4: not UTF-8" in explained(path)


@pytest.mark.parametrize("label", ["null", '""', '"  "', "NaN"])
def test_a_missing_label_is_found_by_its_line(label: str, tmp_path: Path) -> None:
    lines = ['{"review": "a", "stars": 1}', f'{{"review": "b", "stars": {label}}}']
    message = explained(write_lines(tmp_path, *lines, name="r.jsonl"))
    assert "line 2: the label is missing (column 'stars')" in message


def test_a_missing_group_is_found_by_its_line(tmp_path: Path) -> None:
    path = write_lines(tmp_path, "review,stars,film", "a,1,x", "b,0,")
    assert "line 3: the group is missing (column 'film')" in explained(path, group="film")


def test_a_label_that_is_no_name_is_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path, '{"review": "a", "stars": [1]}', name="r.jsonl")
    assert "expected a label in column 'stars', a text or number. Received [1]" in explained(path)


def test_a_text_that_is_a_number_is_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path, '{"review": 3, "stars": 1}', name="r.jsonl")
    assert "expected a text in column 'review'. Received 3 (int)" in explained(path)


def test_half_a_character_is_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path, r'{"review": "a\ud83d", "stars": 1}', name="r.jsonl")
    assert "line 1: the text in column 'review' holds half a character" in explained(path)
    path = write_lines(tmp_path, r'{"review": "a", "stars": "\ud83d"}', name="r.jsonl")
    assert "line 1: the label in column 'stars' holds half a character" in explained(path)


def test_a_class_folder_whose_name_is_in_another_encoding_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"n\xe9gatif")
    folder.mkdir()
    (folder / "1.txt").write_text("bad")
    assert "the class in column 'folder' holds half a character" in explained(tmp_path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"review": "b", ', "broken JSON"),
        ("[1, 2]", "expected a JSON object"),
        ("{}", "no column"),
    ],
)
def test_a_broken_json_line_is_found(line: str, reason: str, tmp_path: Path) -> None:
    path = write_lines(tmp_path, '{"review": "a", "stars": 1}', line, name="r.jsonl")
    assert f"{path}, line 2: {reason}" in explained(path)


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl"])
def test_an_empty_file_is_refused(name: str, tmp_path: Path) -> None:
    assert "the file is empty" in explained(write_lines(tmp_path, name=name))


def test_a_file_with_column_names_only_is_refused(tmp_path: Path) -> None:
    assert "holds no examples" in explained(write_lines(tmp_path, "review,stars"))


@pytest.mark.parametrize(("line", "n_fields"), [("a,b,1", 3), ("a", 1)])
def test_a_csv_line_with_another_number_of_fields_is_found(
    line: str, n_fields: int, tmp_path: Path
) -> None:
    path = write_lines(tmp_path, "review,stars", "good,1", line)
    assert f"line 3: expected 2 fields as in the first line. Received {n_fields}." in explained(
        path
    )


def test_a_quotation_mark_that_is_never_closed_is_found(tmp_path: Path) -> None:
    path = write_lines(tmp_path, "review,stars", "good,1", '"never closed,0', "bad,0")
    assert "cannot be read as .csv (unexpected end of data)" in explained(path)


def test_two_columns_of_the_same_name_are_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path, "review,stars,review", "a,1,b")
    assert "two columns are named 'review'" in explained(path)


def test_a_cut_off_gzip_file_is_explained(tmp_path: Path) -> None:
    path = SOURCES["csv.gz"](tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    assert "not a whole gzip file" in explained(path)


def test_a_gzip_file_that_is_none_is_explained(tmp_path: Path) -> None:
    assert "not a whole gzip file" in explained(write_lines(tmp_path, "a", name="r.csv.gz"))


def test_a_parquet_file_that_is_none_is_explained(tmp_path: Path) -> None:
    message = explained(write_lines(tmp_path, "no parquet at all", name="r.parquet"))
    assert "cannot be read as Parquet" in message


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_parquet(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install '.[parquet]'" in explained(path)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that cannot be read by anybody")
def test_a_file_that_cannot_be_read_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.symlink_to("/proc/self/mem")
    assert f"{path}: cannot be read (" in explained(path)


# --- folders -----------------------------------------------------------------------------------


def test_a_folder_of_train_and_test_points_to_train(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / part / "pos").mkdir(parents=True)
    assert f"Use source = {str(tmp_path / 'train')!r}" in explained(tmp_path)


def test_parts_without_folders_of_classes_are_no_classes(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "1.txt").write_text("whose class is elsewhere")
    assert "one folder per class was expected" in explained(tmp_path)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("bus", "train"):
        (tmp_path / name).mkdir()
        for number in range(2):
            (tmp_path / name / f"{number}.txt").write_text(f"by {name} {number}")
    assert read_path(tmp_path).classes == ("bus", "train")


def test_a_text_that_was_never_fetched_is_explained(tmp_path: Path) -> None:
    (tmp_path / "pos").mkdir()
    (tmp_path / "pos" / "1.txt").symlink_to(tmp_path / "gone")
    assert f"{tmp_path / 'pos' / '1.txt'}: cannot be read (No such file" in explained(tmp_path)


def test_unlabelled_reviews_beside_neg_and_pos_are_left_out(tmp_path: Path) -> None:
    for name in ("neg", "pos", "unsup"):
        (tmp_path / name).mkdir()
        for i in range(2):
            (tmp_path / name / f"{i}.txt").write_text(f"{name} {i}")
    corpus = read_path(tmp_path)
    assert corpus.classes == ("neg", "pos")
    assert any("unsup" in note for note in corpus.notes)


def test_a_folder_without_folders_is_explained(tmp_path: Path) -> None:
    assert "no folders in it. Expected one per class" in explained(tmp_path)


def test_a_class_folder_without_texts_is_named(tmp_path: Path) -> None:
    path = write_folder(tmp_path)
    (path / "2").mkdir()
    assert "no .txt files for class '2'" in explained(path)


def test_a_folder_has_no_column_for_groups(tmp_path: Path) -> None:
    assert "names a column, and a folder has none" in explained(
        write_folder(tmp_path), group="film"
    )


# --- what a person should know -----------------------------------------------------------------


def test_a_rare_class_is_noted(tmp_path: Path) -> None:
    rows = [f"text {i},{int(i < 3)}" for i in range(30)]
    (note,) = read_path(write_lines(tmp_path, "review,stars", *rows)).notes
    assert "'1' has 3 of 30" in note
    assert "val_macro_f1" in note
    assert "class_weights" in note


def test_duplicates_and_conflicts_are_noted(tmp_path: Path) -> None:
    rows = ["Good  film,1", "good film,1", "GOOD film ,0", "bad,0", "bad,0", "fine,1"]
    repeated, conflicting = read_path(write_lines(tmp_path, "review,stars", *rows)).notes
    assert repeated.startswith("3 of 6 texts repeat")
    assert conflicting.startswith("1 texts occur with different classes")


def test_examples_keeps_a_stratified_part_that_the_seed_decides(tmp_path: Path) -> None:
    rows = [f"text {i},{'rare' if i % 10 == 0 else 'usual'}" for i in range(100)]
    path = write_lines(tmp_path, "review,stars", *rows)
    corpus = read_path(path, examples=30)
    assert len(corpus) == 30
    assert corpus.labels.tolist().count(0) == 3
    assert corpus.texts == read_path(path, examples=30).texts
    assert "30 of 100 examples are used (data.examples)." in corpus.notes
    config = DataConfig(source=str(path), text="review", label="stars", examples=30)
    assert read(config, seed=1, folder=tmp_path).texts != corpus.texts


def test_examples_keeps_two_of_each_class(tmp_path: Path) -> None:
    rows = [f"text {i},{min(i // 2, 4)}" for i in range(100)]
    corpus = read_path(write_lines(tmp_path, "review,stars", *rows), examples=10)
    assert [corpus.labels.tolist().count(label) for label in range(5)] == [2] * 5


def test_too_few_examples_for_the_classes_are_refused(tmp_path: Path) -> None:
    rows = [f"text {i},{i % 6}" for i in range(60)]
    path = write_lines(tmp_path, "review,stars", *rows)
    with pytest.raises(DataError, match=r"examples = 10 cannot hold two .* Use at least 12"):
        read_path(path, examples=10)


# --- test examples -----------------------------------------------------------------------------


def test_test_examples_come_from_their_own_file_with_the_classes_of_training(
    tmp_path: Path,
) -> None:
    write_lines(tmp_path, "text,label", "a,neg", "b,pos", "c,neg", "d,pos")
    write_lines(tmp_path, "text,label", "e,pos", name="t.csv")
    config = DataConfig(source="r.csv", test="t.csv", group="film")
    corpus = read_test(config, classes=("neg", "pos"), seed=0, folder=tmp_path)
    assert corpus.texts == ("e",)
    assert corpus.labels.tolist() == [1]
    assert corpus.groups is None


@pytest.mark.parametrize(
    ("films", "groups"), [(("x", "y"), ("x", "y")), (("x", ""), None)], ids=["all", "not all"]
)
def test_test_examples_tell_their_groups_where_all_have_one(
    tmp_path: Path, films: tuple[str, str], groups: tuple[str, str] | None
) -> None:
    write_lines(tmp_path, "text,label,film", "a,neg,u", "b,pos,v")
    rows = (f"e,pos,{films[0]}", f"f,neg,{films[1]}")
    write_lines(tmp_path, "text,label,film", *rows, name="t.csv")
    config = DataConfig(source="r.csv", test="t.csv", group="film")

    corpus = read_test(config, classes=("neg", "pos"), seed=0, folder=tmp_path)

    assert corpus.texts == ("e", "f")
    assert corpus.groups == groups


def test_a_test_class_that_training_does_not_know_is_refused(tmp_path: Path) -> None:
    write_lines(tmp_path, "text,label", "a,neg", "b,pos", "c,neg", "d,pos")
    write_lines(tmp_path, "text,label", "e,mixed", name="t.csv")
    with pytest.raises(DataError, match="class 'mixed' does not occur in the training"):
        read_test(
            DataConfig(source="r.csv", test="t.csv"),
            classes=("neg", "pos"),
            seed=0,
            folder=tmp_path,
        )


def test_the_training_file_is_no_test_file(tmp_path: Path) -> None:
    write_lines(tmp_path, "text,label", "a,neg", "b,pos")
    config = DataConfig(source="r.csv", test=str(tmp_path / "r.csv"))
    with pytest.raises(DataError, match=r"data\.test is data\.source itself"):
        read_test(config, classes=("neg", "pos"), seed=0, folder=tmp_path)


def test_without_test_examples_the_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no test examples. Name a file or folder with data\.test"):
        read_test(DataConfig(source="r.csv"), classes=("a", "b"), seed=0, folder=tmp_path)


def test_preparing_never_imports_tensorflow(tmp_path: Path) -> None:
    write_lines(tmp_path, "text,label", *(f"text {i},{i % 2}" for i in range(20)))
    program = (
        "import sys; from pathlib import Path; from tuner.config import DataConfig; "
        "import tuner.data.batches; "
        "from tuner.data.prepare import prepare; "
        "config = DataConfig(source='r.csv'); "
        f"prepare(config, seed=0, folder=Path({str(tmp_path)!r})); "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    ("config", "there"),
    [
        ({"source": "r.csv"}, False),
        ({"source": "r.csv", "test": "gone.csv"}, True),
        ({"source": "imdb"}, True),
        ({"source": "demo"}, True),
    ],
)
def test_whether_there_is_a_test_set_is_said_without_looking_at_it(
    config: dict[str, str], there: bool
) -> None:
    assert has_test(DataConfig.model_validate(config)) is there
