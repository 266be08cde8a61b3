"""Where does the time of one trial go, in a new trainer and in a used one?

Real trainers are started as a worker starts them, and told to train the default point of a study:
the first finds no prepared data (its cache is a new, empty folder) and trains two trials, the
second finds prepared data and trains a third one and, where the study varies the units, a fourth
of another width. Clocks around the functions of `tuner` (`tests.benchmarks.spans`) tell what each
part took, exclusive of the others; "the rest" is what none of them sees: Keras's own loop,
callbacks, messages. Printed are seconds, the time from the order to the end of the first step (a
new trainer's start and data included, the claim in the database, some milliseconds, not), what
evaluations inside the first epoch cost beside the steps of that epoch, and the most memory that
the trainer held.

Run it from the repository's root on a machine that does nothing else; the defaults take some three
minutes on two cores::

    python -m tests.benchmarks.trial_profile reviews.jsonl.gz [--set budget.epochs=3]
    python -m tests.benchmarks.trial_profile --synthetic [--reviews 5000] [--threads 1]
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FixedTrial

from tests.benchmarks.reviews import make_up_reviews, read_reviews, write_reviews
from tests.benchmarks.spans import (
    BUILD,
    CHECKPOINT,
    EVALUATE,
    IMPORT,
    PREPARE,
    REPORT,
    RESTART,
    STEP,
    WAIT,
    Span,
)
from tuner.config import StudyConfig
from tuner.data.batches import n_batches
from tuner.domain import Scalar
from tuner.metrics import STEPS_PER_EPOCH
from tuner.study_file import load_study_file
from tuner.worker.messages import Failed, Finished, Message, Prepare, Ready, Train, Unusable
from tuner.worker.process import TrainerProcess

#: Parts that are the sum of their spans.
SUMMED = (IMPORT, PREPARE, BUILD, RESTART, WAIT, REPORT, CHECKPOINT)
#: Seconds until a trainer must have said something.
PATIENCE = 1_800.0


@dataclass(frozen=True, kw_only=True)
class Course:
    """A trial, as it went."""

    #: For people.
    name: str
    #: When the trainer was started, or the trial ordered where the trainer was used before.
    began: float
    #: When it was over.
    ended: float
    #: What was seen inside.
    spans: tuple[Span, ...]
    #: MiB that the trainer held at most; None where that cannot be known.
    peak_mib: int | None

    def of(self, name: str) -> list[Span]:
        """Give the spans of one kind, in order."""
        return [span for span in self.spans if span.name == name]

    def parts(self) -> Iterator[tuple[str, float]]:
        """Divide the whole time: names and seconds."""
        own = {name: sum(span.own for span in self.of(name)) for name in SUMMED}
        steps, evaluations = self.of(STEP), self.of(EVALUATE)
        inside = evaluations[1 : STEPS_PER_EPOCH - 1]
        at_ends = evaluations[STEPS_PER_EPOCH - 1 :]
        first = min([span.began for span in self.spans], default=self.ended)
        parts = {
            "start the process, hear the order": first - self.began,
            IMPORT: own[IMPORT],
            PREPARE: own[PREPARE],
            BUILD: own[BUILD],
            RESTART: own[RESTART],
            "first step, with its tracing": steps[0].own,
            "other steps": sum(span.own for span in steps[1:]),
            WAIT: own[WAIT],
            "first evaluation, traced likewise": evaluations[0].own,
            "others inside the first epoch": sum(span.own for span in inside),
            "evaluate at the ends of epochs": sum(span.own for span in at_ends),
            REPORT: own[REPORT],
            CHECKPOINT: own[CHECKPOINT],
        }
        yield from parts.items()
        yield "the rest", self.ended - self.began - sum(parts.values())

    @property
    def to_first_step(self) -> float:
        """Seconds from the order to the end of the first step."""
        return self.of(STEP)[0].ended - self.began

    def share_inside(self, n_steps: int) -> float:
        """Compare evaluations inside the first epoch with the steps of that epoch, less tracing.

        Args:
            n_steps: Gradient steps of an epoch.
        """
        steps = self.of(STEP)[1:n_steps]
        per_step = sum(span.own for span in steps) / len(steps)
        inside = self.of(EVALUATE)[1 : STEPS_PER_EPOCH - 1]
        per_evaluation = sum(span.own for span in inside) / len(inside)
        return (STEPS_PER_EPOCH - 1) * per_evaluation / (per_step * n_steps)


def hear(trainer: TrainerProcess, wanted: type[Message]) -> Message:
    """Wait for a message of one kind."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        message = trainer.receive(1.0)
        if isinstance(message, Failed | Unusable):
            raise SystemExit(message.message)
        if isinstance(message, wanted):
            return message
    raise SystemExit(f"The trainer said nothing for {PATIENCE:.0f} s.")


