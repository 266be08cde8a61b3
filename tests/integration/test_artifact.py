"""An artifact reads texts as training did, is whole or refused, and needs no code of ours."""

import gzip
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.artifacts import TINY, make_artifact, words_of
from tests.integration.test_data_text import HOSTILE, REVIEWS
from tuner.data.batches import evaluation_batches
from tuner.data.encoded import Encoded
from tuner.data.text import encode, tokenize
from tuner.deliver import open_artifact
from tuner.deliver.classifier import build_classifier
from tuner.deliver.folder import check_target, write_artifact
from tuner.deliver.manifest import MANIFEST
from tuner.errors import InputError
from tuner.model import build_model
from tuner.params import GRUParams

TEXTS = (*HOSTILE, *(text * 3 for text in HOSTILE), "movie " * 9, "a great movie")
WORDS = words_of(TEXTS)
PARAMS = (
    TINY,
    GRUParams(units=3, embedding=4, max_length=5, truncate="end", pooling="last"),
    GRUParams(units=3, embedding=4, max_length=7, chunk_length=3, pooling="attention"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of three models that are never changed."""
    target = tmp_path_factory.mktemp("artifacts") / "three"
    make_artifact(target, WORDS, params=PARAMS, n_classes=3)
    return target


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """An artifact to be damaged."""
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def in_model(params: GRUParams, words: tuple[str, ...], texts: tuple[str, ...]) -> list[list[int]]:
    """Give the ids that a model's net gets, padding left out."""
    net = build_model(params, vocabulary=len(words) + 2, n_classes=2, seed=0)
    whole = build_classifier(net, params, words)
    given = whole.get_layer(net.name)._inbound_nodes[-1].arguments.args[0]
    ids = keras.Model(whole.input, given)(tf.constant(texts)).numpy()
    assert ids.dtype == np.int32
    return [np.trim_zeros(row, "b").tolist() for row in ids]


def in_training(
    params: GRUParams, words: tuple[str, ...], texts: tuple[str, ...]
) -> list[list[int]]:
    """Give the ids that training cuts from the cache, padding left out."""
    ids, offsets = encode(tokenize(texts), words)
    data = Encoded(ids=ids, offsets=offsets, labels=np.zeros(len(texts), np.int32))
    found: list[list[int]] = [[] for _ in texts]
    for rows, batch in evaluation_batches(
        data, batch_size=4, max_length=params.max_length, truncate=params.truncate
    ):
        for row, one in zip(rows, batch, strict=True):
            found[row] = np.trim_zeros(one, "b").tolist()
    return found


@pytest.mark.parametrize(
    ("truncate", "max_length"), [("start", 1), ("start", 6), ("start", 100_000), ("end", 6)]
)
def test_a_model_reads_hostile_texts_as_training_does(truncate: str, max_length: int) -> None:
    params = GRUParams.model_validate(
        {"units": 2, "embedding": 2, "max_length": max_length, "truncate": truncate}
    )

    assert in_model(params, WORDS, TEXTS) == in_training(params, WORDS, TEXTS)


@pytest.mark.skipif(not REVIEWS.exists(), reason="no real reviews at hand")
def test_a_model_reads_real_reviews_as_training_does() -> None:
    with gzip.open(REVIEWS, "rt", encoding="utf-8") as file:
        texts = tuple(json.loads(line)["text"] for line in itertools.islice(file, 1_000))
    words = words_of(texts, 5_000)
    params = GRUParams(units=2, embedding=2)

    assert in_model(params, words, texts) == in_training(params, words, texts)


def test_texts_without_any_word_are_read_as_an_unknown_word(folder: Path) -> None:
    artifact = open_artifact(folder)

    empty = artifact.classifiers[0].model(tf.constant(["", "..."])).numpy()

    assert empty == pytest.approx(artifact.classifiers[0].net(np.array([[1], [1]])).numpy())
    assert artifact.predict(["", "...", "neverseen"]) == pytest.approx(artifact.predict([""] * 3))


def test_the_probabilities_are_the_mean_of_what_each_file_says(folder: Path) -> None:
    artifact = open_artifact(folder)

    by_files = [
        keras.saving.load_model(folder / name, compile=False)(tf.constant(TEXTS)).numpy()
        for name in ("model-0.keras", "model-1.keras", "model-2.keras")
    ]

    found = artifact.predict(TEXTS)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.mean(by_files, axis=0), abs=1e-6)
    assert not np.allclose(by_files[0], by_files[1])
    assert artifact.classes == ("class 0", "class 1", "class 2")


def test_no_texts_give_no_probabilities(folder: Path) -> None:
    assert open_artifact(folder).predict([]).shape == (0, 3)


def test_a_file_needs_no_code_of_ours(folder: Path, tmp_path: Path) -> None:
    code = f"""
import sys
import keras, tensorflow as tf
model = keras.saving.load_model({str(folder / "model-2.keras")!r}, safe_mode=True)
print(model(tf.constant(["a great movie", ""])).numpy().tolist())
assert not any(name.split(".")[0] == "tuner" for name in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )

    assert done.returncode == 0, done.stderr
    expected = open_artifact(folder).classifiers[2].model(tf.constant(["a great movie", ""]))
    assert np.array(json.loads(done.stdout)) == pytest.approx(expected.numpy(), abs=1e-6)


def test_a_text_with_half_a_character_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="Text 2 holds half a character"):
        open_artifact(folder).predict(["good", "bad \ud800"])


def test_models_of_ids_say_that_they_take_ids(tmp_path: Path) -> None:
    make_artifact(tmp_path / "ids", None)
    artifact = open_artifact(tmp_path / "ids")

    with pytest.raises(InputError, match="take ids, not texts"):
        artifact.predict(["a great movie"])
    with pytest.raises(InputError, match="ids from 1 to 49"):
        artifact.predict_ids([[3, 50]])
    long = list(range(1, 20))
    found = artifact.predict_ids([long, [7], []])
    assert found[0] == pytest.approx(artifact.predict_ids([long[-6:]])[0])
    assert found[2] == pytest.approx(artifact.predict_ids([[1]])[0])
    raw = artifact.classifiers[0].model(np.array([long, [7] + [0] * 18]))
    assert found[:2] == pytest.approx(raw.numpy(), abs=1e-6)
    assert "takes ids, not texts" in (tmp_path / "ids" / "README.md").read_text()


def test_an_artifact_says_what_it_is_and_not_where_it_was_made(folder: Path) -> None:
    said = (folder / MANIFEST).read_text() + (folder / "README.md").read_text()

    assert "trial 3 of study `tiny`" in said
    assert str(Path.home()) not in said
    assert str(folder.parent) not in said
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "manifest.json",
        "model-0.keras",
        "model-1.keras",
        "model-2.keras",
    ]


# --- damaged and foreign ones --------------------------------------------------------------------


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def change(path: Path, **entries: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def sealed(copy: Path, name: str) -> None:
    """Make the manifest of an artifact believe in a file as it is now."""
    from tuner.deliver.folder import _entry

    files = json.loads((copy / MANIFEST).read_text())["files"]
    files[name] = _entry((copy / name).read_bytes()).model_dump()
    change(copy / MANIFEST, files=files)


def foreign_model(copy: Path) -> None:
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save(copy / "model-1.keras")
    sealed(copy, "model-1.keras")


def unsafe_model(copy: Path) -> None:
    inputs = keras.Input((2,))
    outputs = keras.layers.Lambda(lambda x: x * 2, output_shape=(2,))(inputs)
    keras.Model(inputs, outputs).save(copy / "model-1.keras")
    sealed(copy, "model-1.keras")


def other_words(copy: Path) -> None:
    words = tuple(reversed(WORDS))
    net = build_model(TINY, vocabulary=len(words) + 2, n_classes=3, seed=0)
    build_classifier(net, TINY, words).save(copy / "model-1.keras")
    sealed(copy, "model-1.keras")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda c: flip(c / "model-1.keras"), "model-1.keras has another content"),
        (lambda c: flip(c / "README.md"), "README.md has another content"),
        (lambda c: (c / "model-2.keras").write_bytes(b""), "model-2.keras has another content"),
        (lambda c: (c / "model-0.keras").unlink(), "model-0.keras is missing"),
        (lambda c: (c / "notes.txt").write_text("x"), "notes.txt does not belong"),
        (lambda c: (c / MANIFEST).unlink(), "is no artifact"),
        (lambda c: (c / MANIFEST).write_text("{"), "is no JSON"),
        (lambda c: (c / MANIFEST).write_bytes(b"\xff\xfe"), "is no JSON"),
        (lambda c: (c / MANIFEST).write_text("[]"), "is not tuner's"),
        (lambda c: change(c / MANIFEST, format="other"), "is not tuner's"),
        (lambda c: change(c / MANIFEST, version=2), "has version 2 of the format"),
        (lambda c: change(c / MANIFEST, members=[]), "does not hold what it should: members"),
        (lambda c: change(c / MANIFEST, more=1), "does not hold what it should: more"),
        (lambda c: change(c / MANIFEST, files={}), "does not belong to the artifact"),
        (lambda c: change(c / MANIFEST, n_ids=9), "Expected what the manifest says"),
        (lambda c: change(c / MANIFEST, classes=["a", "b"]), "Expected what the manifest says"),
        (lambda c: change(c / MANIFEST, takes="ids"), "Expected what the manifest says"),
        (foreign_model, "Expected one of tuner's"),
        (unsafe_model, "does not load it in its safe mode"),
        (other_words, "different vocabularies"),
        (shutil.rmtree, "is no artifact"),
    ],
)
def test_a_damaged_or_foreign_artifact_is_refused_with_the_reason(
    copy: Path, damage: Callable[[Path], object], reason: str
) -> None:
    damage(copy)

    with pytest.raises(InputError, match=reason) as caught:
        open_artifact(copy)
    assert str(copy) in str(caught.value)


def test_a_member_that_leads_out_of_the_folder_is_refused(copy: Path) -> None:
    members = json.loads((copy / MANIFEST).read_text())["members"]
    members[0]["file"] = "../three/model-0.keras"
    change(copy / MANIFEST, members=members)

    with pytest.raises(InputError, match=r"members\.0\.file"):
        open_artifact(copy)


# --- writing -------------------------------------------------------------------------------------


def test_an_artifact_that_is_there_stays_unless_it_may_go(tmp_path: Path) -> None:
    make_artifact(tmp_path / "one", WORDS)
    before = (tmp_path / "one" / MANIFEST).read_bytes()

    with pytest.raises(InputError, match="--force"):
        make_artifact(tmp_path / "one", None)
    assert (tmp_path / "one" / MANIFEST).read_bytes() == before

    make_artifact(tmp_path / "one", None, replace=True)
    assert open_artifact(tmp_path / "one").words is None
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_folder_that_is_no_artifact_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("meow")
    (tmp_path / "file").write_text("text")

    for name in ("photos", "file"):
        with pytest.raises(InputError, match=r"is no artifact of tuner's"):
            make_artifact(tmp_path / name, WORDS, replace=True)
    with pytest.raises(InputError, match="there is no folder"):
        make_artifact(tmp_path / "nowhere" / "x", WORDS)
    assert (tmp_path / "photos" / "cat.jpg").read_text() == "meow"


@pytest.mark.skipif(sys.platform != "linux", reason="a folder in which nobody may write is needed")
def test_a_place_that_nobody_may_write_to_is_refused_before_the_work() -> None:
    with pytest.raises(InputError, match=r"cannot be written: .* another folder with -o"):
        check_target(Path("/proc/some.model"), replace=False)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_is_interrupted_leaves_all_as_it_was(
    tmp_path: Path, error: type[BaseException] | OSError
) -> None:
    manifest = make_artifact(tmp_path / "one", WORDS)

    def fail(path: Path) -> None:
        path.write_text("half a fil")
        raise error

    for target in (tmp_path / "one", tmp_path / "two"):
        with pytest.raises(InputError if isinstance(error, OSError) else KeyboardInterrupt):
            write_artifact(target, manifest, {"model-0.keras": fail}, replace=True)

    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    open_artifact(tmp_path / "one")
