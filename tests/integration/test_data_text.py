"""Raw text becomes ids in one way, the same for training and for a finished model."""

import gzip
import itertools
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tuner.data import text
from tuner.data.text import build_vectorizer, encode, encode_ranks, learn_words
from tuner.errors import DataError

REVIEWS = Path(__file__).parents[2].parent / "shared" / "data" / "imdb-train.jsonl.gz"


def test_words_are_listed_by_frequency_and_equal_ones_from_the_end_of_the_alphabet() -> None:
    texts = ["b b a", "B, c! a", "d"]
    assert learn_words(texts, 100) == ("b", "a", "d", "c")
    assert learn_words(texts[::-1], 100) == ("b", "a", "d", "c")


def test_the_vocabulary_counts_padding_and_unknown_words() -> None:
    assert learn_words(["a a b c"], 4) == ("a", "c")


def test_words_are_counted_over_all_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a b", "b", "b a c", "c d"]
    whole = learn_words(texts, 100)
    monkeypatch.setattr(text, "CHUNK", 1)
    assert learn_words(texts, 100) == whole


def test_texts_without_any_word_are_refused() -> None:
    with pytest.raises(DataError, match="No words in 2 training texts"):
        learn_words(["!!!", " ?"], 100)


def test_ids_begin_at_2_and_1_is_an_unknown_word() -> None:
    ids, offsets = encode(build_vectorizer(["movie", "a"]), ["A great movie!", "a"])
    assert ids.tolist() == [3, 1, 2, 3]
    assert ids.dtype == np.int32
    assert offsets.tolist() == [0, 3, 4]
    assert offsets.dtype == np.int64


def test_a_text_without_a_word_is_one_unknown_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "CHUNK", 2)
    ids, offsets = encode(build_vectorizer(["a"]), ["", "a a", "?!", "  ", "a", "\n"])
    assert ids.tolist() == [1, 2, 2, 1, 1, 2, 1]
    assert offsets.tolist() == [0, 1, 3, 4, 5, 6, 7]


def test_no_texts_are_no_ids() -> None:
    ids, offsets = encode(build_vectorizer(["a"]), [])
    assert ids.tolist() == []
    assert offsets.tolist() == [0]


def test_only_ascii_letters_are_lower_cased_and_only_ascii_punctuation_removed() -> None:
    assert set(learn_words(["ÉTÉ été, «Ja» 映画"], 100)) == {"ÉtÉ", "été", "«ja»", "映画"}


def test_a_word_that_looks_like_the_unknown_word_is_a_word() -> None:
    words = learn_words(["[UNK] unk movie"], 100)
    assert words == ("unk", "movie")
    assert encode(build_vectorizer(words), ["[UNK]"])[0].tolist() == [2]


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
    assert encode(again, ["A great movie!"])[0].tolist() == [3, 1, 2]


@pytest.mark.skipif(not REVIEWS.exists(), reason="no real reviews at hand")
def test_ids_of_real_reviews_are_the_same_one_by_one_and_all_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with gzip.open(REVIEWS, "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in itertools.islice(file, 120)]
    words = learn_words(texts[:80], 2_000)
    monkeypatch.setattr(text, "CHUNK", 7)
    ids, offsets = encode(build_vectorizer(words), texts)
    layer = keras.layers.TextVectorization(vocabulary=list(words))
    for i, one in enumerate(texts):
        expected = layer([one]).numpy()[0].tolist()
        assert ids[offsets[i] : offsets[i + 1]].tolist() == expected
    assert ids.min() == 1
    assert ids.max() == 1_999
