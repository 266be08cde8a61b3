"""The one way from raw text to token ids.

Text is lower-cased, ASCII punctuation is removed, and what ASCII white space separates is a word:
the built-in steps of Keras's `TextVectorization`, so that a finished model can take raw strings.
Ids for training are made here without TensorFlow, which is quicker and needs less memory; tests
hold both ways equal.

What these steps mean for languages other than English: only A to Z are lower-cased, so "Été" and
"été" are two words; typographic quotes, dashes and other punctuation beyond ASCII stay part of
the word; and text without spaces between its words (Chinese, Japanese, Thai) must be given with
spaces between them. Texts in other scripts than the Latin one are otherwise read as they are.
"""

import itertools
import re
import string
from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.corpus import Ranks, Rows
from tuner.errors import DataError

PADDING_ID = 0
UNKNOWN_ID = 1
#: Name of the layer that holds the vocabulary inside a model.
VECTORIZER = "vocabulary"
_PUNCTUATION = string.punctuation.encode()
#: What stands between two pieces of ASCII white space, which `bytes.split` cuts at.
_PIECE = re.compile(r"[^ \t\n\r\v\f]+")

Flat = tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Texts cut into words, before some of the words are given ids."""

    #: Each word that occurs, once, in UTF-8.
    words: tuple[bytes, ...]
    #: Place in `words` of each word of all texts, one text after another; int32, (n_tokens,).
    places: npt.NDArray[np.int32]
    #: Number of words of each text; int64, (n,).
    lengths: npt.NDArray[np.int64]


def tokenize(texts: Sequence[str]) -> Tokens:
    """Cut texts into words.

    Args:
        texts: Any texts.
    """
    # A word that is met first gets the next number.
    place_of: defaultdict[bytes, int] = defaultdict(itertools.count().__next__)
    places = array("i")
    lengths = np.empty(len(texts), np.int64)
    for i, text in enumerate(texts):
        # Of bytes, Python's lower() and split() know ASCII alone, as TensorFlow does.
        words = text.encode().lower().translate(None, _PUNCTUATION).split()
        places.extend(map(place_of.__getitem__, words))
        lengths[i] = len(words)
    return Tokens(words=tuple(place_of), places=np.array(places, dtype=np.int32), lengths=lengths)


def word_spans(text: str) -> list[tuple[int, int]]:
    """Say where the words of a text stand in it, for who shows them.

    Args:
        text: Any text.

    Returns:
        Begin and end of each of the words that `tokenize` cuts, in characters, with the
        punctuation in and around it.

    Example:
        >>> word_spans("It's -- fine!")
        [(0, 4), (8, 13)]
    """
    return [piece.span() for piece in _PIECE.finditer(text) if piece[0].strip(string.punctuation)]


def learn_words(tokens: Tokens, rows: Rows, vocabulary: int) -> tuple[str, ...]:
    """List the most frequent words.

    Args:
        tokens: Texts.
        rows: Which of them are training texts: no others are learned from; int64, (m,).
        vocabulary: Number of ids, those of padding and of unknown words included.

    Returns:
        At most ``vocabulary - 2`` words, the most frequent first; of words that are equally
        frequent, the one later in the alphabet first. The id of a word is its place plus 2.

    Raises:
        DataError: There is no word in any training text.
    """
    is_training = np.zeros(len(tokens.lengths), bool)
    is_training[rows] = True
    seen = tokens.places[np.repeat(is_training, tokens.lengths)]
    counts = np.bincount(seen, minlength=len(tokens.words))
    for place, word in enumerate(tokens.words):
        if word.endswith(b"\0"):
            counts[place] = 0  # Keras's layer would take it for the word without
    if not counts.any():
        raise DataError(
            f"No words in {len(rows)} training texts: nothing is left without ASCII punctuation. "
            f"Check that data.text names the right column."
        )
    from_last = np.array(
        sorted(range(len(tokens.words)), key=tokens.words.__getitem__, reverse=True)
    )
    by_count = from_last[np.argsort(-counts[from_last], kind="stable")]
    frequent = by_count[: min(vocabulary - 2, np.count_nonzero(counts))]
    return tuple(tokens.words[place].decode() for place in frequent)


def build_vectorizer(words: Sequence[str], *, ragged: bool = True) -> Any:
    """Build the layer that turns raw strings into ids inside a model.

    Args:
        words: As `learn_words` lists them.
        ragged: Whether rows keep their lengths; else they are padded on the right with 0.

    Returns:
        A `keras.layers.TextVectorization` from strings, (batch,), to ids, int64, (batch, None),
        as `encode` gives them; only of an empty text it makes nothing.

    Example:
        >>> build_vectorizer(["movie", "a"])(["A great movie!"]).to_list()
        [[3, 1, 2]]
    """
    import keras

    return keras.layers.TextVectorization(vocabulary=list(words), ragged=ragged, name=VECTORIZER)


def encode(tokens: Tokens, words: Sequence[str]) -> Flat:
    """Turn texts into ids at full length.

    Args:
        tokens: Any texts; one without a word becomes one unknown word.
        words: As `learn_words` lists them.

    Returns:
        Ids of all texts one after another, int32, (n_tokens,), and where each text begins, with
        the end of the last one, int64, (n + 1,).

    Example:
        >>> ids, offsets = encode(tokenize(["A great movie!", ""]), ["movie", "a"])
        >>> ids.tolist(), offsets.tolist()
        ([3, 1, 2, 1], [0, 3, 4])
    """
    id_of = {word.encode(): number for number, word in enumerate(words, start=2)}
    id_at = np.array([id_of.get(word, UNKNOWN_ID) for word in tokens.words], np.int32)
    return _without_empty(id_at[tokens.places], tokens.lengths)


def encode_ranks(ranks: Ranks, vocabulary: int) -> Flat:
    """Turn ranks of words into ids, with the same meaning of 0, 1 and the number of ids.

    Args:
        ranks: Each text as ranks by frequency, from 1; int32, (n_words,).
        vocabulary: Number of ids, those of padding and of unknown words included.

    Returns:
        As `encode`.
    """
    ids = np.concatenate([np.zeros(0, np.int32), *ranks]) + 1
    ids[ids >= vocabulary] = UNKNOWN_ID
    return _without_empty(ids, np.array([len(r) for r in ranks], np.int64))


def _without_empty(ids: npt.NDArray[np.int32], lengths: npt.NDArray[np.int64]) -> Flat:
    """Give each text without a word one unknown word."""
    ends = np.cumsum(lengths)
    ids = np.insert(ids, ends[lengths == 0], UNKNOWN_ID)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.maximum(lengths, 1))])
    return ids, offsets
