"""Smaller models are read back as they were made, and say nearly what the original says."""

import io
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from tests.artifacts import TINY, make_artifact, words_of
from tests.integration.test_artifact import change, flip, sealed
from tests.integration.test_training import VOCABULARY, small, texts
from tuner.deliver import Artifact, open_artifact
from tuner.deliver.card import CARD, write_card
from tuner.deliver.classifier import build_classifier
from tuner.deliver.compress import teaching
from tuner.deliver.compress.latency import measure_latencies
from tuner.deliver.compress.measuring import Measured, measure, smallest_within
from tuner.deliver.compress.models import models_of, size_of
from tuner.deliver.compress.vocabulary import importance
from tuner.deliver.compress.workshop import Workshop
from tuner.deliver.folder import write_artifact
from tuner.deliver.manifest import MANIFEST, Compression, Loss, Manifest
from tuner.deliver.weights import put_weights, weights_of
from tuner.errors import InputError, TunerError
from tuner.gradient_step import StepKind
from tuner.judging import Comparison, Estimate
from tuner.metrics import accuracy
from tuner.model import build_model
from tuner.packing import TABLE, Variant, read_variant
from tuner.params import GRUParams
from tuner.training import fit

LEARN, JUDGE = texts(400, seed=0), texts(300, seed=1)
WORDS = tuple(f"w{i}" for i in range(2, VOCABULARY))
PARAMS = small(units=8, embedding=8, pooling="max")
EPOCHS = 6
STRUCTURES = (
    GRUParams(units=3, embedding=4, layers=2, pooling="attention", chunk_length=4),
    GRUParams(units=3, embedding=4, pooling="last", reset_after=False),
    GRUParams(units=2, embedding=5, precision="mixed_float16", word_dropout=0.1),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of two models that have learned what `texts` are."""
    target = tmp_path_factory.mktemp("trained") / "original"
    made = make_artifact(target, WORDS, params=(PARAMS, PARAMS))
    members = tuple(m.model_copy(update={"epochs": EPOCHS}) for m in made.members)
    made = made.model_copy(update={"members": members})
    files = {CARD: write_card(made)}
    for seed, member in enumerate(made.members):
        result = fit(
            PARAMS,
            LEARN,
            None,
            vocabulary=VOCABULARY,
            n_classes=2,
            epochs=EPOCHS,
            seed=seed,
            metric="val_loss",
        )
        files[member.file] = build_classifier(result.model, PARAMS, WORDS).save
    write_artifact(target, made, files, replace=True)
    return target


@pytest.fixture(scope="module")
def original(folder: Path) -> Artifact:
    artifact = open_artifact(folder)
    assert accuracy(JUDGE.labels, artifact.predict_encoded(JUDGE)) > 0.97
    return artifact


@pytest.fixture(scope="module")
def workshop(original: Artifact) -> Workshop:
    return Workshop(original, LEARN, seed=0, say=lambda _: None)


def variant(text: str, artifact: Artifact) -> Variant:
    return read_variant(text, size_of(artifact.manifest.n_ids, artifact.manifest.members))


@pytest.fixture(scope="module")
def packed(
    workshop: Workshop, original: Artifact, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    target = tmp_path_factory.mktemp("packed") / "small"
    workshop.write(variant("int8", original), target)
    return target


def arrays_of(folder: Path, name: str = "model-1.npz") -> dict[str, npt.NDArray[Any]]:
    with np.load(folder / name, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


@pytest.mark.parametrize(
    "name", ["float16", "low_rank:3", "vocabulary:6+prune:0.5+int8", "vocabulary:6+low_rank:3+int8"]
)
def test_each_step_alone_and_together_gives_an_artifact_that_says_nearly_the_same(
    original: Artifact, workshop: Workshop, tmp_path: Path, name: str
) -> None:
    chosen = variant(name, original)

    manifest = workshop.write(chosen, tmp_path / "small")

    artifact = open_artifact(tmp_path / "small")
    found = artifact.predict_encoded(workshop.numbered(chosen, JUDGE))
    assert accuracy(JUDGE.labels, found) > 0.95
    assert artifact.classes == original.classes
    assert {member.form for member in manifest.members} == {"packed"}
    assert manifest.n_bytes < original.manifest.n_bytes
    if "vocabulary" in name:
        assert artifact.words is not None
        assert artifact.words[:2] == WORDS[:2]  # those that tell the classes
        assert len(artifact.words) == 4


def test_the_whole_model_of_a_packed_file_says_the_same_of_raw_strings(packed: Path) -> None:
    artifact = open_artifact(packed)
    raw = ["w3 w7", "w9 w2", "w11", ""]

    by_models = [c.model(tf.constant(raw)).numpy() for c in artifact.classifiers]

    assert artifact.predict(raw) == pytest.approx(np.mean(by_models, axis=0), abs=1e-6)


@pytest.mark.parametrize("params", STRUCTURES)
def test_a_packed_model_of_any_structure_says_exactly_what_the_original_says(
    params: GRUParams, tmp_path: Path
) -> None:
    words = words_of(("a great movie", "a bad film"))
    make_artifact(tmp_path / "original", words, params=(params,), n_classes=3)
    original = open_artifact(tmp_path / "original")
    same = Variant(steps=())

    Workshop(original, LEARN, seed=0, say=lambda _: None).write(same, tmp_path / "packed")

    artifact = open_artifact(tmp_path / "packed")
    given = ["a great movie", "film film unknown", "", "bad " * 30]
    assert artifact.words == words
    assert np.array_equal(artifact.predict(given), original.predict(given))


def test_int8_is_int8_on_disk_and_floats_are_few(packed: Path) -> None:
    arrays = arrays_of(packed)

    types = {name: str(a.dtype) for name, a in arrays.items() if not name.endswith(".scale")}
    assert types == {
        TABLE: "int8",
        "gru_1_forward/kernel": "int8",
        "gru_1_forward/recurrent_kernel": "int8",
        "gru_1_forward/bias": "float16",
        "probabilities/kernel": "int8",
        "probabilities/bias": "float16",
        "words": "uint8",
    }
    assert arrays[TABLE + ".scale"].shape == (VOCABULARY, 1)
    assert arrays["gru_1_forward/kernel.scale"].shape == (1, 3 * PARAMS.units)


def test_pruned_weights_are_zeros_that_are_not_written(
    original: Artifact, workshop: Workshop, tmp_path: Path
) -> None:
    workshop.write(variant("prune:0.75", original), tmp_path / "small")

    arrays = arrays_of(tmp_path / "small")
    for name in (TABLE, "gru_1_forward/kernel", "gru_1_forward/recurrent_kernel"):
        size = int(np.prod(arrays[name + ".shape"]))
        assert len(arrays[name + ".nonzero"]) <= 0.25 * size + 1
    assert arrays["gru_1_forward/bias"].shape == (2, 3 * PARAMS.units)
    net = open_artifact(tmp_path / "small").classifiers[0].net
    before = models_of(original).each[0].weights["gru_1_forward/kernel"]
    after = weights_of(net)["gru_1_forward/kernel"]
    assert (after == 0).mean() >= 0.75
    assert not np.allclose(after, np.where(after == 0, 0, before))  # the rest has learned


def test_words_that_tell_the_class_matter_most(original: Artifact) -> None:
    found = importance(original.classifiers[0].net, PARAMS, JUDGE)

    assert found.shape == (VOCABULARY,)
    assert found[[2, 3]].min() > 1.5 * found[4:].max()
    assert not found[:2].any()  # what is padding or unknown already stays so


def test_a_student_is_taught_by_what_all_say_together_and_not_by_labels(
    original: Artifact, tmp_path: Path
) -> None:
    shuffled = np.random.default_rng(0).permutation(LEARN.labels)
    misled = Workshop(original, replace(LEARN, labels=shuffled), seed=0, say=lambda _: None)

    manifest = misled.write(variant("distil:4", original), tmp_path / "student")

    (member,) = manifest.members
    assert (member.params.units, member.params.embedding) == (4, 4)
    assert member.epochs == EPOCHS  # as its teachers
    artifact = open_artifact(tmp_path / "student")
    assert accuracy(JUDGE.labels, artifact.predict_encoded(JUDGE)) > 0.95


def test_a_student_whose_batches_do_not_fit_into_memory_learns_in_parts_and_becomes_the_same(
    original: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: list[StepKind] = []

    def watched(**given: Any) -> StepKind:
        kinds.append(StepKind(**given))
        return kinds[-1]

    monkeypatch.setattr(teaching, "StepKind", watched)

    def taught(micro_batches: int) -> npt.NDArray[np.float32]:
        target = tmp_path / f"{micro_batches}"
        made = Workshop(original, LEARN, seed=0, say=lambda _: None, micro_batches=micro_batches)
        made.write(variant("distil:4", original), target)
        return open_artifact(target).predict_encoded(JUDGE)

    whole, by_parts = taught(1), taught(4)

    assert [kind.n_parts for kind in kinds] == [1, 4]
    assert by_parts == pytest.approx(whole, abs=0.01)


def test_models_of_ids_keep_their_ids_and_read_those_that_are_gone_as_unknown(
    tmp_path: Path,
) -> None:
    make_artifact(tmp_path / "original", None)
    original = open_artifact(tmp_path / "original")
    rows = np.random.default_rng(0).integers(2, 20, 4_000).astype(np.int32)
    learn = replace(LEARN, ids=rows, offsets=np.arange(401) * 10)
    workshop = Workshop(original, learn, seed=0, say=lambda _: None)

    workshop.write(variant("vocabulary:12", original), tmp_path / "small")

    artifact = open_artifact(tmp_path / "small")
    ids = arrays_of(tmp_path / "small", "model.npz")["ids"].tolist()
    gone = sorted(set(range(50)) - set(ids))
    assert len(ids) == 12
    assert artifact.manifest.n_ids == 50
    assert np.array_equal(
        artifact.predict_ids([[gone[0], ids[5]]]), artifact.predict_ids([[1, ids[5]]])
    )
    assert np.array_equal(artifact.predict_ids([ids[2:8]]), original.predict_ids([ids[2:8]]))


# --- measuring and choosing ----------------------------------------------------------------------


def test_variants_are_measured_as_they_lie_on_disk(
    original: Artifact, workshop: Workshop, folder: Path, tmp_path: Path
) -> None:
    variants = [variant(name, original) for name in ("float16", "low_rank:1+int8")]
    said: list[str] = []

    rows = measure(
        workshop,
        original,
        folder,
        variants,
        judge=JUDGE,
        units=np.arange(len(JUDGE)) // 3,
        seed=0,
        scratch=tmp_path,
        say=said.append,
    )

    assert [str(row.variant) for row in rows] == ["original", "float16", "low_rank:1+int8"]
    assert rows[0].comparison.difference == Estimate(value=0, low=0, high=0)
    for row in rows:
        files = [path for path in row.folder.iterdir() if path.suffix in {".npz", ".keras"}]
        assert row.n_bytes == sum(path.stat().st_size for path in files)
        artifact = open_artifact(row.folder)
        assert row.accuracy.value == accuracy(JUDGE.labels, artifact.predict_encoded(JUDGE))
        assert row.points_lost == pytest.approx(100 * (rows[0].accuracy.value - row.accuracy.value))
        latency = row.latency
        assert 0 < latency.alone_p50 <= (latency.alone_p99 or math.inf)
        assert 0 < latency.together_p50 <= (latency.together_p99 or math.inf)
    assert rows[1].on_front
    assert not rows[0].on_front or rows[1].points_lost > 0
    assert len(said) == 3
    # However small they are: the smallest of those that are right often enough is chosen.
    mild, strong = changed(rows[1], 300, loss=0.003), changed(rows[2], 200, loss=0.02)
    assert smallest_within((rows[0], mild, strong), 2.0) is strong
    assert smallest_within((rows[0], mild, strong), 0.3) is mild
    assert smallest_within((rows[0], mild, strong), 0.2) is None


def test_a_variant_that_cannot_be_made_costs_no_other_one(tmp_path: Path) -> None:
    def spoil(number: int, net: keras.Model) -> None:
        del number
        table = next(v for v in net.trainable_variables if "embeddings" in v.path)
        table.assign(table * 1e7)

    folder = tmp_path / "original"
    make_artifact(folder, WORDS, params=(PARAMS,), prepare=spoil)
    artifact = open_artifact(folder)
    workshop = Workshop(artifact, LEARN, seed=0, say=lambda _: None)
    said: list[str] = []
    judge = JUDGE.subset(np.arange(40))

    def kinds(*names: str) -> list[str]:
        rows = measure(
            workshop,
            artifact,
            folder,
            [variant(name, artifact) for name in names],
            judge=judge,
            units=np.arange(len(judge)),
            seed=0,
            scratch=tmp_path,
            say=said.append,
        )
        return [str(row.variant) for row in rows]

    assert kinds("float16", "vocabulary:6") == ["original", "vocabulary:6"]
    assert any(line.startswith("float16 is left out: ") for line in said)
    with pytest.raises(InputError, match="float16"):
        kinds("float16")


def changed(row: Measured, n_bytes: int, *, loss: float) -> Measured:
    difference = Estimate(value=-loss, low=-loss, high=-loss)
    comparison = replace(row.comparison, difference=difference)
    return replace(row, n_bytes=n_bytes, comparison=comparison)


@pytest.mark.slow
def test_the_process_that_measures_latency_tells_why_it_fails(tmp_path: Path) -> None:
    with pytest.raises(TunerError, match="is no artifact"):
        measure_latencies([tmp_path / "nothing"], JUDGE, seed=0, scratch=tmp_path)


# --- what is damaged -----------------------------------------------------------------------------


def rewritten(copy: Path, change_it: Callable[[dict[str, object]], object]) -> None:
    """Change what a packed model's file holds, and make the manifest believe in it."""
    arrays: dict[str, object] = dict(arrays_of(copy))
    change_it(arrays)
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]  # arrays, as they were
    (copy / "model-1.npz").write_bytes(content.getvalue())
    sealed(copy, "model-1.npz")


