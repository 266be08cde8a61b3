"""Variants of an artifact's models: what several have in common is made once."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tuner.data.encoded import Encoded
from tuner.deliver.artifact import Artifact
from tuner.deliver.card import CARD, write_card
from tuner.deliver.compress.distilling import distil
from tuner.deliver.compress.models import Models, low_rank, models_of
from tuner.deliver.compress.pruning import prune
from tuner.deliver.compress.teaching import Lesson
from tuner.deliver.compress.vocabulary import N_TEXTS, importance, keep_words
from tuner.deliver.folder import Writer, write_artifact
from tuner.deliver.manifest import Manifest, Member
from tuner.evaluation import EVALUATION_BATCH
from tuner.packing import Packed, Step, Variant, pack, store
from tuner.sizes import Shape, count_parameters


class Workshop:
    """Makes variants of one artifact.

    Args:
        artifact: The original.
        learn: Examples that steps may learn from, with its ids.
        seed: Decides which of them are looked at where not all are.
        say: Told, for people, what comes next.
        micro_batches: Parts into which batches are cut to save memory, where a step trains.
    """

    def __init__(
        self,
        artifact: Artifact,
        learn: Encoded,
        *,
        seed: int,
        say: Callable[[str], None],
        micro_batches: int = 1,
    ) -> None:
        self._artifact = artifact
        self._learn = learn
        self._seed = seed
        self._say = say
        self._micro_batches = micro_batches
        self._made: dict[tuple[Step, ...], Models] = {}

    def write(self, variant: Variant, target: Path) -> Manifest:
        """Write a variant as an artifact.

        Args:
            variant: Which.
            target: Its folder, which is not there yet.

        Returns:
            The manifest as it was written.
        """
        original, words = self._artifact.manifest, self._artifact.words
        models = self._make(variant.shaping)
        kept = None
        if words is not None:
            kept = tuple(words[i - 2] for i in models.kept.tolist() if i >= 2)
        n_ids = original.n_ids if kept is None else len(kept) + 2
        shape = Shape(n_ids=n_ids, n_classes=models.n_classes)
        members = tuple(
            Member(
                file="model.npz" if len(models.each) == 1 else f"model-{number}.npz",
                form="packed",
                params=model.params,
                seed=model.seed,
                epochs=model.epochs,
                n_parameters=count_parameters(model.params, shape),
            )
            for number, model in enumerate(models.each, start=1)
        )
        manifest = original.model_copy(update={"n_ids": n_ids, "members": members, "test": None})
        files: dict[str, Writer] = {CARD: write_card(manifest)}
        for member, model in zip(members, models.each, strict=True):
            packed = Packed(
                weights=store(model.weights, variant.numbers),
                words=kept,
                ids=models.kept if kept is None else None,
            )
            files[member.file] = _writer(packed)
        return write_artifact(target, manifest, files)

    def numbered(self, variant: Variant, data: Encoded) -> Encoded:
        """Give texts the ids that the artifact of a variant reads.

        Args:
            variant: Which.
            data: With the original's ids.
        """
        if self._artifact.words is None:
            return data  # words that are gone keep their ids, and are read as unknown ones
        return self._make(variant.shaping).numbered(data)

    def _make(self, steps: tuple[Step, ...]) -> Models:
        if steps not in self._made:
            if not steps:
                self._made[steps] = models_of(self._artifact)
            else:
                self._made[steps] = self._do(steps[-1], self._make(steps[:-1]))
        return self._made[steps]

    def _do(self, step: Step, models: Models) -> Models:
        self._say(f"{step}: {_DOES[step.name]}")
        match step.name:
            case "vocabulary":
                return keep_words(models, self._importances, step.count)
            case "distil":
                return distil(models, self._lesson, step.count)
            case "prune":
                return prune(models, self._lesson, float(step.amount or 0))
            case _:
                return low_rank(models, step.count)

    @cached_property
    def _lesson(self) -> Lesson:
        return Lesson(
            data=self._learn,
            targets=self._artifact.predict_encoded(self._learn),
            micro_batches=self._micro_batches,
        )

    @cached_property
    def _importances(self) -> npt.NDArray[np.float64]:
        """What each id means to the models together; (n_ids,)."""
        rows = np.random.default_rng(self._seed).permutation(len(self._learn))[:N_TEXTS]
        texts = self._learn.subset(rows)
        total: npt.NDArray[np.float64] = np.zeros(self._artifact.manifest.n_ids)
        for classifier in self._artifact.classifiers:
            params = classifier.member.params
            # As many at a time as fitted into memory when it was trained.
            fitting = max(1, params.batch_size // self._micro_batches)
            size = EVALUATION_BATCH if self._micro_batches == 1 else min(EVALUATION_BATCH, fitting)
            total += importance(classifier.net, params, texts, batch_size=size)
        return total


#: What steps do, for people.
_DOES = {
    "vocabulary": "taking out the words that matter least.",
    "distil": "training a student.",
    "prune": "training with more and more zeros.",
    "low_rank": "taking the table of word vectors apart.",
}


def _writer(packed: Packed) -> Writer:
    return lambda path: path.write_bytes(pack(packed))
