"""Artifacts as small as they can be, for tests of what is done with them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from tuner.data.text import learn_words, tokenize
from tuner.deliver.card import CARD, write_card
from tuner.deliver.classifier import build_classifier
from tuner.deliver.folder import Writer, write_artifact
from tuner.deliver.manifest import Manifest, Member, Origin
from tuner.host import versions
from tuner.model import build_model
from tuner.params import GRUParams

TINY = GRUParams(units=3, embedding=4, max_length=6)


def words_of(texts: Sequence[str], vocabulary: int = 3_000) -> tuple[str, ...]:
    return learn_words(tokenize(texts), np.arange(len(texts)), vocabulary)


def make_artifact(
    target: Path,
    words: tuple[str, ...] | None,
    *,
    params: Sequence[GRUParams] = (TINY,),
    n_classes: int = 2,
    replace: bool = False,
    prepare: Callable[[int, keras.Model], object] | None = None,
) -> Manifest:
    """Write an artifact of models, each with weights of its own.

    They were never trained, unless `prepare` does that: it is given each net with its number.
    """
    n_ids = 50 if words is None else len(words) + 2
    names = [f"model-{i}.keras" for i in range(len(params))]
    manifest = Manifest(
        takes="ids" if words is None else "texts",
        classes=tuple(f"class {i}" for i in range(n_classes)),
        n_ids=n_ids,
        members=tuple(
            Member(file=name, params=each, seed=i, epochs=2, n_parameters=99)
            for i, (name, each) in enumerate(zip(names, params, strict=True))
        ),
        origin=Origin(
            study="tiny",
            trial=3,
            metric="val_accuracy",
            metrics={"val_accuracy": 0.75},
            horizon=3,
            epochs_from="the best epoch of trial 3",
            data="reviews.csv",
            fingerprint="0" * 32,
            n_examples=100,
            versions=versions(),
            created="2026-01-01T00:00:00+00:00",
        ),
        test=None,
    )
    files: dict[str, Writer] = {CARD: write_card(manifest)}
    for seed, (name, each) in enumerate(zip(names, params, strict=True)):
        net = build_model(each, vocabulary=n_ids, n_classes=n_classes, seed=seed)
        if prepare is not None:
            prepare(seed, net)
        files[name] = build_classifier(net, each, words).save
    return write_artifact(target, manifest, files, replace=replace)
