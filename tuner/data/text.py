"""The one way from raw text to token ids.

Text is lower-cased, ASCII punctuation is removed, and what white space separates is a word: the
built-in steps of Keras's `TextVectorization`, so that a finished model can take raw strings.

What these steps mean for languages other than English: only A to Z are lower-cased, so "Été" and
"été" are two words; typographic quotes, dashes and other punctuation beyond ASCII stay part of
the word; and text without spaces between its words (Chinese, Japanese, Thai) must be given with
spaces between them. Texts in other scripts than the Latin one are otherwise read as they are.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tuner.data.corpus import Ranks
from tuner.errors import DataError

PADDING_ID = 0
UNKNOWN_ID = 1
#: Texts that are worked on at a time, which bounds memory.
CHUNK = 4_096

Flat = tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]


def learn_words(texts: Sequence[str], vocabulary: int) -> tuple[str, ...]:
    """List the most frequent words.

    Args:
        texts: The training texts, and no others.
        vocabulary: Number of ids, those of padding and of unknown words included.

    Returns:
        At most ``vocabulary - 2`` words, the most frequent first; of words that are equally
        frequent, the one later in the alphabet first. The id of a word is its place plus 2.

    Raises:
        DataError: There is no word in any text.
    """
    layer = keras.layers.TextVectorization(max_tokens=vocabulary, ragged=True)
    layer.adapt(_chunks(texts))
    words = layer.get_vocabulary(include_special_tokens=False)
    if not words:
        raise DataError(
            f"No words in {len(texts)} training texts: nothing is left without ASCII punctuation. "
            f"Check that data.text names the right column."
        )
    return tuple(str(word) for word in words)


def build_vectorizer(words: Sequence[str]) -> Any:
    """Build the layer that turns raw strings into ids.

    Args:
        words: As `learn_words` lists them.

    Returns:
        A `keras.layers.TextVectorization` from strings, (batch,), to ids, int64, ragged
        (batch, None): 1 for words that are not listed, and nothing for an empty text, which
        `encode` mends.

    Example:
        >>> build_vectorizer(["movie", "a"])(["A great movie!"]).to_list()
        [[3, 1, 2]]
    """
    return keras.layers.TextVectorization(vocabulary=list(words), ragged=True)


def encode(vectorizer: Any, texts: Sequence[str]) -> Flat:
    """Turn texts into ids at full length.

    Args:
        vectorizer: Of `build_vectorizer`.
        texts: Any texts; one without a word becomes one unknown word.

    Returns:
        Ids of all texts one after another, int32, (n_tokens,), and where each text begins, with
        the end of the last one, int64, (n + 1,).
    """
    ids, lengths = [], []
    for chunk in _chunks(texts):
        ragged = vectorizer(chunk)
        ids.append(ragged.flat_values.numpy().astype(np.int32))
        lengths.append(ragged.row_lengths().numpy())
    return _without_empty(_joined(ids, np.int32), _joined(lengths, np.int64))


def encode_ranks(ranks: Ranks, vocabulary: int) -> Flat:
    """Turn ranks of words into ids, with the same meaning of 0, 1 and the number of ids.

    Args:
        ranks: Each text as ranks by frequency, from 1; int32, (n_words,).
        vocabulary: Number of ids, those of padding and of unknown words included.

    Returns:
        As `encode`.
    """
    ids = _joined(list(ranks), np.int32) + 1
    ids[ids >= vocabulary] = UNKNOWN_ID
    return _without_empty(ids, np.array([len(r) for r in ranks], np.int64))


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), CHUNK):
        yield list(texts[start : start + CHUNK])


def _joined(parts: list[npt.NDArray[Any]], dtype: type[np.generic]) -> npt.NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *parts])


def _without_empty(ids: npt.NDArray[np.int32], lengths: npt.NDArray[np.int64]) -> Flat:
    """Give each text without a word one unknown word."""
    ends = np.cumsum(lengths)
    ids = np.insert(ids, ends[lengths == 0], UNKNOWN_ID)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.maximum(lengths, 1))])
    return ids, offsets
