"""Say in one short name which data a study learned from, and how it was prepared."""

import hashlib
import json

from tuner.config import DataConfig
from tuner.data.corpus import Corpus

#: Raised whenever the same examples begin to give other ids or another split.
PREPARATION_VERSION = 1
N_CHARACTERS = 32


def fingerprint(corpus: Corpus, config: DataConfig, *, seed: int) -> str:
    """Name examples and their preparation; the same wherever the files lie.

    Args:
        corpus: The examples, in order.
        config: The ``[data]`` table; where the data comes from plays no part.
        seed: Of the split and of the choice of examples.

    Returns:
        32 hexadecimal digits.
    """
    preparation = {
        "version": PREPARATION_VERSION,
        "vocabulary": config.vocabulary,
        "validation": config.validation,
        "examples": config.examples,
        "seed": seed,
        "classes": corpus.classes,
        "kind": "ranks" if corpus.texts is None else "texts",
        "grouped": corpus.groups is not None,
    }
    digest = hashlib.sha256(json.dumps(preparation, sort_keys=True).encode())
    digest.update(corpus.labels.astype("<i4").tobytes())
    for text in corpus.texts or ():
        _add(digest, text.encode())
    for ranks in corpus.ranks or ():
        _add(digest, ranks.astype("<i4").tobytes())
    for group in corpus.groups or ():
        _add(digest, group.encode())
    return digest.hexdigest()[:N_CHARACTERS]


def _add(digest: "hashlib._Hash", value: bytes) -> None:
    digest.update(len(value).to_bytes(8, "little"))  # where one value ends and the next begins
    digest.update(value)
