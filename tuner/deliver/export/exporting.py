"""The whole way from an artifact to an export: convert, compare with Keras, and only then write."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from tuner.deliver.artifact import Artifact, open_artifact
from tuner.deliver.card import CARD
from tuner.deliver.export import programs
from tuner.deliver.export.card import write_card
from tuner.deliver.export.format import Format
from tuner.deliver.export.formats import FORMATS
from tuner.deliver.export.manifest import (
    VOCABULARY,
    ExportManifest,
    FormatName,
    Parity,
    Source,
    TextRules,
    read_export_manifest,
)
from tuner.deliver.export.parity import PROGRAM, ask_export, ask_keras, largest_difference
from tuner.deliver.export.questions import make_questions, read_questions
from tuner.deliver.export.whole import in_float32
from tuner.deliver.folder import check_target, list_files, write_folder
from tuner.deliver.manifest import MANIFEST
from tuner.errors import InputError
from tuner.host import versions

#: The largest difference of a probability from Keras's that an export may have.
TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Order:
    """What somebody wants exported."""

    #: Folder of the artifact.
    artifact: Path
    #: The format.
    to: FormatName
    #: Folder of the export.
    target: Path
    #: Whether an export that is there may go.
    replace: bool
    #: File with texts to compare on, beside those that are made up; None for none.
    texts: Path | None = None
    #: The file's column that holds them.
    column: str = "text"


def export(
    order: Order, *, tolerance: float = TOLERANCE, say: Callable[[str], None] = lambda _: None
) -> ExportManifest:
    """Export an artifact.

    Call it in a process that sees no GPU: there, Keras's recurrence becomes an operation of cuDNN,
    which runs on no processor.

    Args:
        order: What to do.
        tolerance: The largest difference of a probability from Keras's.
        say: Told, for people, what comes next.

    Returns:
        What the export says of itself.

    Raises:
        InputError: A package is missing, the artifact cannot be used, the format cannot hold it,
            the export differs from Keras, or it cannot be written. Nothing is written then.
    """
    form = FORMATS[order.to]
    form.require()
    check_target(order.target, replace=order.replace, what="export", read=read_export_manifest)
    artifact = open_artifact(order.artifact)
    exact = in_float32(artifact)
    form.check(exact)
    questions = make_questions(exact)
    asked = f"{len(questions)} made up"
    if order.texts is not None:
        texts = read_questions(exact, order.texts, order.column)
        questions = [*(each for each in questions if isinstance(each, str)), *texts]
        asked += f", {len(texts)} of {order.texts.name}"

    def fill(folder: Path) -> ExportManifest:
        say(f"Converting {order.artifact} to {form.title}.")
        manifest = _write_model(order, exact, form, folder)
        runtime = form.runtime()
        say(f"Comparing it with Keras on {len(questions)} texts, in {runtime}.")
        truth = ask_keras(exact, questions)
        difference = largest_difference(ask_export(folder, questions), truth)
        if difference > tolerance:
            raise InputError(
                f"In {runtime} the exported model differs from Keras by up to {difference:.2g} in "
                f"a probability. Expected {tolerance:g} at most, so nothing was written. Try "
                f"another format with --to."
            )
        is_half = any(each.params.precision != "float32" for each in artifact.manifest.members)
        parity = Parity(
            difference=difference,
            tolerance=tolerance,
            n_texts=len(questions),
            texts=asked,
            runtime=runtime,
            of_float16=largest_difference(ask_keras(artifact, questions), truth)
            if is_half
            else None,
        )
        measured = manifest.model_copy(update={"parity": parity})
        write_card(folder / CARD, measured, form)
        files = {name: entry for name, entry in list_files(folder).items() if name != MANIFEST}
        whole = measured.model_copy(update={"files": files})
        _write_manifest(folder, whole)
        return whole

    return write_folder(order.target, fill)


def _write_model(order: Order, artifact: Artifact, form: Format, folder: Path) -> ExportManifest:
    """Write what it takes to run the model, and a manifest that tells no comparison yet."""
    interface = form.write(artifact, folder)
    starts_at_ids = interface.takes == "ids"
    if starts_at_ids and artifact.words is not None:
        lines = "".join(f"{word}\n" for word in artifact.words)
        (folder / VOCABULARY).write_bytes(lines.encode())
    program = resources.files(programs) / f"{form.name}.py"
    (folder / PROGRAM).write_bytes(program.read_bytes())
    origin = artifact.manifest.origin
    manifest = ExportManifest(
        to=form.name,
        source=Source(
            study=origin.study,
            trial=origin.trial,
            n_models=len(artifact.classifiers),
            manifest_sha256=hashlib.sha256((order.artifact / MANIFEST).read_bytes()).hexdigest(),
        ),
        classes=artifact.classes,
        n_ids=artifact.manifest.n_ids,
        interface=interface,
        vocabulary=VOCABULARY if starts_at_ids and artifact.words is not None else None,
        text_rules=None if artifact.words is None else TextRules(),
        parity=None,
        versions=versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    _write_manifest(folder, manifest)
    return manifest


def _write_manifest(folder: Path, manifest: ExportManifest) -> None:
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
