"""The whole way from an artifact to a smaller one: make variants, measure, choose, write."""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tuner.data.prepare import prepare
from tuner.data.prepared import Prepared
from tuner.deliver.artifact import Artifact, open_artifact
from tuner.deliver.card import CARD, write_card
from tuner.deliver.compress.measuring import Measured, measure, smallest_within
from tuner.deliver.compress.models import size_of
from tuner.deliver.compress.twin import write_twin
from tuner.deliver.compress.workshop import Workshop
from tuner.deliver.final import Stage, together
from tuner.deliver.folder import Writer, check_target, read_artifact, write_artifact
from tuner.deliver.manifest import MANIFEST, Compression, Loss, Manifest
from tuner.errors import DataError, InputError
from tuner.judging import Estimate
from tuner.judging.judgement import ACCURACY
from tuner.packing import Variant, candidates, read_variant
from tuner.storage import StoredStudy


@dataclass(frozen=True, kw_only=True)
class Order:
    """What somebody wants made smaller, and how."""

    #: Folder of the artifact.
    folder: Path
    #: The study that it comes from.
    study: StoredStudy
    #: Parts into which its trials' batches were cut to save memory, as they are here.
    micro_batches: int
    #: Steps whose combinations are tried; not looked at where a variant is named.
    steps: tuple[str, ...]
    #: The one variant that is wanted; None to try several.
    variant: str | None
    #: Points of accuracy, in percent, that the chosen one may lose; None to choose none.
    max_loss: float | None
    #: Whether to measure with a twin that has not seen the validation examples.
    unseen: bool
    #: Folder of the smaller artifact; None to write none.
    target: Path | None
    #: Whether an artifact that is there may go.
    replace: bool
    #: Folder in which relative data paths are looked up first.
    data_root: Path | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of it."""

    #: The original, then each variant.
    rows: tuple[Measured, ...]
    #: Validation examples that they were judged by.
    n_examples: int
    #: The variant that was chosen; None where none was, or all lose too much.
    chosen: Measured | None
    #: What the smaller artifact says of itself; None where none was written.
    written: Manifest | None


def compress(
    order: Order,
    *,
    say: Callable[[str], None],
    tell: Callable[[Stage], None],
    show: Callable[[tuple[Measured, ...]], None] = lambda _: None,
) -> Outcome:
    """Make variants of an artifact, measure them, and write the chosen one.

    Args:
        order: What to do.
        say: Told, for people, what comes next.
        tell: Told how far the training of a twin is.
        show: Given what was measured, before anything is written.

    Raises:
        DataError: The data is not what the models have learned from.
        InputError: The artifact cannot be read, was made smaller before, or cannot be written; or
            no variant can be made.
        TrialFailedError: The training of a twin diverged.
    """
    original = open_artifact(order.folder)
    if order.target is not None:
        check_target(order.target, replace=order.replace)
    if original.manifest.compression is not None:
        raise InputError(
            f"{order.folder} was made smaller already ("
            f"{', '.join(original.manifest.compression.steps)}). Give the artifact that it was "
            f"made from, with all the steps that you want."
        )
    size = size_of(original.manifest.n_ids, original.manifest.members)
    if order.variant is None:
        variants = candidates(order.steps, size)
    else:
        variants = (read_variant(order.variant, size),)
    data = _read(order, original)
    with tempfile.TemporaryDirectory(prefix="tuner-compress-") as name:
        return _compress(order, original, variants, data, Path(name), say, tell, show)


def _compress(
    order: Order,
    original: Artifact,
    variants: tuple[Variant, ...],
    data: Prepared,
    scratch: Path,
    say: Callable[[str], None],
    tell: Callable[[Stage], None],
    show: Callable[[tuple[Measured, ...]], None],
) -> Outcome:
    seed, n_parts = order.study.config.seed, order.micro_batches
    workshop = Workshop(original, together(data), seed=seed, say=say, micro_batches=n_parts)
    folder, measured, makes = order.folder, original, workshop
    if order.unseen:
        folder = scratch / "twin"
        write_twin(original.manifest, order.study, data, folder, micro_batches=n_parts, tell=tell)
        measured = open_artifact(folder)
        makes = Workshop(measured, data.train, seed=seed, say=say, micro_batches=n_parts)
    rows = measure(
        makes,
        measured,
        folder,
        variants,
        judge=data.validation,
        units=data.units,
        seed=seed,
        scratch=scratch,
        say=say,
    )
    show(rows)
    chosen = rows[1] if order.variant is not None else None
    if order.max_loss is not None:
        chosen = smallest_within(rows, order.max_loss)
    written = None
    if chosen is not None and order.target is not None:
        made = chosen.folder
        if order.unseen:  # the twin has served: the same is done to the original
            made = scratch / "chosen"
            workshop.write(chosen.variant, made)
        compression = Compression(
            steps=tuple(map(str, chosen.variant.steps)),
            why=_why(order, n_variants=len(variants)),
            original=hashlib.sha256((order.folder / MANIFEST).read_bytes()).hexdigest(),
            original_bytes=original.manifest.n_bytes,
            n_bytes=read_artifact(made)[0].n_bytes,
            loss=Loss(
                n_examples=len(data.validation),
                is_unseen=order.unseen,
                is_chosen=order.max_loss is not None,
                accuracy=chosen.accuracy,
                comparison=chosen.comparison,
            ),
            test_accuracy=_test_accuracy(original.manifest),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        written = _write(order.target, made, compression, replace=order.replace)
    return Outcome(rows=rows, n_examples=len(data.validation), chosen=chosen, written=written)


def _read(order: Order, original: Artifact) -> Prepared:
    config = order.study.config
    data = prepare(config.data, seed=config.seed, folder=config.folder, data_root=order.data_root)
    expected = original.manifest.origin.fingerprint
    if data.fingerprint != expected:
        raise DataError(
            f"The data of study {config.name!r} is not what {order.folder} has learned from: "
            f"fingerprint {data.fingerprint} here, {expected} in the artifact. Restore the file, "
            f"or name the study with --study."
        )
    return data


def _why(order: Order, *, n_variants: int) -> str:
    if order.max_loss is None:
        return "asked for by name"
    return (
        f"of {n_variants} variants the smallest that lost at most {order.max_loss:g} points of "
        f"accuracy on the examples below"
    )


def _test_accuracy(original: Manifest) -> Estimate | None:
    return None if original.test is None else original.test.judgement.metrics[ACCURACY]


def _write(target: Path, made: Path, compression: Compression, *, replace: bool) -> Manifest:
    """Write what was made where it is wanted, with what is known of it by now."""
    manifest, contents = read_artifact(made)
    whole = manifest.model_copy(update={"compression": compression})
    files: dict[str, Writer] = {CARD: write_card(whole)}
    for member in whole.members:
        files[member.file] = _copy_of(contents[member.file])
    return write_artifact(target, whole, files, replace=replace)


def _copy_of(content: bytes) -> Writer:
    return lambda path: path.write_bytes(content)
