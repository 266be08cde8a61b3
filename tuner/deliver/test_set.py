"""The test set: read here and nowhere else, for finished models, as a rule once."""

from collections.abc import Sequence
from pathlib import Path

from tuner.config import DataConfig, StudyConfig
from tuner.data import Encoded, read_test
from tuner.data.prepared import Prepared
from tuner.data.text import encode, encode_ranks, tokenize
from tuner.deliver.artifact import Artifact
from tuner.deliver.manifest import FinalResult, data_name
from tuner.errors import DataError
from tuner.judging import Comparison, compare, judge
from tuner.yardstick import NAME, Yardstick


def check_readable(config: DataConfig, data: Prepared) -> None:
    """Refuse a test set that models of this data could not read, before they are trained.

    Args:
        config: What names it.
        data: What the models learn from.

    Raises:
        DataError: The models will take ids, and it holds texts.
    """
    if data.words is None and config.test is not None:
        raise DataError(
            f"data.test = {config.test!r}: holds texts, and without Keras's word index models of "
            f"{config.source!r} take ids. Leave it out with --no-test, or put "
            f"imdb_word_index.json beside the reviews and begin a new study."
        )


def judge_by_test_set(
    artifact: Artifact,
    config: StudyConfig,
    *,
    reading: int,
    yardstick: Yardstick | None,
    data_root: Path | None,
) -> FinalResult:
    """Read the test set and judge a finished model by it.

    Args:
        artifact: The models as they were written.
        config: The study.
        reading: Which reading of the test set this is, from 1; note it before.
        yardstick: A simple model to compare with; None for none.
        data_root: Folder in which relative data paths are looked up first.

    Raises:
        DataError: It cannot be read, or holds an unknown class.
    """
    examples, groups = _read(artifact, config, data_root)
    ours = artifact.predict_encoded(examples)
    comparisons: tuple[Comparison, ...] = ()
    if yardstick is not None:
        others = yardstick.predict(examples)
        comparisons = (
            compare(examples.labels, ours, others, name=NAME, seed=config.seed, groups=groups),
        )
    return FinalResult(
        reading=reading,
        data=data_name(config.data, test=True),
        group=None if groups is None else config.data.group,
        judgement=judge(examples.labels, ours, seed=config.seed, groups=groups),
        comparisons=comparisons,
    )


def _read(
    artifact: Artifact, config: StudyConfig, data_root: Path | None
) -> tuple[Encoded, Sequence[str] | None]:
    """Give the test examples, and what each belongs to where they tell it."""
    corpus = read_test(
        config.data,
        classes=artifact.classes,
        seed=config.seed,
        folder=config.folder,
        data_root=data_root,
    )
    if artifact.words is None:
        ids, offsets = encode_ranks(corpus.ranks or (), artifact.manifest.n_ids)
    else:
        ids, offsets = encode(tokenize(corpus.texts or ()), artifact.words)
    return Encoded(ids=ids, offsets=offsets, labels=corpus.labels), corpus.groups
