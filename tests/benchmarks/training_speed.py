"""Reviews a second of the article's code, of `tuner.training.fit`, and what the machine could do.

The article's code is Keras as in the books: Embedding, GRU, GRU, Dense of 128 units, 10,000 words,
every review padded to 500, batches of 64, stock `fit`, TensorFlow's own choice of threads. Ours
trains the same net on the same reviews, its evaluations included (three of a part of the
validation reviews, one of all), once as one worker with all threads, once as several workers with
a thread each, at the same time. Each is a process of its own that has trained a few batches
before; they take turns, an epoch each, so that a machine that is now quick, now slow does no
harm. Printed are the medians of the rounds with the least and the most, the ratio to the article's
turn of the same round, reviews a second of processor time (which other processes disturb less),
the most memory that a process held, and the FLOP/s of the GRU's matrices (`machine_limit`), those
of padding not counted, beside those of a large product that the same process measured in the same
round. `--params` changes our net, not the article's.

With `--epochs` both train the same number of seeds for so many epochs, and the validation accuracy
of the best epoch is printed, with the time that it took, tracing and evaluations included.

Run it from the repository's root on a machine that does nothing else; the defaults take some eight
minutes on two cores::

    python -m tests.benchmarks.training_speed reviews.jsonl.gz
    python -m tests.benchmarks.training_speed --synthetic --rounds 3 --reviews 1000
    python -m tests.benchmarks.training_speed reviews.jsonl.gz --params units=64 chunk_length=50
    python -m tests.benchmarks.training_speed reviews.jsonl.gz --reviews 20000 --validation 5000 \
        --epochs 3 --seeds 3
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.benchmarks.contestant import (
    ARTICLE_LENGTH,
    ARTICLE_PARAMS,
    ARTICLE_WORDS,
    Job,
    Turn,
    Wish,
)
from tests.benchmarks.machine_limit import flop_per_token
from tests.benchmarks.reviews import make_up_reviews, mean_words, read_reviews, write_reviews
from tuner.params import GRUParams
from tuner.worker.process import trainer_environment

ARTICLE = GRUParams(**ARTICLE_PARAMS)
PRODUCT = Wish(epochs=0)


class Process:
    """A contestant at the other end of a pipe.

    Args:
        job: What it is.
    """

    def __init__(self, job: Job) -> None:
        environment = dict(os.environ) | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        if job.threads is not None:
            environment = trainer_environment(environment, threads=job.threads)
        self._words = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in `__exit__`
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.contestant", json.dumps(asdict(job))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env=environment,
            text=True,
        )

    def wait_until_ready(self) -> None:
        """Wait until it has prepared its data and trained a few batches."""
        self._hear()

    def _hear(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            self._words.seek(0)
            raise SystemExit(f"A contestant ended: {self._words.read()[-2_000:]}")
        return line

    def ask(self, wish: Wish) -> None:
        """Let it begin a turn."""
        if self._process.stdin:
            print(json.dumps(asdict(wish)), file=self._process.stdin, flush=True)

    def answer(self) -> Turn:
        """Wait for the end of the turn."""
        return Turn(**json.loads(self._hear()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._words.close()


@dataclass(frozen=True, kw_only=True)
class Team:
    """Processes that have their turn together."""

    #: For people.
    name: str
    #: One or more.
    processes: Sequence[Process]
    #: Multiplications and additions for a mean review.
    flop_per_review: float
    #: Turns so far, as one: the time of the slowest, processor time and memory as a mean.
    turns: list[Turn]
    #: GFLOP/s of large products, of all processes together, one a round.
    limits: list[float]

    def take_turn(self, wish: Wish) -> Turn:
        """Let all train, or multiply, at the same time."""
        for process in self.processes:
            process.ask(wish)
        each = [process.answer() for process in self.processes]
        return Turn(
            seconds=max(turn.seconds for turn in each),
            cpu_seconds=statistics.fmean(turn.cpu_seconds for turn in each),
            accuracy=each[0].accuracy,
            gflops=sum(turn.gflops for turn in each),
            peak_mib=max(turn.peak_mib for turn in each),
        )

    def speeds(self, n: int) -> list[float]:
        """Give reviews a second, one a round, where each process trains on n."""
        return [len(self.processes) * n / turn.seconds for turn in self.turns]


def wait_for(teams: Sequence[Team]) -> None:
    """Wait until no process does anything but wait for its turn."""
    for team in teams:
        for process in team.processes:
            process.wait_until_ready()


def compete(teams: Sequence[Team], *, n: int, rounds: int) -> None:
    """Let all train in turns, and print."""
    for number in range(1, rounds + 1):
        for team in teams:
            team.turns.append(team.take_turn(Wish(epochs=1)))
            team.limits.append(team.take_turn(PRODUCT).gflops)
        said = ", ".join(f"{team.speeds(n)[-1]:.0f}" for team in teams)
        print(f"round {number} of {rounds}: {said} reviews/s", file=sys.stderr, flush=True)
    width = max(len(team.name) for team in teams)
    print(
        f"{'':{width}}  {'reviews/s':>15}  {'x article':>18}  "
        f"{'per core-second':>15}  {'peak, MiB':>9}"
    )
    baseline = teams[0].speeds(n)
    for team in teams:
        ratios = [speed / base for speed, base in zip(team.speeds(n), baseline, strict=True)]
        per_core = statistics.median(n / turn.cpu_seconds for turn in team.turns)
        print(
            f"{team.name:{width}}  {spread(team.speeds(n), 0):>15}  {spread(ratios, 2):>18}  "
            f"{per_core:15.0f}  {max(turn.peak_mib for turn in team.turns):9.0f}"
        )
    print()
    print(f"{'':{width}}  MFLOP a review  GFLOP/s  of a large product's")
    for team in teams:
        reached = [speed * team.flop_per_review / 1e9 for speed in team.speeds(n)]
        shares = [done / most for done, most in zip(reached, team.limits, strict=True)]
        print(
            f"{team.name:{width}}  {team.flop_per_review / 1e6:14.0f}  "
            f"{statistics.median(reached):7.1f}  {statistics.median(team.limits):8.1f}: "
            f"{statistics.median(shares):.0%} reached"
        )


def learn(teams: Sequence[Team], *, epochs: int, seeds: int) -> None:
    """Train each for several epochs and seeds, and print how good it became."""
    width = max(len(team.name) for team in teams)
    print(f"validation accuracy of the best of {epochs} epochs")
    for seed in range(seeds):
        for team in teams:
            team.turns.append(team.take_turn(Wish(epochs=epochs, seed=seed, evaluates=True)))
            turn = team.turns[-1]
            print(
                f"{team.name:{width}}  seed {seed}: {turn.accuracy:.4f} in {turn.seconds:.0f} s",
                flush=True,
            )
    for team in teams:
        found = [turn.accuracy for turn in team.turns]
        error = f" +- {statistics.stdev(found) / seeds**0.5:.4f}" if seeds > 1 else ""
        print(f"{team.name:{width}}  mean {statistics.fmean(found):.4f}{error} (standard error)")


def spread(values: Sequence[float], digits: int) -> str:
    """Give the median, with the least and the most."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def parse_params(words: Sequence[str]) -> dict[str, Any]:
    """Read ``name=value``, with values as in a study file; quotes may be left out."""
    params: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            params[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            params[name] = value
    GRUParams(**params)  # complains about names and values that it does not know
    return params


def main() -> None:
    """Measure and print."""
    words, _, _ = (__doc__ or "").partition("Run it from")
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.training_speed",
        description=words,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", nargs="?", type=Path, help="a .jsonl[.gz] with text and label")
    parser.add_argument("--synthetic", action="store_true", help="make reviews up instead")
    parser.add_argument("--reviews", type=int, default=4_000, help="to learn from")
    parser.add_argument("--validation", type=int, help="to judge by; a quarter as many")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="at the same time")
    parser.add_argument("--params", nargs="+", default=[], metavar="NAME=VALUE", help="of our net")
    parser.add_argument("--vocabulary", type=int, default=ARTICLE_WORDS, help="of our net")
    parser.add_argument("--epochs", type=int, help="compare the accuracy after so many instead")
    parser.add_argument("--seeds", type=int, default=3, help="with --epochs")
    given = parser.parse_args()
    if (given.path is None) != given.synthetic:
        parser.error("give either a file with reviews, or --synthetic")
    n_validation = given.validation or given.reviews // 4
    n_all = given.reviews + n_validation
    reviews = make_up_reviews(n_all) if given.synthetic else read_reviews(given.path, n_all)
    if len(reviews.texts) < n_all:
        parser.error(f"{given.path} has {len(reviews.texts)} reviews, {n_all} were asked for")
    params = parse_params(given.params)
    changed = ARTICLE.model_copy(update=params)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        path = Path(name) / "reviews.jsonl"
        write_reviews(path, reviews)

        def team(who: str, kind: str, n: int, threads: int | None) -> Team:
            job = Job(
                kind=kind,
                threads=threads,
                path=str(path),
                n_training=given.reviews,
                params=params,
                vocabulary=given.vocabulary,
            )
            is_article = kind == "article"
            n_words = ARTICLE_LENGTH if is_article else mean_words(reviews, changed.max_length)
            return Team(
                name=who,
                processes=[stack.enter_context(Process(job)) for _ in range(n)],
                flop_per_review=n_words * flop_per_token(ARTICLE if is_article else changed),
                turns=[],
                limits=[],
            )

        cores = os.cpu_count() or 1
        teams = [
            team("the article's code", "article", 1, None),
            team(f"tuner, 1 worker, {cores} threads", "tuner", 1, cores),
        ]
        said = f", with {' '.join(given.params)}" if given.params else ""
        print(
            f"{given.reviews} reviews of {mean_words(reviews, changed.max_length):.0f} words to "
            f"learn from, {n_validation} to judge by{said}",
            flush=True,
        )
        if given.epochs:
            wait_for(teams)
            learn(teams, epochs=given.epochs, seeds=given.seeds)
            return
        several = f"tuner, {given.workers} workers, 1 thread each"
        teams.append(team(several, "tuner", given.workers, 1))
        wait_for(teams)
        compete(teams, n=given.reviews, rounds=given.rounds)


if __name__ == "__main__":
    main()
