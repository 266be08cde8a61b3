"""The test set: read here and nowhere else, to judge finished models, as a rule once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner.config import StudyConfig
from tuner.data import Encoded, read_test
from tuner.data.prepared import Prepared
from tuner.data.text import encode, encode_ranks, tokenize
from tuner.deliver.artifact import Artifact
from tuner.deliver.manifest import FinalResult, data_name
from tuner.errors import DataError
from tuner.judging import Comparison, compare, judge
from tuner.yardstick import NAME, Yardstick


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """Test examples that nothing was judged by yet."""

    #: The examples, as the models read them.
    examples: Encoded
    #: What each belongs to; None where they do not tell.
    groups: Sequence[str] | None


def open_test_set(config: StudyConfig, data: Prepared, *, data_root: Path | None) -> Unseen:
    """Read the test set as models of a study's data will, before these are trained.

    What is wrong with it costs neither a training nor its one reading then.

    Args:
        config: The study.
        data: What the models learn from.
        data_root: Folder in which relative data paths are looked up first.

    Raises:
        DataError: It cannot be read, or holds an unknown class, or texts for models of ids.
    """
    if data.words is None and config.data.test is not None:
        raise DataError(
            f"data.test = {config.data.test!r}: holds texts, and without Keras's word index models "
            f"of {config.data.source!r} take ids. Leave it out with --no-test, or put "
            f"imdb_word_index.json beside the reviews and begin a new study."
        )
    corpus = read_test(
        config.data,
        classes=data.classes,
        seed=config.seed,
        folder=config.folder,
        data_root=data_root,
    )
    if data.words is None:
        ids, offsets = encode_ranks(corpus.ranks or (), data.shape(config.data.vocabulary).n_ids)
    else:
        ids, offsets = encode(tokenize(corpus.texts or ()), data.words)
    examples = Encoded(ids=ids, offsets=offsets, labels=corpus.labels)
    return Unseen(examples=examples, groups=corpus.groups)


def judge_by_test_set(
    artifact: Artifact,
    config: StudyConfig,
    test: Unseen,
    *,
    reading: int,
    yardstick: Yardstick | None,
) -> FinalResult:
    """Judge a finished model by the test set.

    Args:
        artifact: The models as they were written.
        config: The study.
        test: As it was opened.
        reading: Which reading of the test set this is, from 1; note it before.
        yardstick: A simple model to compare with; None for none.
    """
    examples, groups = test.examples, test.groups
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
