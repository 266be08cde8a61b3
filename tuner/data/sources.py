"""Read the examples that a study file names, wherever they come from."""

from pathlib import Path
from typing import Literal

import numpy as np

from tuner.config import DataConfig
from tuner.data import demo, imdb
from tuner.data.corpus import Corpus, check, limit, sorted_classes, with_findings
from tuner.data.download import fetch
from tuner.data.files import Examples, read_examples
from tuner.errors import DataError, suggestion
from tuner.urls import is_url

DEFAULT_DEMO_EXAMPLES = 4_000


def read(config: DataConfig, *, seed: int, folder: Path, data_root: Path | None = None) -> Corpus:
    """Read the examples to learn from; those of a test set are never among them.

    Args:
        config: The ``[data]`` table.
        seed: Decides which examples are kept by ``examples``, and what ``demo`` writes; at
            least 0.
        folder: Where relative paths begin: the folder of the study file.
        data_root: Where relative paths begin instead, if the data is there.

    Raises:
        DataError: The data cannot be read or cannot be learned from.
    """
    part: Literal["train"] = "train"
    if config.source == "demo":
        n_examples = config.examples or DEFAULT_DEMO_EXAMPLES
        return with_findings(demo.generate(n_examples, seed=seed, part=part))
    if config.source == "imdb":
        corpus, where = imdb.read(part, _imdb_path(config, folder, data_root)), "imdb"
    else:
        path = _locate(config.source, "data.source", folder, data_root)
        corpus, where = _corpus(read_examples(path, config)), str(path)
    check(corpus, where)
    if config.examples is not None:
        corpus = limit(corpus, config.examples, seed=seed)
    return with_findings(corpus)


def files_of(
    config: DataConfig, *, folder: Path, data_root: Path | None = None
) -> tuple[Path, ...]:
    """Name what `read` reads; what must be downloaded is downloaded.

    Args:
        config: The ``[data]`` table.
        folder: As in `read`.
        data_root: As in `read`.

    Returns:
        Files, of which those of ``imdb`` may be missing, or a folder; none for ``demo``.

    Raises:
        DataError: There is no such file or folder, or it cannot be downloaded.
    """
    if config.source == "demo":
        return ()
    if config.source == "imdb":
        return imdb.files(_imdb_path(config, folder, data_root))
    return (_locate(config.source, "data.source", folder, data_root),)


def has_test(config: DataConfig) -> bool:
    """Say whether a study has test examples, without looking at them.

    Args:
        config: The ``[data]`` table.
    """
    return config.test is not None or config.source in ("demo", "imdb")


def locate_test(config: DataConfig, *, folder: Path, data_root: Path | None = None) -> Path | None:
    """See that the test examples of `data.test` are there, without reading them.

    Args:
        config: The ``[data]`` table.
        folder: As in `read`.
        data_root: As in `read`.

    Returns:
        Where they are; None where they come with ``imdb`` or ``demo``.

    Raises:
        DataError: There is no test set, or it is what is learned from.
    """
    if config.test is None:
        if config.source in ("demo", "imdb"):
            return None
        raise DataError(
            "The study has no test examples. Name a file or folder with data.test, in the form of "
            "data.source."
        )
    path = _locate(config.test, "data.test", folder, data_root)
    if config.source not in ("demo", "imdb"):
        source = _locate(config.source, "data.source", folder, data_root)
        if source.resolve() == path.resolve():
            raise DataError(
                f"data.test is data.source itself: {path}. A test on what was learned says "
                f"nothing. Name other examples."
            )
    return path


def read_test(
    config: DataConfig,
    *,
    classes: tuple[str, ...],
    seed: int,
    folder: Path,
    data_root: Path | None = None,
) -> Corpus:
    """Read the test examples, all of them; for the final evaluation and for nothing else.

    Args:
        config: The ``[data]`` table: ``test`` where it is given, else the test part of ``imdb``
            or fresh reviews of ``demo``. The groups are told where the examples have them; they
            need not, as nothing is divided here.
        classes: The classes of the training examples; the labels are indices into these.
        seed: As in `read`.
        folder: As in `read`.
        data_root: As in `read`.

    Raises:
        DataError: There is no test set, it cannot be read, or it holds an unknown class.
    """
    path = locate_test(config, folder=folder, data_root=data_root)
    if path is None:
        if config.source == "demo":
            n_examples = config.examples or DEFAULT_DEMO_EXAMPLES
            return demo.generate(n_examples, seed=seed, part="test")
        return imdb.read("test", _imdb_path(config, folder, data_root))
    try:
        examples = read_examples(path, config)
    except DataError:
        if config.group is None:
            raise
        # What is wrong with more than the groups is found again.
        examples = read_examples(path, config.model_copy(update={"group": None}))
    return _corpus(examples, classes)


def _imdb_path(config: DataConfig, folder: Path, data_root: Path | None) -> Path | None:
    if config.path is None:
        return None
    return _locate(config.path, "data.path", folder, data_root)


def _locate(name: str, key: str, folder: Path, data_root: Path | None) -> Path:
    if is_url(name):
        return fetch(name, key)
    given = Path(name).expanduser()
    if given.is_absolute():
        places = [given]
    else:
        places = [root / given for root in (data_root, folder) if root is not None]
    looked_at = []
    for place in places:
        why = ""
        try:
            if place.exists():
                return place
        except OSError as error:  # a folder on the way that we may not enter
            why = f" ({error.strerror})"
        looked_at.append(f"{place.absolute()}{why}")
    looked = " and ".join(looked_at)
    known = suggestion(name, ("demo", "imdb")) if key == "data.source" else ""
    raise DataError(
        f"{key} = {name!r}: no such file or folder.{known} Looked at {looked}. Relative paths "
        f"begin at the data root (TUNER_DATA), where it is set, or at the study file."
    )


def _corpus(examples: Examples, classes: tuple[str, ...] | None = None) -> Corpus:
    if classes is None:
        classes = sorted_classes(examples.labels)
    elif unknown := sorted(set(examples.labels) - set(classes)):
        raise DataError(
            f"{examples.where}: class {unknown[0]!r} does not occur in the training examples. "
            f"Expected one of: {', '.join(classes)}."
        )
    index_of = {name: i for i, name in enumerate(classes)}
    return Corpus(
        texts=tuple(examples.texts),
        ranks=None,
        labels=np.array([index_of[label] for label in examples.labels], np.int32),
        classes=classes,
        groups=None if examples.groups is None else tuple(examples.groups),
        notes=tuple(examples.notes),
    )
