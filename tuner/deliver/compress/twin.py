"""An artifact's models trained once more, without the validation examples."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from tuner.data.prepared import Prepared
from tuner.deliver.card import CARD, write_card
from tuner.deliver.classifier import build_classifier
from tuner.deliver.final import Plan, PlannedModel, Stage, train_models
from tuner.deliver.folder import Writer, write_artifact
from tuner.deliver.manifest import Manifest
from tuner.storage import StoredStudy


def write_twin(
    original: Manifest,
    study: StoredStudy,
    data: Prepared,
    target: Path,
    *,
    micro_batches: int,
    tell: Callable[[Stage], None],
) -> None:
    """Train models as those of an artifact were, on training examples alone, and write them.

    What a twin loses when it is made smaller can be measured on the validation examples: it has
    never seen them, as the original never saw the texts that it will read.

    Args:
        original: Of the artifact.
        study: Where its hyperparameters come from.
        data: The study's.
        target: Folder of the twin.
        micro_batches: Parts into which each batch is cut to save memory.
        tell: Told how far a training is.

    Raises:
        TrialFailedError: A training diverged.
    """
    nobody = np.zeros(0, np.int64)
    without = replace(data, validation=data.validation.subset(nobody))
    plan = Plan(
        study=study,
        trials=(original.origin.trial, *original.origin.other_trials),
        models=tuple(
            PlannedModel(
                params=member.params,
                micro_batches=micro_batches,
                seed=member.seed,
                epochs=member.epochs,
            )
            for member in original.members
        ),
        metrics={},
        epochs_from=original.origin.epochs_from,
        fingerprint=original.origin.fingerprint,
    )
    files: dict[str, Writer] = {CARD: write_card(original)}
    for member, result in zip(
        original.members, train_models(plan, without, tell=tell), strict=True
    ):
        files[member.file] = build_classifier(result.model, member.params, data.words).save
    write_artifact(target, original, files)
