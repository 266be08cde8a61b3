"""An export answers as Keras does, in its own runtime, or is not there."""

import dataclasses
import gzip
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.artifacts import make_artifact, words_of
from tests.integration.test_data_text import HOSTILE
from tuner.deliver import open_artifact
from tuner.deliver.export.exporting import Order, export
from tuner.deliver.export.format import check_size
from tuner.deliver.export.formats import FORMATS
from tuner.deliver.export.manifest import ExportManifest, FormatName, read_export_manifest
from tuner.deliver.export.parity import largest_difference
from tuner.deliver.export.questions import STRANGE, make_questions
from tuner.deliver.manifest import MANIFEST
from tuner.errors import InputError
from tuner.params import GRUParams

WORDS = words_of([*STRANGE, *HOSTILE, *(text * 2 for text in HOSTILE), "a great movie"])


def net(**others: object) -> GRUParams:
    return GRUParams.model_validate({"units": 3, "embedding": 4} | others)


#: Every way to pool, with everything else that changes a net, by which end of a text is cut off.
FROM_START = (
    net(max_length=12, pooling="last", layers=2),
    net(max_length=10, pooling="attention", chunk_length=5),
    net(max_length=12, pooling="mean_max", bidirectional=False, reset_after=False),
)
FROM_END = (
    net(max_length=11, pooling="mean", truncate="end", precision="mixed_float16"),
    net(max_length=7, pooling="max", truncate="end", chunk_length=3),
    net(max_length=7, pooling="last", truncate="end", chunk_length=4),
)


def in_format(name: FormatName, *values: object) -> object:
    """Mark a test of a format: without its extra a laptop skips and CI fails."""
    missing = [each for each in FORMATS[name].modules if importlib.util.find_spec(each) is None]
    skips = pytest.mark.skipif(
        bool(missing) and not os.environ.get("CI"), reason=f"no {', '.join(missing)}"
    )
    return pytest.param(name, *values, marks=skips)


def order(
    artifact: Path,
    to: FormatName,
    target: Path,
    *,
    replace: bool = False,
    texts: Path | None = None,
    column: str = "text",
) -> Order:
    return Order(
        artifact=artifact, to=to, target=target, replace=replace, texts=texts, column=column
    )


