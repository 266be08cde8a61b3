"""Trains what a contestant chose once more, and judges it by the test reviews.

The harness starts it as ``python -m tests.benchmarks.peers.judge CHOICE JOB`` and finds the
accuracy in the job's scratch folder.
"""

import dataclasses
import json
import sys
from pathlib import Path

from tests.benchmarks.peers.protocol import read_job
from tests.benchmarks.peers.training import training_of


def main() -> None:
    """Train and test."""
    choice = json.loads(Path(sys.argv[-2]).read_text(encoding="utf-8"))
    job = dataclasses.replace(read_job(), table=choice["trains_as"])
    training = training_of(job, vocabulary=choice["vocabulary"])
    accuracy = training.test(choice["params"], epochs=choice["epochs"])
    Path(job.scratch, "accuracy").write_text(repr(accuracy))


if __name__ == "__main__":
    main()
