"""What variants weigh and cost, side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuner.data.encoded import Encoded
from tuner.deliver.artifact import Artifact, open_artifact
from tuner.deliver.compress.latency import Latency, measure_latencies
from tuner.deliver.compress.workshop import Workshop
from tuner.errors import InputError, TrialFailedError
from tuner.judging import Comparison, Estimate, compare, estimate_accuracy
from tuner.judging.intervals import Rows
from tuner.metrics import accuracy
from tuner.packing import Variant
from tuner.results.front import pareto_front

#: What the variants are compared with.
ORIGINAL = "the original"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A variant, as it lies on disk."""

    #: Which; without steps the original.
    variant: Variant
    #: Where it is.
    folder: Path
    #: Bytes of its models.
    n_bytes: int
    #: Accuracy on the validation examples.
    accuracy: Estimate
    #: With the original, on the same examples.
    comparison: Comparison
    #: How long a text takes.
    latency: Latency
    #: Whether no other one is as small and as right, and better in one of these.
    on_front: bool

    @property
    def points_lost(self) -> float:
        """Points of accuracy that the original has more, in percent."""
        return -100 * self.comparison.difference.value


def measure(
    workshop: Workshop,
    original: Artifact,
    folder: Path,
    variants: Sequence[Variant],
    *,
    judge: Encoded,
    units: Rows,
    seed: int,
    scratch: Path,
    say: Callable[[str], None],
) -> tuple[Measured, ...]:
    """Make variants, and measure them as whoever opens them will find them.

    Args:
        workshop: Makes them.
        original: What they are made from.
        folder: Its.
        variants: Which.
        judge: Validation examples, with the original's ids.
        units: Which of them belong together, by number; int64, (n,).
        seed: Of draws: of intervals, and of the texts whose latency is measured.
        scratch: A folder for them; they stay there.
        say: Told, for people, what was found.

    Returns:
        The original first, then the variants as they were given, but for those that cannot be made
        of it.

    Raises:
        InputError: None of them can.
        TrialFailedError: Likewise; its training diverged.
    """
    ours = original.predict_encoded(judge)
    found = [(Variant(steps=()), folder, original.manifest.n_bytes, ours)]
    for number, variant in enumerate(variants):
        target = scratch / f"variant-{number}"
        try:
            n_bytes = workshop.write(variant, target).n_bytes
        except (InputError, TrialFailedError) as error:
            if number == len(variants) - 1 and len(found) == 1:
                raise
            say(f"{variant} is left out: {error}")
            continue
        texts = workshop.numbered(variant, judge)
        predicted = open_artifact(target).predict_encoded(texts)
        found.append((variant, target, n_bytes, predicted))
        gain = 100 * (accuracy(judge.labels, predicted) - accuracy(judge.labels, ours))
        say(f"{variant}: {n_bytes:,} bytes, {gain:+.2f} points of accuracy.")
    groups = units if len(np.unique(units)) < len(units) else None  # each for itself
    accuracies = [
        estimate_accuracy(judge.labels, probabilities, seed=seed, groups=groups)
        for *_, probabilities in found
    ]
    say("Measuring how long a text takes.")
    latencies = measure_latencies([each[1] for each in found], judge, seed=seed, scratch=scratch)
    sizes = [each[2] for each in found]
    front = pareto_front(
        [(n, a.value) for n, a in zip(sizes, accuracies, strict=True)], ["minimize", "maximize"]
    )
    return tuple(
        Measured(
            variant=variant,
            folder=place,
            n_bytes=n_bytes,
            accuracy=accuracies[i],
            comparison=compare(
                judge.labels, predicted, ours, name=ORIGINAL, seed=seed, groups=groups
            ),
            latency=latencies[i],
            on_front=i in front,
        )
        for i, (variant, place, n_bytes, predicted) in enumerate(found)
    )


def smallest_within(rows: Sequence[Measured], max_loss: float) -> Measured | None:
    """Choose the smallest variant that is right often enough.

    Args:
        rows: As `measure` gave them.
        max_loss: Points of accuracy, in percent, that it may lose.

    Returns:
        It; None where each of them loses more.
    """
    good = [row for row in rows if row.variant.steps and row.points_lost <= max_loss + 1e-9]
    return min(good, key=lambda row: row.n_bytes, default=None)
