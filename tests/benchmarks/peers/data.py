"""The reviews as contestants find them: the same split for all, by seed."""

import json
from collections.abc import Iterable
from pathlib import Path

from tests.benchmarks.peers.protocol import VALIDATION
from tests.benchmarks.reviews import Reviews, write_reviews
from tuner.config import DataConfig
from tuner.data.sources import read
from tuner.data.split import split


def lay_out(folder: Path, reviews: Reviews, *, seed: int) -> None:
    """Write the reviews as one file, and divided as `tuner` divides that file with the seed.

    In the divided ones a label is 0 or 1.
    """
    write_reviews(folder / "reviews.jsonl", reviews)
    corpus = read(DataConfig(source="reviews.jsonl"), seed=seed, folder=folder)
    texts = corpus.texts or ()
    training, validation = split(corpus, validation=VALIDATION, seed=seed)
    for name, rows in (("training", training), ("validation", validation)):
        _write(folder / f"{name}.jsonl", ((texts[i], int(corpus.labels[i])) for i in rows))


def lay_out_test(folder: Path, reviews: Reviews) -> None:
    """Write reviews that nobody has seen before the choice was made."""
    number = {name: i for i, name in enumerate(sorted(set(reviews.labels)))}
    pairs = zip(reviews.texts, reviews.labels, strict=True)
    _write(folder / "test.jsonl", ((text, number[label]) for text, label in pairs))


def _write(path: Path, rows: Iterable[tuple[str, int]]) -> None:
    lines = (json.dumps({"text": text, "label": label}) for text, label in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
