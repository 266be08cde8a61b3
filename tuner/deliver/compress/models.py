"""All models of an artifact as plain numbers: what a step takes, and what it gives."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tuner.data.encoded import Encoded
from tuner.deliver.artifact import Artifact
from tuner.deliver.manifest import Member
from tuner.deliver.weights import weights_of
from tuner.packing import Floats, Size, factorise, new_numbers
from tuner.params import GRUParams


@dataclass(frozen=True, kw_only=True)
class Model:
    """One of the models."""

    #: Hyperparameters of its net.
    params: GRUParams
    #: Of its training.
    seed: int
    #: Epochs that it was trained, before any step.
    epochs: int
    #: By name; the table of word vectors may be two factors.
    weights: dict[str, Floats]


@dataclass(frozen=True, kw_only=True)
class Models:
    """The models, whose probabilities are averaged."""

    #: Each of them.
    each: tuple[Model, ...]
    #: Ids of the original that have a row of their own, in the rows' order; int64, ascending.
    kept: npt.NDArray[np.int64]
    #: Ids of the original.
    n_ids: int
    #: Classes.
    n_classes: int

    def numbered(self, data: Encoded) -> Encoded:
        """Give texts the ids that these models have for their words.

        Args:
            data: With the original's ids.
        """
        return replace(data, ids=new_numbers(self.kept, self.n_ids)[data.ids])


def models_of(artifact: Artifact) -> Models:
    """Take an artifact's models apart.

    Args:
        artifact: As it was opened.
    """
    manifest = artifact.manifest
    return Models(
        each=tuple(
            Model(
                params=classifier.member.params,
                seed=classifier.member.seed,
                epochs=classifier.member.epochs,
                weights=weights_of(classifier.net),
            )
            for classifier in artifact.classifiers
        ),
        kept=np.arange(manifest.n_ids),
        n_ids=manifest.n_ids,
        n_classes=len(manifest.classes),
    )


def low_rank(models: Models, rank: int) -> Models:
    """Take each model's table of word vectors apart into two factors.

    Args:
        models: With whole tables.
        rank: Width of the short vectors.
    """
    return replace(
        models,
        each=tuple(replace(each, weights=factorise(each.weights, rank)) for each in models.each),
    )


def size_of(n_ids: int, members: Sequence[Member]) -> Size:
    """Say how large models are, for the amounts of steps.

    Args:
        n_ids: Their token ids.
        members: What the manifest says of them; they may differ.
    """
    return Size(
        n_ids=n_ids,
        embedding=min(member.params.embedding for member in members),
        units=max(member.params.units for member in members),
    )