def serve(
    config: StudyConfig,
    trials: Sequence[tuple[str, Mapping[str, Scalar]]],
    *,
    threads: int,
    folder: Path,
) -> Iterator[Course]:
    """Start a trainer and let it train; the first trial's time begins with its start."""
    began = time.monotonic()
    prepare = Prepare(config=config.to_json(), data_root=None, threads=threads)
    environment = os.environ | {"TUNER_CACHE": str(folder / "cache")}
    wake, keep_open = os.pipe()
    objective = "tests.benchmarks.spans:timed_objective"
    with TrainerProcess(objective, prepare, environment=environment, wake=wake) as trainer:
        hear(trainer, Ready)
        for number, (name, params) in enumerate(trials):
            began = began if number == 0 else time.monotonic()
            token = 1 + number
            checkpoints = str(folder / f"slot-{trainer.pid}-{number}" / str(token))
            trainer.send(
                Train(token=token, params=params, checkpoints=checkpoints, checkpoint_seconds=5.0)
            )
            finished = hear(trainer, Finished)
            assert isinstance(finished, Finished)
            course = Course(
                name=name,
                began=began,
                ended=time.monotonic(),
                spans=tuple(Span(**span) for span in finished.attributes["spans"]),
                peak_mib=finished.attributes["peak_memory_mb"],
            )
            print(f"{name}: {course.ended - began:.1f} s", file=sys.stderr, flush=True)
            yield course
    os.close(wake)
    os.close(keep_open)


def tell(courses: Sequence[Course], *, n_steps: int) -> None:
    """Print a column a trial."""
    width, columns = 33, [max(12, len(course.name)) for course in courses]

    def line(what: str, cells: Sequence[str]) -> None:
        aligned = (f"{cell:>{column}}" for cell, column in zip(cells, columns, strict=True))
        print(f"{what:{width}}  {'  '.join(aligned)}")

    line("seconds", [course.name for course in courses])
    parts = [dict(course.parts()) for course in courses]
    for name in parts[0]:
        line(name, [f"{part[name]:.3f}" for part in parts])
    line("all", [f"{course.ended - course.began:.3f}" for course in courses])
    print()
    line("order to end of the first step, s", [f"{c.to_first_step:.2f}" for c in courses])
    line("evaluate inside / steps, epoch 1", [f"{c.share_inside(n_steps):.1%}" for c in courses])
    line("checkpoints written", [str(len(course.of(CHECKPOINT))) for course in courses])
    line("most memory, MiB", [str(course.peak_mib or "unknown") for course in courses])


def main() -> None:
    """Measure and print."""
    words, _, _ = (__doc__ or "").partition("Run it from")
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.trial_profile",
        description=words,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", nargs="?", type=Path, help="a .jsonl[.gz] with text and label")
    parser.add_argument("--synthetic", action="store_true", help="make reviews up instead")
    parser.add_argument("--reviews", type=int, default=5_000, help="a fifth of them judge")
    parser.add_argument("--study", type=Path, default=Path("studies/imdb.toml"))
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    given = parser.parse_args()
    if (given.path is None) != given.synthetic:
        parser.error("give either a file with reviews, or --synthetic")
    reviews = (
        make_up_reviews(given.reviews)
        if given.synthetic
        else read_reviews(given.path, given.reviews)
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_reviews(folder / "reviews.jsonl", reviews)
        source = f"data.source={folder / 'reviews.jsonl'}"
        settings = ["budget.epochs=1", *given.settings, source]
        config = load_study_file(given.study, settings)[0]
        point = dict(config.space.default_point())
        second = [("new", point)]
        if "units" in point:
            second.append(("used, other", point | {"units": int(point["units"]) // 2 + 8}))
        courses = [
            course
            for trials in (
                [("new, no data", point), ("used", point)],
                second,
            )
            for course in serve(config, trials, threads=given.threads, folder=folder)
        ]
    params = config.space.suggest(FixedTrial(point))
    n_training = len(reviews.texts) - round(len(reviews.texts) * config.data.validation)
    print(f"{given.study}: {len(reviews.texts)} reviews, {config.budget.epochs} epoch(s)")
    tell(courses, n_steps=n_batches(n_training, params.batch_size))


if __name__ == "__main__":
    main()
