"""Read the IMDB reviews in the layout of Keras's ``imdb.npz``, without running pickle code.

References:
    Maas et al. 2011, "Learning Word Vectors for Sentiment Analysis" (the reviews).
"""

import contextlib
import io
import json
import os
import pickle
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tuner.data.corpus import Corpus, Ranks
from tuner.errors import DataError

CLASSES = ("negative", "positive")  # 0 and 1 in the file
ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
REVIEWS_FILE = "imdb.npz"
REVIEWS_SHA256 = "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f"
WORDS_FILE = "imdb_word_index.json"
WORDS_MD5 = "bfafd718b763782e994055a2d397834f"

#: All that numpy needs to build an array of objects.
_ARRAY_GLOBALS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
}


def read(part: Literal["train", "test"], path: Path | None) -> Corpus:
    """Read one part of the reviews.

    Words are known where ``imdb_word_index.json`` lies beside the file; a file that is
    downloaded brings it along.

    Args:
        part: The 25,000 reviews to learn from, or those of the test.
        path: The file; None for the one in Keras's cache folder, downloaded where missing.

    Returns:
        The reviews in the order of the file, as texts where the words are known, else as ranks.

    Raises:
        DataError: The file is missing, damaged, or not of this layout.
    """
    path, words_path = files(path)
    ranks, labels = _read_part(path, part)
    words = _read_words(words_path)
    if words is None:
        note = (
            f"No word index ({words_path}): reviews are known as numbers only, "
            f"so they cannot be shown, nor can the model read new texts. "
            f"Put it beside the reviews: keras.datasets.imdb.get_word_index() downloads it to "
            f"{_cache_folder()}."
        )
        return Corpus(
            texts=None, ranks=ranks, labels=labels, classes=CLASSES, groups=None, notes=(note,)
        )
    if (highest := max((int(r.max()) for r in ranks if r.size), default=0)) >= len(words):
        raise DataError(
            f"{path}: holds word {highest}, but {words_path} knows "
            f"{len(words) - 1} words. Expected files that belong together. Download both again."
        )
    texts = tuple(" ".join([words[rank] for rank in review.tolist()]) for review in ranks)
    return Corpus(texts=texts, ranks=None, labels=labels, classes=CLASSES, groups=None, notes=())


def files(path: Path | None) -> tuple[Path, Path]:
    """Name the files that hold the reviews and their words.

    Args:
        path: As in `read`.

    Returns:
        The file of the reviews and that of the words; either may be missing.

    Raises:
        DataError: The reviews must be downloaded and cannot be.
    """
    if path is None:
        path = _cache_folder() / REVIEWS_FILE
        if not path.exists():
            _download(REVIEWS_FILE, REVIEWS_SHA256)
            with contextlib.suppress(DataError):  # the reader's note says what is missing
                _download(WORDS_FILE, WORDS_MD5)
    return path, path.with_name(WORDS_FILE)


def _cache_folder() -> Path:
    """Give the folder where Keras keeps data sets."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "datasets"


def _download(name: str, file_hash: str) -> None:
    target = _cache_folder() / name
    try:
        import keras

        target.parent.mkdir(parents=True, exist_ok=True)
        # Elsewhere first: another process must never find half a file in the cache.
        with (
            tempfile.TemporaryDirectory(dir=target.parent) as folder,
            contextlib.redirect_stdout(sys.stderr),
        ):
            downloaded = keras.utils.get_file(
                name, ORIGIN + name, file_hash=file_hash, cache_dir=folder, cache_subdir=""
            )
            Path(downloaded).replace(target)
    except Exception as error:  # get_file raises bare ones
        raise DataError(
            f"{name}: cannot be downloaded ({error}). Put the file at {target}, or name one at "
            f"hand with path in [data]. It is at {ORIGIN}{name}"
        ) from error


def _read_part(path: Path, part: str) -> tuple[Ranks, npt.NDArray[np.int32]]:
    try:
        with zipfile.ZipFile(path) as archive:
            reviews = _array(archive, f"x_{part}.npy")
            labels = _array(archive, f"y_{part}.npy")
    except Exception as error:  # a broken zip file or pickle raises anything
        raise DataError(
            f"{path}: cannot be read in the layout of Keras's imdb.npz ({error}). "
            f"Expected x_train, y_train, x_test and y_test. Delete it and download it again."
        ) from error
    if reviews.shape != labels.shape or labels.ndim != 1 or not np.isin(labels, (0, 1)).all():
        raise DataError(
            f"{path}: expected as many reviews as labels of 0 and 1. Received x_{part} "
            f"{reviews.shape} and y_{part} {labels.shape}. Download the file again."
        )
    try:
        ranks = tuple(np.asarray(review, np.int32) for review in reviews)
        bad = any(r.ndim != 1 or (r.size and r.min() < 1) for r in ranks)
    except (TypeError, ValueError, OverflowError):
        bad = True
    if bad:
        raise DataError(
            f"{path}: expected lists of word ranks from 1 in x_{part}. Received something else. "
            f"Download the file again."
        )
    return ranks, labels.astype(np.int32)


class _ArrayUnpickler(pickle.Unpickler):
    """Builds numpy arrays of plain values and refuses everything that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAY_GLOBALS:
            raise pickle.UnpicklingError(f"refused to load {module}.{name}, which is no array")
        return super().find_class(module, name)


def _array(archive: zipfile.ZipFile, member: str) -> npt.NDArray[Any]:
    stream = io.BytesIO(archive.read(member))
    if np.lib.format.read_magic(stream) == (1, 0):
        _, _, dtype = np.lib.format.read_array_header_1_0(stream)
    else:
        _, _, dtype = np.lib.format.read_array_header_2_0(stream)
    if dtype.hasobject:
        array = _ArrayUnpickler(stream).load()
        if not isinstance(array, np.ndarray):
            raise pickle.UnpicklingError(f"{member} is no array")
        return array
    stream.seek(0)
    numbers: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return numbers


def _read_words(path: Path) -> list[str] | None:
    """Read the words by rank; None where the file is missing."""
    if not path.exists():
        return None
    try:
        rank_of = json.loads(path.read_text(encoding="utf-8"))
        words = [""] * (max(rank_of.values()) + 1)
        for word, rank in rank_of.items():
            words[rank] = word
    except (ValueError, AttributeError, TypeError, IndexError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}). Expected a JSON object of words and their ranks. "
            f"Download it again or remove it."
        ) from error
    return words
