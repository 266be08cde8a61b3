"""How good is a search after so many minutes, beside what others would use for it?

Real trainings of real reviews, on this machine: every contestant gets the same reviews, the same
split, the same words of each review, and the same wall-clock time, its start included. Each is a
new process, killed when its time is up; they take turns. All but the article's grid and `tuner`
with its own space search the same space (`space.py`). What counts is the accuracy on all validation
reviews at the end of an epoch, of whichever trial. Afterwards each one's best point is trained once
more by its own code (`contest.test`) and judged by test reviews that nobody has seen before.

In the first table everyone trains as its users write it, with defaults and settings from its own
documentation (each file says where they come from); `tuner` by `tuner run --workers auto`, and
Ray Tune with a trial a core. In the second one everyone trains with `tuner.training.fit`, one
training at a time with all cores, so that the search alone is compared.

The best peer is the one with the highest median of its final accuracies; what others need to reach
is its final accuracy with the same seed. Measurements are kept in a folder, and not made again when
this is called again with the same reviews, words and minutes; a contestant that fails is left out,
and tried again by the next call.

Needs the extra `peers` (`pip install -e ".[peers]"`). Run it from the repository's root on a
machine that does nothing else; the defaults take some six hours on two cores, one table and
one seed an hour::

    python -m tests.benchmarks.peers reviews.jsonl.gz --test test.jsonl.gz
    python -m tests.benchmarks.peers reviews.jsonl.gz --tables 1 --contestants optuna tuner
    python -m tests.benchmarks.peers reviews.jsonl.gz --test test.jsonl.gz --full
"""

import argparse
import hashlib
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from tests.benchmarks.peers.contest import ContestError, run, test
from tests.benchmarks.peers.data import lay_out, lay_out_test
from tests.benchmarks.peers.field import CONTESTANTS, Contestant, turns
from tests.benchmarks.peers.measured import Measurement, Results, Setting
from tests.benchmarks.peers.protocol import STATES, Job, Table
from tests.benchmarks.peers.standings import standings
from tests.benchmarks.reviews import Reviews, read_reviews

#: Minutes, reviews and words by default, and with `--full`.
SMALL, FULL = (8.0, 6_000, 200), (60.0, 25_000, 400)
PACKAGES = ("keras", "tensorflow", "optuna", "optuna-integration", "keras-tuner", "ray", "tuner")


class Harness:
    """Lets contestants take turns.

    Args:
        reviews: To search on.
        test_reviews: To judge choices by; None for no test.
        setting: What all have in common.
        folder: For measurements, journals and logs.
    """

    def __init__(
        self, reviews: Reviews, test_reviews: Reviews | None, *, setting: Setting, folder: Path
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._reviews = reviews
        self._test_reviews = test_reviews
        self._setting = setting
        self._folder = folder
        #: What was measured.
        self.results = Results(folder / "measured.jsonl")

    def measure(self, contestant: Contestant, table: Table, seed: int) -> Measurement:
        """Measure what was not measured yet.

        Raises:
            ContestError: A process failed.
        """
        known = self.results.get(table, contestant.name, seed, self._setting)
        is_tested = known is not None and known.test_accuracy is not None
        if known is not None and (is_tested or self._test_reviews is None):
            return known
        records = self._folder / f"{table}-{contestant.name}-{seed}"
        records.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="peers-") as name:
            job = self._job(table, seed, Path(name), records)
            if known is None:
                known = self._search(contestant, job, records)
                self.results.add(known)
            if self._test_reviews is not None:
                lay_out_test(Path(job.data), self._test_reviews)
                accuracy = test(
                    contestant, job, params=known.params, epochs=known.epoch, records=records
                )
                known = replace(known, test_accuracy=accuracy)
                self.results.add(known)
        return known

    def _job(self, table: Table, seed: int, folder: Path, records: Path) -> Job:
        data, scratch = folder / "data", folder / "own"
        data.mkdir()
        scratch.mkdir()
        lay_out(data, self._reviews, seed=seed)
        return Job(
            table=table,
            journal=str((records / "journal.jsonl").resolve()),
            began=0.0,
            data=str(data),
            scratch=str(scratch),
            words=self._setting.words,
            seed=seed,
            cores=os.cpu_count() or 1,
        )

    def _search(self, contestant: Contestant, job: Job, records: Path) -> Measurement:
        time = run(contestant, job, seconds=60 * self._setting.minutes, records=records)
        return Measurement(
            table=job.table,
            contestant=contestant.name,
            seed=job.seed,
            setting=self._setting,
            seconds=round(time.seconds, 3),
            evaluations=tuple((each.seconds, each.value) for each in time.course.evaluations),
            trials={state: time.course.count(state) for state in STATES},
            params=time.pick.params,
            epoch=time.pick.epoch,
            test_accuracy=None,
            versions=versions(),
        )

    def show(self, field: Sequence[Contestant], tables: Sequence[Table]) -> None:
        """Print what there is so far."""
        for table in tables:
            print(
                "\n".join(
                    standings(table, field, self.results.of(table, self._setting), self._setting)
                )
            )
            print()


