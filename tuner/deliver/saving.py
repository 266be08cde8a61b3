"""Trained models become an artifact on disk."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tuner.data.prepared import Prepared
from tuner.deliver.card import CARD, write_card
from tuner.deliver.classifier import build_classifier
from tuner.deliver.final import Plan, together
from tuner.deliver.folder import Writer, write_artifact
from tuner.deliver.manifest import FinalResult, Manifest, Member, Origin, data_name
from tuner.host import versions
from tuner.training import FitResult


def describe_models(plan: Plan, data: Prepared, results: Sequence[FitResult]) -> Manifest:
    """Say what was trained.

    Args:
        plan: What was planned.
        data: What was learned from.
        results: What came of it, in the order of the plan's models.
    """
    config = plan.study.config
    names = [f"model-{i}.keras" for i in range(1, len(results) + 1)]
    return Manifest(
        takes="ids" if data.words is None else "texts",
        classes=data.classes,
        n_ids=data.shape(config.data.vocabulary).n_ids,
        members=tuple(
            Member(
                file=name if len(names) > 1 else "model.keras",
                params=model.params,
                seed=model.seed,
                epochs=model.epochs,
                n_parameters=result.n_parameters,
            )
            for name, model, result in zip(names, plan.models, results, strict=True)
        ),
        origin=Origin(
            study=config.name,
            trial=plan.trials[0],
            other_trials=plan.trials[1:],
            metric=config.metric,
            metrics=plan.metrics,
            confirmed=plan.confirmed,
            horizon=config.budget.epochs,
            epochs_from=plan.epochs_from,
            data=data_name(config.data),
            fingerprint=data.fingerprint,
            n_examples=len(together(data)),
            versions=versions(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
        test=None,
    )


def save_models(
    target: Path,
    manifest: Manifest,
    data: Prepared,
    results: Sequence[FitResult],
    *,
    test: FinalResult | None = None,
    replace: bool,
) -> Manifest:
    """Write an artifact of models that were trained.

    Args:
        target: Its folder.
        manifest: As `describe_models` gave it.
        data: What was learned from.
        results: The models.
        test: What the test set says of them; None where it was not read.
        replace: Whether an artifact that is there may go.

    Returns:
        The manifest as it was written.

    Raises:
        InputError: It cannot be written there.
    """
    whole = manifest.model_copy(update={"test": test})
    files: dict[str, Writer] = {
        member.file: build_classifier(result.model, result.params, data.words).save
        for member, result in zip(manifest.members, results, strict=True)
    }
    return write_artifact(target, whole, files | {CARD: write_card(whole)}, replace=replace)
