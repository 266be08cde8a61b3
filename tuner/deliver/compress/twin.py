"""An artifact's models trained once more, without the validation examples."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from tuner.data.prepared import Prepared
from tuner.deliver.card import CARD, write_card
from tuner.deliver.classifier import build_classifier
from tuner.deliver.final import Plan, Stage, train_models
from tuner.deliver.folder import Writer, write_artifact
from tuner.deliver.manifest import Manifest
from tuner.storage import StoredStudy


def write_twin(
    original: Manifest,
    study: StoredStudy,
    data: Prepared,
    target: Path,
    *,
    tell: Callable[[int, Stage], None],
) -> None:
    """Train models as those of an artifact were, on training examples alone, and write them.

    What a twin loses when it is made smaller can be measured on the validation examples: it has
    never seen them, as the original never saw the texts that it will read.

    Args:
        original: Of the artifact.
        study: Where its hyperparameters come from.
        data: The study's.
        target: Folder of the twin.
        tell: Told the number of the model, from 1, and how far its training is.

    Raises:
        TrialFailedError: A training diverged.
    """
    nobody = np.zeros(0, np.int64)
    without = replace(data, validation=data.validation.subset(nobody))
    files: dict[str, Writer] = {CARD: write_card(original)}
    for number, member in enumerate(original.members, start=1):
        plan = Plan(
            study=study,
            trial=original.origin.trial,
            params=member.params,
            metrics={},
            micro_batches=1,
            seeds=(member.seed,),
            epochs=member.epochs,
            epochs_from=original.origin.epochs_from,
            fingerprint=original.origin.fingerprint,
        )
        (result,) = train_models(plan, without, tell=partial(tell, number))
        files[member.file] = build_classifier(result.model, member.params, data.words).save
    write_artifact(target, original, files)
