"""Everything between a study file and training: read, divide, learn words, turn into ids."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tuner.config import DataConfig
from tuner.data.cache import cached
from tuner.data.corpus import Corpus, Rows
from tuner.data.encoded import Encoded
from tuner.data.fingerprint import fingerprint
from tuner.data.origin import origin_of
from tuner.data.prepared import Prepared
from tuner.data.sources import read
from tuner.data.split import Fold, numbered_units, split, split_fold
from tuner.data.summary import describe
from tuner.data.text import encode, encode_ranks, learn_words, tokenize

__all__ = ["Prepared", "prepare"]


def prepare(
    config: DataConfig,
    *,
    seed: int,
    folder: Path,
    data_root: Path | None = None,
    fold: Fold | None = None,
) -> Prepared:
    """Give a study's examples as ids, from this machine's cache where they are there already.

    Args:
        config: The ``[data]`` table.
        seed: Of the study; decides the split and, with ``examples``, which are kept.
        folder: Where relative paths begin: the folder of the study file.
        data_root: Where relative paths begin instead, if the data is there.
        fold: What judges in place of the search's validation set; None for that. The fingerprint
            is the same.

    Raises:
        DataError: The data cannot be read or cannot be learned from.
    """
    origin = origin_of(config, seed=seed, folder=folder, data_root=data_root, fold=fold)
    return cached(origin, lambda: _prepare(origin.located(config), seed, folder, fold))


def _prepare(config: DataConfig, seed: int, folder: Path, fold: Fold | None) -> Prepared:
    corpus = read(config, seed=seed, folder=folder)
    if fold is None:
        training, validation = split(corpus, validation=config.validation, seed=seed)
    else:
        training, validation = split_fold(corpus, fold, validation=config.validation, seed=seed)
    ids, offsets, words = _encode(corpus, training, config.vocabulary)
    everything = Encoded(ids=ids, offsets=offsets, labels=corpus.labels)
    return Prepared(
        train=everything.subset(training),
        validation=everything.subset(validation),
        words=words,
        fingerprint=fingerprint(corpus, config, seed=seed),
        summary=describe(corpus),
        units=numbered_units(corpus, validation),
    )


def _encode(
    corpus: Corpus, training: Rows, vocabulary: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], tuple[str, ...] | None]:
    if corpus.texts is None:
        return *encode_ranks(corpus.ranks or (), vocabulary), None
    tokens = tokenize(corpus.texts)
    words = learn_words(tokens, training, vocabulary)
    return *encode(tokens, words), words
