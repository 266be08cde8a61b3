"""What the harness tells a contestant, and what a contestant tells the harness.

A contestant is a process, started as ``python -m MODULE [WORD ...] JOB``, where JOB is a file with
a `Job` as JSON. While it searches, it adds a line of JSON to the job's journal for each evaluation
of a network by all validation reviews at the end of an epoch, and one for each trial that has
ended. Each line is written at once and whole, so that several processes may write, and a contestant
that is killed loses nothing.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

#: In the first table everyone trains as its users write it; in the second one with `tuner`'s code.
Table = Literal[1, 2]
#: How a trial ended.
State = Literal["complete", "pruned", "failed"]
STATES: tuple[State, ...] = ("complete", "pruned", "failed")
Params = Mapping[str, Any]

#: Share of the reviews that judge.
VALIDATION = 0.2
#: Words that are told apart, padding and unknown words included: as in Keras's own example of IMDB,
#: https://keras.io/examples/nlp/bidirectional_lstm_imdb/, and in `studies/imdb.toml`.
VOCABULARY = 20_000
#: Those that the article tells apart.
ARTICLE_VOCABULARY = 10_000
#: Epochs of a trial, at most, of everyone but the article: as in `studies/imdb.toml`. On so few
#: reviews the nets have learned by heart what there is after three or four.
EPOCHS = 5


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a contestant is to do."""

    #: Whose code trains.
    table: Table
    #: Where evaluations are written.
    journal: str
    #: When the process was started, by `time.monotonic`, which is one clock for all processes.
    began: float
    #: Folder with ``reviews.jsonl``, the same reviews divided into ``training.jsonl`` and
    #: ``validation.jsonl``, and, once the choice is made, ``test.jsonl``.
    data: str
    #: Folder for whatever the contestant wants to write.
    scratch: str
    #: Words of a review that are read: the last ones.
    words: int
    #: Of the split, and of whatever a contestant draws.
    seed: int
    #: Of the machine.
    cores: int

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        """Write a file for a contestant."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def read_job() -> Job:
    """Read the job that the command line of this process names last."""
    return Job.read(Path(sys.argv[-1]))


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A network, judged by all validation reviews at the end of an epoch."""

    #: Since the contestant was started.
    seconds: float
    #: Which trial; any text.
    trial: str
    #: From 1.
    epoch: int
    #: Validation accuracy.
    value: float
    #: Hyperparameters that were tuned, as the contestant's training code takes them.
    params: Params


@dataclass(frozen=True, kw_only=True)
class Ending:
    """A trial that has ended."""

    #: Since the contestant was started.
    seconds: float
    #: Which trial.
    trial: str
    #: How.
    state: State


class Journal:
    """Writes for the harness, from as many processes as there are.

    Args:
        job: Says where, and since when time is counted.
    """

    def __init__(self, job: Job) -> None:
        self._path = job.journal
        self._began = job.began

    def evaluated(self, trial: object, *, epoch: int, value: float, params: Params) -> None:
        """Tell of an evaluation that has just been made.

        Args:
            trial: Which trial.
            epoch: Epochs trained so far.
            value: Validation accuracy.
            params: Hyperparameters.
        """
        self._write(
            Evaluation(
                seconds=self._now(),
                trial=str(trial),
                epoch=epoch,
                value=round(float(value), 6),  # Keras's is a float32
                params=params,
            )
        )

    def ended(self, trial: object, state: State) -> None:
        """Tell of a trial that has just ended."""
        self._write(Ending(seconds=self._now(), trial=str(trial), state=state))

    def _now(self) -> float:
        return round(time.monotonic() - self._began, 3)

    def _write(self, entry: Evaluation | Ending) -> None:
        line = json.dumps(asdict(entry)) + "\n"
        # One write at the end of the file: lines of several processes do not mix.
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)


@dataclass(frozen=True, kw_only=True)
class Course:
    """What a contestant told, by time."""

    #: Evaluations.
    evaluations: tuple[Evaluation, ...]
    #: Ends of trials.
    endings: tuple[Ending, ...]

    @property
    def pick(self) -> Evaluation | None:
        """The best evaluation, of equals the first; None where there is none."""
        return max(self.evaluations, key=lambda each: each.value, default=None)

    def count(self, state: State) -> int:
        """Count the trials that ended in one way."""
        return sum(ending.state == state for ending in self.endings)


def read_journal(path: Path) -> Course:
    """Read a journal; a line that a killed process did not finish is left out."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    whole, _, _ = text.rpartition("\n")
    rows = [json.loads(line) for line in whole.splitlines()]
    return Course(
        evaluations=tuple(
            sorted((Evaluation(**row) for row in rows if "value" in row), key=lambda e: e.seconds)
        ),
        endings=tuple(
            sorted((Ending(**row) for row in rows if "state" in row), key=lambda e: e.seconds)
        ),
    )