def versions() -> dict[str, str]:
    """Tell what is installed."""
    return {each.name: each.version for each in metadata.distributions() if each.name in PACKAGES}


def digest(reviews: Reviews) -> str:
    """Name the reviews."""
    rows = zip(reviews.texts, reviews.labels, strict=True)
    return hashlib.sha256(
        "\n".join(f"{label} {text}" for text, label in rows).encode()
    ).hexdigest()[:12]


def main() -> None:
    """Measure and print."""
    words, _, _ = (__doc__ or "").partition("Needs the extra")
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.peers",
        description=words,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=Path, help="a .jsonl[.gz] with text and label, two classes")
    parser.add_argument("--test", type=Path, help="another one, with reviews to judge choices by")
    parser.add_argument("--minutes", type=float, help="for each contestant and seed; 8")
    parser.add_argument("--reviews", type=int, help="to search on, and to test on at most; 6000")
    parser.add_argument("--words", type=int, help="of a review that are read; 200")
    parser.add_argument("--full", action="store_true", help="an hour, 25,000 reviews, 400 words")
    parser.add_argument("--seeds", type=int, default=3)
    names = [each.name for each in CONTESTANTS]
    parser.add_argument(
        "--contestants",
        nargs="+",
        choices=names,
        default=names,
        metavar="NAME",
        help=", ".join(names),
    )
    parser.add_argument("--tables", nargs="+", type=int, choices=(1, 2), default=(1, 2))
    parser.add_argument(
        "--out", type=Path, default=Path("peers-measured"), help="folder to keep it in"
    )
    given = parser.parse_args()
    minutes, n_reviews, n_words = FULL if given.full else SMALL
    n_reviews = given.reviews or n_reviews
    reviews = read_reviews(given.path, n_reviews)
    if len(reviews.texts) < n_reviews or len(set(reviews.labels)) != 2:
        parser.error(
            f"{given.path} has {len(reviews.texts)} reviews of {len(set(reviews.labels))} classes; "
            f"{n_reviews} of two were asked for"
        )
    harness = Harness(
        reviews,
        read_reviews(given.test, n_reviews) if given.test else None,
        setting=Setting(
            reviews=digest(reviews),
            n_reviews=n_reviews,
            words=given.words or n_words,
            minutes=given.minutes or minutes,
        ),
        folder=given.out,
    )
    field = [each for each in CONTESTANTS if each.name in given.contestants]
    failed = 0
    for seed, table, contestant in turns(field, given.tables, given.seeds):
        try:
            found = harness.measure(contestant, table, seed)
        except ContestError as error:
            failed += 1
            print(f"table {table}, seed {seed}: {error}", file=sys.stderr, flush=True)
            continue
        tested = "" if found.test_accuracy is None else f", test {found.test_accuracy:.4f}"
        print(
            f"table {table}, seed {seed}, {contestant.title}: {found.final:.4f}{tested}",
            file=sys.stderr,
            flush=True,
        )
    harness.show(CONTESTANTS, given.tables)
    if failed:
        parser.exit(1, f"{failed} measurements failed; call it again to try them again.\n")


if __name__ == "__main__":
    main()
