"""Everything between a study file and training: read, divide, learn words, turn into ids."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tuner.config import DataConfig
from tuner.data.corpus import Corpus, Rows
from tuner.data.encoded import Encoded
from tuner.data.fingerprint import fingerprint
from tuner.data.sources import read
from tuner.data.split import split


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Data that trials learn from and are judged by."""

    #: Training examples.
    train: Encoded
    #: Validation examples.
    validation: Encoded
    #: Names of the classes, by label.
    classes: tuple[str, ...]
    #: Words of the training texts by id, from id 2; None where only ranks are known.
    words: tuple[str, ...] | None
    #: Names the examples and their preparation.
    fingerprint: str
    #: What a person should know.
    notes: tuple[str, ...]


def prepare(
    config: DataConfig, *, seed: int, folder: Path, data_root: Path | None = None
) -> Prepared:
    """Read a study's examples and turn them into ids.

    Args:
        config: The ``[data]`` table.
        seed: Of the study; decides the split and, with ``examples``, which are kept.
        folder: Where relative paths begin: the folder of the study file.
        data_root: Where relative paths begin instead, if the data is there.

    Raises:
        DataError: The data cannot be read or cannot be learned from.
    """
    corpus = read(config, seed=seed, folder=folder, data_root=data_root)
    training, validation = split(corpus, validation=config.validation, seed=seed)
    ids, offsets, words = _encode(corpus, training, config.vocabulary)
    everything = Encoded(ids=ids, offsets=offsets, labels=corpus.labels)
    return Prepared(
        train=everything.subset(training),
        validation=everything.subset(validation),
        classes=corpus.classes,
        words=words,
        fingerprint=fingerprint(corpus, config, seed=seed),
        notes=corpus.notes,
    )


def _encode(
    corpus: Corpus, training: Rows, vocabulary: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], tuple[str, ...] | None]:
    from tuner.data.text import build_vectorizer, encode, encode_ranks, learn_words

    if corpus.texts is None:
        return *encode_ranks(corpus.ranks or (), vocabulary), None
    words = learn_words([corpus.texts[i] for i in training], vocabulary)
    return *encode(build_vectorizer(words), corpus.texts), words
