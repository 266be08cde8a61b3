"""An export is asked in a process of its own, by the program that goes with it."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tuner.deliver.artifact import Artifact
from tuner.deliver.export.questions import Questions
from tuner.errors import InputError
from tuner.metrics import Probabilities

#: Name of the program in an export.
PROGRAM = "predict.py"


def ask_keras(artifact: Artifact, questions: Questions) -> Probabilities:
    """Ask the models as `tuner predict` does.

    Args:
        artifact: The models.
        questions: Texts or ids.

    Returns:
        float32, ``(n, n_classes)``.
    """
    texts = [each for each in questions if isinstance(each, str)]
    if texts:
        return artifact.predict(texts)
    return artifact.predict_ids([each for each in questions if not isinstance(each, str)])


def ask_export(folder: Path, questions: Questions) -> Probabilities:
    """Ask an export, by its own program and the format's own runtime.

    Args:
        folder: The export's.
        questions: Texts or ids.

    Returns:
        float32, ``(n, n_classes)``.

    Raises:
        InputError: The program fails.
    """
    done = subprocess.run(  # noqa: S603 - our own interpreter and program
        [sys.executable, str(folder / PROGRAM)],
        input="".join(json.dumps(each) + "\n" for each in questions),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if done.returncode:
        last = next(iter(done.stderr.strip().splitlines()[::-1]), f"exit code {done.returncode}")
        raise InputError(
            f"The exported model does not run here, so nothing was written: {last}. Try another "
            f"format with --to."
        )
    rows: Sequence[Sequence[float]] = [json.loads(line) for line in done.stdout.splitlines()]
    return np.array(rows, np.float32)


def largest_difference(one: Probabilities, other: Probabilities) -> float:
    """Say how far two sets of probabilities are apart.

    Args:
        one: ``(n, n_classes)``.
        other: The same.

    Returns:
        The largest difference; infinite where they differ in shape or one is not finite.
    """
    if one.shape != other.shape or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return float("inf")
    return float(np.abs(one.astype(np.float64) - other).max())
