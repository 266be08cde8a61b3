"""Train one trial once more, in a process of its own.

The process reads a study and params as JSON from stdin and writes value and reports to stdout.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from tuner.config import StudyConfig
from tuner.worker.process import trainer_environment

#: Seconds that one training takes at most.
TIMEOUT = 300.0


def train_again(
    config: StudyConfig, params: Mapping[str, Any]
) -> tuple[float, list[tuple[int, float]]]:
    """Train in a fresh process, in the environment of a trainer.

    Returns:
        The value, and step and value of each report.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.acceptance.chaos.again"],
        input=json.dumps({"config": config.to_json(), "params": dict(params)}),
        env=trainer_environment(os.environ, threads=1),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=TIMEOUT,
    )
    answer = json.loads(done.stdout.splitlines()[-1])  # TensorFlow may talk before
    return answer["value"], [(step, value) for step, value in answer["reports"]]


def main() -> None:
    """Be that process."""
    from tuner.device import configure  # TensorFlow loads here, in this process alone

    configure(threads=1)

    from optuna.trial import FixedTrial

    from tuner.objective import Objective

    reports: list[tuple[int, float]] = []

    class RecordingTrial(FixedTrial):
        """A fixed trial that keeps its reports."""

        def report(self, value: float, step: int) -> None:
            """Keep a report."""
            reports.append((step, value))

    order = json.load(sys.stdin)
    value = Objective(StudyConfig.from_json(order["config"]))(RecordingTrial(order["params"]))
    print(json.dumps({"value": value, "reports": reports}))


if __name__ == "__main__":
    main()