def without_end(copy: Path) -> None:
    content = (copy / "model-1.npz").read_bytes()
    (copy / "model-1.npz").write_bytes(content[:-40])
    sealed(copy, "model-1.npz")


def as_keras(copy: Path) -> None:
    members = json.loads((copy / MANIFEST).read_text())["members"]
    members[0]["form"] = "keras"
    change(copy / MANIFEST, members=members)


def other_units(copy: Path) -> None:
    members = json.loads((copy / MANIFEST).read_text())["members"]
    members[0]["params"]["units"] = 9
    change(copy / MANIFEST, members=members)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda c: flip(c / "model-2.npz"), "model-2.npz has another content"),
        (without_end, "model-1.npz is no packed model"),
        (as_keras, "model-1.npz is refused: Keras"),
        (other_units, "model-1.npz holds other weights than its net has"),
        (lambda c: rewritten(c, lambda a: a.update(more=np.ones(2, np.float32))), "holds other"),
        (lambda c: rewritten(c, lambda a: a.pop("words")), "takes ids of 12 ids"),
        (
            lambda c: rewritten(c, lambda a: a.update(ids=np.arange(5, dtype=np.int32))),
            "holds word vectors of other ids",
        ),
        (
            lambda c: rewritten(c, lambda a: a.update(ids=np.arange(12)[::-1].astype(np.int32))),
            "holds word vectors of other ids",
        ),
    ],
)
def test_a_damaged_packed_model_is_refused_with_the_reason(
    packed: Path, tmp_path: Path, damage: Callable[[Path], object], reason: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(packed, copy)
    damage(copy)

    with pytest.raises(InputError, match=reason) as caught:
        open_artifact(copy)
    assert str(copy) in str(caught.value)


def test_weights_of_another_net_are_refused() -> None:
    net, other = (build_model(p, vocabulary=9, n_classes=2, seed=0) for p in (TINY, PARAMS))

    with pytest.raises(InputError, match=r"such as 'embedding/embeddings' of shape \(9, [48]\)"):
        put_weights(net, weights_of(other))


# --- what is told --------------------------------------------------------------------------------


def compressed(original: Artifact, *, is_unseen: bool, steps: tuple[str, ...]) -> Manifest:
    judged = Estimate(value=0.88, low=0.87, high=0.89)
    comparison = Comparison(
        other="the original",
        accuracy=0.882,
        difference=Estimate(value=-0.002, low=-0.004, high=0.0),
        n_only_ours=3,
        n_only_other=5,
        p_value=0.7,
    )
    compression = Compression(
        steps=steps,
        why="asked for by name",
        original="a" * 64,
        original_bytes=5_000,
        n_bytes=1_000,
        loss=Loss(n_examples=300, is_unseen=is_unseen, accuracy=judged, comparison=comparison),
        test_accuracy=judged,
        created="2026-01-01T00:00:00+00:00",
    )
    return original.manifest.model_copy(update={"compression": compression})


@pytest.mark.parametrize("is_unseen", [True, False])
def test_the_card_tells_what_was_done_and_what_the_loss_is_worth(
    original: Artifact, tmp_path: Path, is_unseen: bool
) -> None:
    manifest = compressed(original, is_unseen=is_unseen, steps=("distil:4", "int8"))

    write_card(manifest)(tmp_path / "card")

    text = (tmp_path / "card").read_text()
    assert "1,000 bytes instead of 5,000, 5.0 times smaller" in text
    assert "a" * 64 in text
    assert "the original's 0.8820: a difference of -0.0020 [-0.0040, +0.0000]" in text
    assert ("numbers of twins" in text) == is_unseen
    assert ("Both have learned from these examples" in text) == (not is_unseen)
    assert "hyperparameters below are those of the student" in text
    assert Manifest.from_json(manifest.to_json()) == manifest
