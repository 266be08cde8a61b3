"""`compress` through the command line: measured with a twin, written, and used."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.commands import TINY, ask, call
from tuner.data.prepare import prepare
from tuner.deliver import open_artifact
from tuner.deliver.final import Plan, PlannedModel, train_models
from tuner.deliver.saving import describe_models, save_models
from tuner.params import GRUParams
from tuner.storage import Database, StoredStudy, find_study


def write_artifact_of(study: StoredStudy, target: Path) -> None:
    """Do what `refit` does after a search, with hyperparameters of our own."""
    params = GRUParams(units=4, embedding=8, bidirectional=False, pooling="max", max_length=16)
    plan = Plan(
        study=study,
        trials=(0,),
        models=(PlannedModel(params=params, micro_batches=1, seed=0, epochs=1),),
        metrics={},
        epochs_from="asked for",
        fingerprint=None,
    )
    config = study.config
    data = prepare(config.data, seed=config.seed, folder=config.folder)
    results = list(train_models(plan, data))
    save_models(target, describe_models(plan, data, results), data, results, replace=False)


@pytest.mark.slow
def test_an_artifact_is_made_smaller_and_tells_what_that_costs(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'studies.db'}"
    (tmp_path / "tiny.toml").write_text(TINY)
    assert ask("create", tmp_path / "tiny.toml", storage=storage).returncode == 0
    with Database.open(storage) as database:
        write_artifact_of(find_study(database, "tiny"), tmp_path / "original")
    target = tmp_path / "small"
    words = ("compress", tmp_path / "original", "--steps", "vocabulary:50,int8")

    done = call(
        *(*words, "-o", target, "--max-loss", "100", "--unseen", "--format", "json"),
        storage=storage,
    )

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    rows = {row["variant"]: row["n_bytes"] for row in told["variants"]}
    assert list(rows) == ["original", "int8", "vocabulary:50+int8"]
    assert told["chosen"] == min(rows, key=lambda name: rows[name]) == "vocabulary:50+int8"
    assert told["unseen"]
    assert "twin 1 of 1: epoch 1 of 1" in done.stderr
    assert "numbers of twins" in done.stderr
    artifact = open_artifact(target)
    made = artifact.manifest.compression
    assert made is not None
    content = (tmp_path / "original" / "manifest.json").read_bytes()
    assert made.original == hashlib.sha256(content).hexdigest()
    assert made.steps == ("vocabulary:50", "int8")
    assert made.loss.is_unseen
    assert made.loss.n_examples == told["n_examples"] == 24
    assert made.n_bytes == (target / "model.npz").stat().st_size < made.original_bytes / 4
    assert artifact.words is not None
    assert len(artifact.words) == 48
    card = (target / "README.md").read_text()
    assert "keras.saving" not in card  # no other program reads it
    assert "times smaller" in card
    predicted = call("predict", target, "A great movie!", "--format", "json", storage=None)
    assert json.loads(predicted.stdout)["class"] in artifact.classes

    _refuses_what_is_smaller_already(target, storage)


def _refuses_what_is_smaller_already(target: Path, storage: str) -> None:
    again = call("compress", target, storage=storage)
    assert again.returncode == 2
    assert "was made smaller already (vocabulary:50, int8)" in again.stderr


def test_what_is_chosen_needs_a_place_and_the_other_way_round(tmp_path: Path) -> None:
    for words, reason in (
        (["-o", "x"], "Expected -o DIR with a choice"),
        (["--max-loss", "1"], "Expected -o DIR with a choice"),
        (["-o", "x", "--max-loss", "1", "--variant", "int8"], "both choose"),
    ):
        done = ask("compress", tmp_path, *words, storage=None)

        assert done.returncode == 2
        assert reason in done.stderr