def answers(folder: Path, *given: str) -> npt.NDArray[np.float64]:
    """Ask an export's program from another folder, as somebody without tuner would."""
    done = subprocess.run(
        [sys.executable, str(folder / "predict.py")],
        input="".join(json.dumps(each) + "\n" for each in given),
        capture_output=True,
        text=True,
        cwd=folder.parent,
    )
    assert done.returncode == 0, done.stderr
    return np.array([json.loads(line) for line in done.stdout.splitlines()])


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of words, never changed."""
    target = tmp_path_factory.mktemp("artifacts") / "two.model"
    params = (net(max_length=10, chunk_length=5, bidirectional=False), net(max_length=12))
    make_artifact(target, WORDS, params=params, n_classes=3)
    return target


@pytest.mark.parametrize(
    ("to", "params"),
    [
        in_format("saved_model", (FROM_START[1], FROM_END[0])),
        in_format("onnx", FROM_START + FROM_END),
        in_format("litert", FROM_START),
    ],
)
def test_all_kinds_of_nets_answer_as_in_keras(
    to: FormatName, params: tuple[GRUParams, ...], tmp_path: Path
) -> None:
    make_artifact(tmp_path / "a.model", WORDS, params=params, n_classes=3)
    texts = tmp_path / "hostile.jsonl.gz"
    with gzip.open(texts, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"review": text}) + "\n" for text in HOSTILE)
    said: list[str] = []

    written = export(
        order(tmp_path / "a.model", to, tmp_path / "out", texts=texts, column="review"),
        say=said.append,
    )

    assert said[0].startswith("Converting ")
    assert written.source.n_models == len(params)
    parity = written.parity
    assert parity is not None
    assert parity.difference < 1e-6
    assert parity.texts.endswith(f"{len(HOSTILE)} of hostile.jsonl.gz")
    is_half = FROM_END[0] in params
    assert (parity.of_float16 is not None) == is_half
    assert written.interface.takes == ("texts" if to == "saved_model" else "ids")
    assert read_export_manifest(tmp_path / "out") == written


@pytest.mark.parametrize("to", [in_format("saved_model"), in_format("onnx"), in_format("litert")])
def test_models_of_ids_are_exported_as_well(to: FormatName, tmp_path: Path) -> None:
    params = net(max_length=6, truncate="end", pooling="max", bidirectional=False)
    make_artifact(tmp_path / "ids.model", None, params=(params,))

    written = export(order(tmp_path / "ids.model", to, tmp_path / "out"))

    assert (written.interface.takes, written.vocabulary, written.text_rules) == ("ids", None, None)
    assert written.interface.keeps == ("first" if to == "litert" else None)
    assert written.parity is not None
    assert written.parity.difference < 1e-6
    assert "takes ids alone" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(InputError, match="take ids, not texts"):
        export(order(tmp_path / "ids.model", to, tmp_path / "x", texts=Path("reviews.csv")))


@pytest.mark.parametrize("to", [in_format("onnx")])
def test_an_export_says_what_it_is_and_needs_nothing_else(
    to: FormatName, artifact: Path, tmp_path: Path
) -> None:
    export(order(artifact, to, tmp_path / "out"))

    folder = (tmp_path / "out").rename(tmp_path / "elsewhere")
    written = read_export_manifest(folder)
    lines = (folder / "vocabulary.txt").read_bytes().decode().split("\n")
    assert tuple(lines[:-1]) == WORDS
    assert lines[-1] == ""
    assert written.n_ids == len(WORDS) + 2
    assert written.classes == ("class 0", "class 1", "class 2")
    assert written.source.study == "tiny"
    assert written.source.manifest_sha256 == sha256((artifact / MANIFEST).read_bytes()).hexdigest()
    names = {path.name for path in folder.iterdir()}
    assert names == {"README.md", MANIFEST, "model.onnx", "predict.py", "vocabulary.txt"}
    assert written.files.keys() == names - {MANIFEST}
    for name, entry in written.files.items():
        assert sha256((folder / name).read_bytes()).hexdigest() == entry.sha256
    told = (folder / "README.md").read_text() + written.to_json()
    assert str(tmp_path) not in told
    texts = ["A great movie!", "", "unheard of"]
    expected = open_artifact(artifact).predict(texts)
    assert answers(folder, *texts) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("to", [in_format("onnx")])
def test_what_differs_from_keras_is_not_written(
    to: FormatName, artifact: Path, tmp_path: Path
) -> None:
    export(order(artifact, to, tmp_path / "out"))
    before = (tmp_path / "out" / MANIFEST).read_bytes()

    with pytest.raises(InputError, match=r"differs from Keras by up to .* Expected 1e-12"):
        export(order(artifact, to, tmp_path / "out", replace=True), tolerance=1e-12)

    assert (tmp_path / "out" / MANIFEST).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_probabilities_that_are_no_numbers_are_a_difference() -> None:
    one = np.array([[0.25, 0.75]], np.float32)

    assert largest_difference(one, one + 0.5) == 0.5
    assert largest_difference(one, one * np.nan) == np.inf
    assert largest_difference(one, one[:0]) == np.inf


# --- what is refused -----------------------------------------------------------------------------


def test_a_damaged_artifact_is_refused(artifact: Path, tmp_path: Path) -> None:
    shutil.copytree(artifact, tmp_path / "copy")
    (tmp_path / "copy" / "model-1.keras").write_bytes(b"half a fil")

    with pytest.raises(InputError, match=r"model-1\.keras has another content"):
        export(order(tmp_path / "copy", "saved_model", tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_only_an_export_is_replaced(artifact: Path, tmp_path: Path) -> None:
    shutil.copytree(artifact, tmp_path / "copy")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("meow")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / MANIFEST).write_text('{"format": "tuner-export", "version": 1}')

    for name, reason in (
        ("copy", 'expected "format": "tuner-export"'),
        ("photos", "is no export of tuner's"),
        ("old", "does not hold what it should"),
        ("nowhere/out", "there is no folder"),
    ):
        with pytest.raises(InputError, match=reason):
            export(order(artifact, "saved_model", tmp_path / name, replace=True))


@pytest.mark.parametrize("to", [in_format("litert")])
def test_litert_refuses_models_that_cut_off_different_ends(to: FormatName, tmp_path: Path) -> None:
    make_artifact(tmp_path / "a.model", WORDS, params=(FROM_START[0], FROM_END[1]))

    with pytest.raises(InputError, match="different ends of a longer text"):
        export(order(tmp_path / "a.model", to, tmp_path / "out"))


@pytest.mark.parametrize("to", [in_format("onnx")])
def test_onnx_refuses_a_net_that_is_not_ours(
    to: FormatName, artifact: Path, tmp_path: Path
) -> None:
    shutil.copytree(artifact, tmp_path / "copy")
    path = tmp_path / "copy" / MANIFEST
    found = json.loads(path.read_text())
    found["members"][0]["params"]["pooling"] = "attention"
    path.write_text(json.dumps(found))

    with pytest.raises(InputError, match="these differ: attention, attention_scores"):
        export(order(tmp_path / "copy", to, tmp_path / "out"))


def test_models_too_large_for_a_format_are_refused(artifact: Path) -> None:
    with pytest.raises(InputError, match=r"ONNX holds at most 0\.0 GiB"):
        check_size(open_artifact(artifact), "ONNX", most=1_000)


def test_a_missing_extra_is_told_with_the_command() -> None:
    form = dataclasses.replace(FORMATS["onnx"], modules=("sys", "not_there_at_all"))

    with pytest.raises(InputError, match=r"needs not_there_at_all.*pip install '.\[onnx\]'"):
        form.require()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is no JSON"),
        ('{"format": "tuner-artifact"}', 'expected "format": "tuner-export"'),
        ('{"format": "tuner-export", "version": 2}', "has version 2 of the format"),
    ],
)
def test_a_foreign_manifest_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        ExportManifest.from_json(text)


# --- what both are asked -------------------------------------------------------------------------


def test_the_texts_that_are_made_up_have_all_lengths_that_matter(artifact: Path) -> None:
    opened = open_artifact(artifact)
    texts = make_questions(opened)

    lengths = {len(text.split(" ")) for text in texts if isinstance(text, str)}
    assert lengths >= {1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 25}
    assert "" in texts
    assert texts == make_questions(opened)
    unknown = [text for text in texts if "Not-in-it!" in text]
    assert 0 < len(unknown) < len(texts)
