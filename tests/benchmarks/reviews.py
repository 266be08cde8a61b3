"""Reviews for benchmarks: from a file, or made up with lengths like those of IMDB's."""

import gzip
import itertools
import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: Words of a made-up review: half of them have fewer, and the mean is 235, as in IMDB.
MEDIAN_WORDS, MEAN_WORDS = 175, 235
#: Different words in made-up reviews; how many of those take a side, and the rank of the first.
N_WORDS, N_TELLING, FIRST_TELLING = 40_000, 400, 1_000
#: Share of telling words in a made-up review, and of those the share that tell the truth.
TELLING, TRUE = 0.05, 0.65


@dataclass(frozen=True, kw_only=True)
class Reviews:
    """Labelled texts."""

    #: Raw texts.
    texts: tuple[str, ...]
    #: ``"neg"`` or ``"pos"``.
    labels: tuple[str, ...]


def read_reviews(path: Path, n: int) -> Reviews:
    """Read the first reviews of a file.

    Args:
        path: One JSON object a line, with "text" and "label"; may be gzipped.
        n: How many, at most.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in itertools.islice(file, n)]
    return Reviews(
        texts=tuple(row["text"] for row in rows), labels=tuple(row["label"] for row in rows)
    )


def make_up_reviews(n: int, seed: int = 0) -> Reviews:
    """Make reviews of words without a sense, whose lengths and frequencies are like IMDB's.

    Args:
        n: How many; half of them are positive.
        seed: Fixes them.
    """
    rng = np.random.default_rng(seed)
    shares = 1 / (np.arange(N_WORDS) + 2)  # Zipf's law
    sigma = math.sqrt(2 * math.log(MEAN_WORDS / MEDIAN_WORDS))
    lengths = np.maximum(10, rng.lognormal(math.log(MEDIAN_WORDS), sigma, n)).astype(int)
    is_positive = rng.permutation(n) % 2 == 1
    n_words = int(lengths.sum())
    ranks = rng.choice(N_WORDS, n_words, p=shares / shares.sum())
    # Telling words are neither among the most frequent ones nor rare.
    side = np.repeat(is_positive, lengths) == (rng.random(n_words) < TRUE)
    telling = FIRST_TELLING + 2 * rng.integers(N_TELLING // 2, size=n_words) + side
    words = np.where(rng.random(n_words) < TELLING, telling, ranks)
    texts = np.split(words, np.cumsum(lengths)[:-1])
    return Reviews(
        texts=tuple(" ".join(map("w{}".format, text.tolist())) for text in texts),
        labels=tuple("pos" if positive else "neg" for positive in is_positive),
    )


def write_reviews(path: Path, reviews: Reviews) -> None:
    """Write what `read_reviews` reads."""
    rows = zip(reviews.texts, reviews.labels, strict=True)
    lines = (json.dumps({"text": text, "label": label}) for text, label in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def mean_words(reviews: Reviews, longest: int) -> float:
    """Give the mean number of words of a review that are read, where `longest` are at most."""
    return statistics.fmean(min(len(text.split()), longest) for text in reviews.texts)
