"""What Keras and an export are both asked: texts that show where the two could differ."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tuner.data.files import text_of
from tuner.data.rows import read_rows
from tuner.data.text import UNKNOWN_ID
from tuner.deliver.artifact import Artifact
from tuner.errors import InputError

#: Texts in a language that a program can read: raw, or as ids.
Questions = list[str] | list[list[int]]

#: Texts that are read of a file, at most.
MOST_OF_FILE = 1_000
#: Texts of lengths drawn at random.
N_RANDOM = 24
#: Share of words that no vocabulary has.
UNKNOWN = 0.1
#: What only the rules for texts tell apart: nothing at all, other white space and punctuation than
#: ASCII's, capitals that are not lower-cased, a zero within a word.
STRANGE = (
    "",
    "... !? ",
    "one\ttwo\x0bthree\x0cfour\r\nfive",
    "no\u00a0break\u2028at\u0085all",
    "\u00c9T\u00c9 \u00e9t\u00e9 \u0130stanbul STRASSE Stra\u00dfe",
    "\u201cquoted\u201d \u2014 don't-stop 'n' go_on",
    "a\0b \U0001f600 \u4f60\u597d",
)


def make_questions(artifact: Artifact, *, seed: int = 0) -> Questions:
    """Make up texts of many lengths: empty ones, short ones, ones longer than the models read.

    Args:
        artifact: The models; the words are theirs.
        seed: Fixes the texts.

    Returns:
        Texts, or ids where the models take these.
    """
    params = [classifier.member.params for classifier in artifact.classifiers]
    most = max(each.max_length for each in params)
    edges = {
        edge + step
        for edge in (*(each.max_length for each in params), *(each.chunk_length for each in params))
        for step in (-1, 0, 1)
    }
    random = np.random.default_rng(seed)
    lengths = sorted({1, 2, 3, 2 * most + 1, *(edge for edge in edges if edge > 0)})
    lengths += random.integers(1, most + 1, N_RANDOM).tolist()
    random.shuffle(lengths)  # neighbours share a batch, and differ in length
    if artifact.words is None:
        n_ids = artifact.manifest.n_ids
        return [[], *(random.integers(UNKNOWN_ID, n_ids, n).tolist() for n in lengths)]
    return [*STRANGE, *(_text(artifact.words, length, random) for length in lengths)]


def _text(words: Sequence[str], length: int, random: np.random.Generator) -> str:
    places = random.integers(len(words), size=length)
    is_unknown = random.random(length) < UNKNOWN
    return " ".join(
        "Not-in-it!" if unknown else words[place]
        for place, unknown in zip(places.tolist(), is_unknown.tolist(), strict=True)
    )


def read_questions(artifact: Artifact, path: Path, column: str) -> list[str]:
    """Read the first texts of a file.

    Args:
        artifact: The models.
        path: A .csv, .tsv, .jsonl or .parquet file.
        column: Where its texts are.

    Raises:
        InputError: The models take no texts, or the file cannot be read.
    """
    if artifact.words is None:
        raise InputError(
            f"{path}: these models take ids, not texts, so that there is nothing to compare. "
            f"Leave out --texts: ids of many lengths are made up."
        )
    if not path.is_file():
        raise InputError(f"{path}: there is no such file. Expected one with texts.")
    rows = itertools.islice(read_rows(path, {"--column": column}), MOST_OF_FILE)
    return [text_of(cells[column], place, column) for place, cells in rows]
