"""A finished model on disk, ready to be asked."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from tuner.data.encoded import Encoded
from tuner.data.text import UNKNOWN_ID, Flat, encode, tokenize
from tuner.deliver.classifier import build_classifier, parts_of
from tuner.deliver.folder import read_artifact
from tuner.deliver.manifest import Manifest, Member
from tuner.deliver.weights import rebuild
from tuner.errors import InputError
from tuner.evaluation import Predictor
from tuner.metrics import Probabilities


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """One of an artifact's models, as it was loaded."""

    #: What the manifest says of it.
    member: Member
    #: From raw texts (or ids) to probabilities; what a ``.keras`` file holds.
    model: keras.Model
    #: The net within it, from padded ids to probabilities.
    net: keras.Model
    #: Words by id, from id 2; None where only ids are known.
    words: tuple[str, ...] | None


class Artifact:
    """A finished model: from texts to class probabilities.

    Several models are one here: their probabilities are averaged.

    Args:
        manifest: All about it.
        classifiers: The models; those that read words have the same ones.

    Example:
        >>> artifact = open_artifact("imdb.model")
        >>> artifact.classes
        ('neg', 'pos')
        >>> artifact.predict(["A great movie!"])
        array([[0.04, 0.96]], dtype=float32)
    """

    def __init__(self, manifest: Manifest, classifiers: Sequence[Classifier]) -> None:
        #: All about it.
        self.manifest = manifest
        #: The models.
        self.classifiers = tuple(classifiers)
        self._predictors = [Predictor(classifier.net) for classifier in classifiers]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities."""
        return self.manifest.classes

    @property
    def words(self) -> tuple[str, ...] | None:
        """Words by id, from id 2; None where only ids are known."""
        return self.classifiers[0].words

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Turn texts into ids, as the models do.

        Args:
            texts: Any texts.

        Returns:
            The ids at full length; the labels mean nothing.

        Raises:
            InputError: The words are not known, or a text cannot be written as UTF-8.
        """
        if self.words is None:
            raise InputError(
                f"The models of study {self.manifest.origin.study!r} take ids, not texts: they "
                f"learned from word ranks, and the words were not there. Use "
                f"`Artifact.predict_ids` in Python; the artifact's README.md says what an id is."
            )
        for number, text in enumerate(texts, start=1):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise InputError(
                    f"Text {number} holds half a character ({text[error.start]!r}), which UTF-8 "
                    f"cannot write. Correct or remove it."
                ) from error
        return _unlabelled(encode(tokenize(texts), self.words))

    def predict(
        self, texts: Sequence[str], *, after_batch: Callable[[int], None] = lambda _: None
    ) -> Probabilities:
        """Predict the classes of texts; the time goes with their lengths.

        Args:
            texts: Any texts; one without a known word is predicted as well.
            after_batch: Called now and then, so that somebody can show progress.

        Returns:
            float32, ``(n, n_classes)``, in the order of the texts.

        Raises:
            InputError: As `encode`.
        """
        return self._predict(self.encode(texts), after_batch)

    def predict_ids(self, ids: Sequence[Sequence[int]]) -> Probabilities:
        """Predict the classes of texts that are ids already.

        Args:
            ids: Of each text's words, from 1 (unknown) to ``manifest.n_ids - 1``, at any length.

        Returns:
            float32, ``(n, n_classes)``.

        Raises:
            InputError: A number is no id.
        """
        lengths = np.array([max(len(one), 1) for one in ids], np.int64)
        flat = [number for one in ids for number in (one if len(one) else (UNKNOWN_ID,))]
        if wrong := [number for number in flat if not 1 <= number < self.manifest.n_ids]:
            raise InputError(
                f"Expected ids from 1 to {self.manifest.n_ids - 1}, 1 for a word that is not "
                f"known. Received {wrong[0]!r}."
            )
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        return self._predict(_unlabelled((np.array(flat, np.int32), offsets)), lambda _: None)

    def predict_encoded(self, data: Encoded) -> Probabilities:
        """Predict the classes of texts that were turned into ids as for training.

        Args:
            data: The texts; the labels are not looked at.

        Returns:
            float32, ``(n, n_classes)``.
        """
        return self._predict(data, lambda _: None)

    def _predict(self, data: Encoded, after_batch: Callable[[int], None]) -> Probabilities:
        total: npt.NDArray[np.float64] = np.zeros((len(data), len(self.classes)))
        for classifier, predictor in zip(self.classifiers, self._predictors, strict=True):
            total += predictor.probabilities(data, classifier.member.params, after_batch)
        return (total / len(self.classifiers)).astype(np.float32)


def open_artifact(folder: str | Path) -> Artifact:
    """Open what `tuner refit` or `tuner compress` wrote, after checking every file.

    The models are loaded from the very bytes that were checked: in Keras's safe mode, or, packed
    ones, as plain numbers into a net that is built here.

    Args:
        folder: Where it is.

    Raises:
        InputError: It is no artifact, it is damaged, or not of tuner's making.
    """
    folder = Path(folder)
    manifest, contents = read_artifact(folder)
    classifiers = [_load(folder, manifest, m, contents[m.file]) for m in manifest.members]
    if len({classifier.words for classifier in classifiers}) > 1:
        raise InputError(
            f"{folder}: its models have different vocabularies. Expected models of one study. "
            f"Make the artifact anew with `tuner refit`."
        )
    return Artifact(manifest, classifiers)


def _load(folder: Path, manifest: Manifest, member: Member, content: bytes) -> Classifier:
    path = folder / member.file
    try:
        if member.form == "packed":
            net, words = rebuild(content, manifest, member)
            model = build_classifier(net, member.params, words)
        else:
            model = _load_keras(manifest, content)
            net, words = parts_of(model)
    except InputError as error:
        raise InputError(f"{path} {error}.") from error
    n_classes = int(net.output_shape[-1])
    takes, n_ids = ("ids", manifest.n_ids) if words is None else ("texts", len(words) + 2)
    said = manifest.takes, manifest.n_ids, len(manifest.classes)
    if (takes, n_ids, n_classes) != said:
        raise InputError(
            f"{path} takes {takes} of {n_ids} ids and knows {n_classes} classes. Expected what the "
            f"manifest says: {said[0]}, {said[1]} and {said[2]}. Make the artifact anew with "
            f"`tuner refit`."
        )
    return Classifier(member=member, model=model, net=net, words=words)


def _load_keras(manifest: Manifest, content: bytes) -> keras.Model:
    try:
        # Keras reads files alone. One of our own cannot be exchanged after it was checked.
        with tempfile.TemporaryDirectory() as private:
            checked = Path(private) / "model.keras"
            checked.write_bytes(content)
            return keras.saving.load_model(checked, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises anything, for a file that is damaged or unsafe
        reason = next(iter(str(error).splitlines()), "no reason given")
        raise InputError(
            f"is refused: Keras {keras.__version__} does not load it in its safe mode "
            f"({type(error).__name__}: {reason}). It was written by Keras "
            f"{manifest.origin.versions.get('keras', 'of an unknown version')}"
        ) from error


def _unlabelled(flat: Flat) -> Encoded:
    ids, offsets = flat
    return Encoded(ids=ids, offsets=offsets, labels=np.zeros(len(offsets) - 1, np.int32))
