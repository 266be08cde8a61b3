"""Raw text becomes ids in one way, the same for training and for a finished model."""

import gzip
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tuner.data.text import build_vectorizer, encode, encode_ranks, learn_words, tokenize
from tuner.errors import DataError

REVIEWS = Path(__file__).parents[2].parent / "shared" / "data" / "imdb-train.jsonl.gz"
#: Texts on which two ways to cut them into words are most likely to differ.
HOSTILE = (
    "".join(map(chr, range(1, 128))),
    " ".join(map(chr, range(1, 0x3000))),
    "".join(map(chr, (*range(0x1F00, 0x2100), *range(0x1F300, 0x1F700)))),
    "İstanbul ISTANBUL \u017ftraße STRASSE ǅ \u0130\u0307 K\u212a Å\u212b",
    "a\u00a0b\u1680c\u2003d\u2028e\u2029f\u3000g\u0085h\u001ci\u001fj\u200bk\ufeffl",
    "tab\tline\nfeed\fvertical\vreturn\rend",
    "nul\0inside nul",
    "e\u0301 é «quoted» “curly” it\u2019s it's don't-stop  __init__ <br /><br />end.Next",
    "[UNK] [unk] [MASK] mask <pad>",
    "\U0010ffff \ue000 \ufffe \ufffd 🏳️‍🌈 映画 фильм ΦΙΛΜ فيلم",
    "...",
    "",
    "   ",
)


def words_of(texts: Sequence[str], vocabulary: int) -> tuple[str, ...]:
    return learn_words(tokenize(texts), np.arange(len(texts)), vocabulary)


def words_by_keras(texts: Sequence[str], vocabulary: int) -> list[str]:
    layer = keras.layers.TextVectorization(max_tokens=vocabulary, ragged=True)
    layer.adapt(texts[start : start + 1_000] for start in range(0, len(texts), 1_000))
    return [str(word) for word in layer.get_vocabulary(include_special_tokens=False)]


def test_words_and_ids_of_hostile_texts_are_those_of_keras() -> None:
    texts = [*HOSTILE, *(text * 2 for text in HOSTILE)]
    for vocabulary in (10, 3_000, 100_000):
        words = words_of(texts, vocabulary)
        assert list(words) == words_by_keras(texts, vocabulary)
        ids, offsets = encode(tokenize(texts), words)
        of_keras = build_vectorizer(words)(texts).to_list()
        parts = [part.tolist() for part in np.split(ids, offsets[1:-1])]
        assert parts == [one or [1] for one in of_keras]


def test_a_word_that_ends_in_nul_is_unknown_everywhere() -> None:
    texts = ["nul nul\0", "\0 b\0 b\0"]
    words = words_of(texts, 100)
    assert words == ("nul",)
    assert encode(tokenize(texts), words)[0].tolist() == [2, 1, 1, 1, 1]
    assert build_vectorizer(words)(texts).to_list() == [[2, 1], [1, 1, 1]]


@pytest.mark.skipif(not REVIEWS.exists(), reason="no real reviews at hand")
def test_words_and_ids_of_real_reviews_are_those_of_keras() -> None:
    with gzip.open(REVIEWS, "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in itertools.islice(file, 3_000)]
    training = texts[:2_000]
    tokens = tokenize(texts)
    words = learn_words(tokens, np.arange(2_000), 5_000)
    assert list(words) == words_by_keras(training, 5_000)
    ids, _ = encode(tokens, words)
    assert ids.tolist() == build_vectorizer(words)(texts).flat_values.numpy().tolist()
    assert ids.min() == 1
    assert ids.max() == 4_999


def test_words_are_listed_by_frequency_and_equal_ones_from_the_end_of_the_alphabet() -> None:
    texts = ["b b a", "B, c! a", "d"]
    assert words_of(texts, 100) == ("b", "a", "d", "c")
    assert words_of(texts[::-1], 100) == ("b", "a", "d", "c")


def test_the_vocabulary_counts_padding_and_unknown_words() -> None:
    assert words_of(["a a b c"], 4) == ("a", "c")


def test_words_of_other_texts_than_those_asked_for_are_not_learned() -> None:
    tokens = tokenize(["b a", "c c c c", "a d"])
    assert learn_words(tokens, np.array([0, 2]), 100) == ("a", "d", "b")


def test_texts_without_any_word_are_refused() -> None:
    with pytest.raises(DataError, match="No words in 2 training texts"):
        learn_words(tokenize(["!!!", " ?", "word"]), np.array([0, 1]), 100)


def test_ids_begin_at_2_and_1_is_an_unknown_word() -> None:
    ids, offsets = encode(tokenize(["A great movie!", "a"]), ["movie", "a"])
    assert ids.tolist() == [3, 1, 2, 3]
    assert ids.dtype == np.int32
    assert offsets.tolist() == [0, 3, 4]
    assert offsets.dtype == np.int64


def test_a_text_without_a_word_is_one_unknown_word() -> None:
    ids, offsets = encode(tokenize(["", "a a", "?!", "  ", "a", "\n"]), ["a"])
    assert ids.tolist() == [1, 2, 2, 1, 1, 2, 1]
    assert offsets.tolist() == [0, 1, 3, 4, 5, 6, 7]


def test_no_texts_are_no_ids() -> None:
    ids, offsets = encode(tokenize([]), ["a"])
    assert ids.tolist() == []
    assert offsets.tolist() == [0]


def test_only_ascii_letters_are_lower_cased_and_only_ascii_punctuation_removed() -> None:
    assert set(words_of(["ÉTÉ été, «Ja» 映画"], 100)) == {"ÉtÉ", "été", "«ja»", "映画"}


def test_a_word_that_looks_like_the_unknown_word_is_a_word() -> None:
    words = words_of(["[UNK] unk movie"], 100)
    assert words == ("unk", "movie")
    assert encode(tokenize(["[UNK]"]), words)[0].tolist() == [2]


def test_ranks_become_ids_with_the_same_meaning() -> None:
    ranks = tuple(np.array(r, np.int32) for r in ([1, 2, 8, 9], [], [500]))
    ids, offsets = encode_ranks(ranks, vocabulary=10)
    assert ids.tolist() == [2, 3, 9, 1, 1, 1]
    assert ids.dtype == np.int32
    assert offsets.tolist() == [0, 4, 5, 6]


def test_the_layer_works_inside_a_graph_on_raw_strings() -> None:
    vectorizer = build_vectorizer(["movie", "a"])
    ids = tf.function(
        lambda texts: vectorizer(texts).to_tensor(),
        input_signature=[tf.TensorSpec((None,), tf.string)],
    )
    assert ids(tf.constant(["A movie.", "?", "best movie"])).numpy().tolist() == [
        [3, 2],
        [0, 0],
        [1, 2],
    ]


def test_the_layer_survives_being_written_down() -> None:
    layer = build_vectorizer(["movie", "a"])
    again = keras.layers.TextVectorization.from_config(layer.get_config())
    assert again(["A great movie!"]).to_list() == [[3, 1, 2]]
