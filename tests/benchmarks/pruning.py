"""What does a rule that ends trials cost and save, on trainings that ran to their end?

Reads recorded trainings, those of `tests/recorded` unless told of others: an ``.npz`` table, or a
study that was run with the pruner `none`. Runs the rule over many random orders of them, with
several workers side by side. Prints for each pruner how much of the best final value is lost (in
points where it is an accuracy), how many times less is trained, and how many of the five best
trainings are ended. Best are the trainings with the best value, whatever a rule would have made
of them.

Run it from the repository's root; it takes seconds::

    python -m tests.benchmarks.pruning
    python -m tests.benchmarks.pruning imdb [--storage sqlite:///studies/tuner.db]
    python -m tests.benchmarks.pruning table.npz [--workers 8] [--orders 100] [--trials 60]
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np

from tests.recorded import IMDB, read_recorded
from tuner.config import PrunerName
from tuner.metrics import best_so_far
from tuner.simulate import Candidate, Recording, Replay, read_recording, read_table, replay
from tuner.storage import Database, find_study

#: Of so many of the best trainings we want to know whether they are ended.
N_TOP = 5


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a rule made of one order of the trainings."""

    #: By how much the best complete trial is worse than the best training.
    loss: float
    #: How many times less was trained.
    saved: float
    #: How many of the best trainings were ended.
    top_ended: int


def whole(recording: Recording) -> Recording:
    """Keep the trainings that ran to their end."""
    kept = [c for c in recording.candidates if c.reports[-1][0] == recording.last_step]
    finite = tuple(c for c in kept if np.isfinite(c.reports[-1][1]))
    return replace(recording, candidates=finite)


def value_of(recording: Recording, candidate: Candidate) -> float:
    """Give what a training is worth."""
    value = best_so_far(dict(candidate.reports), recording.last_step, recording.direction)
    if value is None:
        raise ValueError("a whole training without a value")
    return value


def effect(recording: Recording, pruner: PrunerName, *, n_workers: int, seed: int) -> Effect:
    """Run the rule over one random order."""
    values = [value_of(recording, candidate) for candidate in recording.candidates]
    sign = 1 if recording.direction == "maximize" else -1
    ranked = sorted(range(len(values)), key=lambda i: -sign * values[i])
    asked = Replay(
        sampler="random", pruner=pruner, n_workers=n_workers, seed=seed, costs=(float("inf"),)
    )
    result = replay(recording, asked)
    best = max(sign * values[i] for i in result.completed)
    return Effect(
        loss=sign * values[ranked[0]] - best,
        saved=len(values) / result.cost,
        top_ended=len(set(ranked[:N_TOP]) - set(result.completed)),
    )


def effects(
    recording: Recording, pruner: PrunerName, *, n_workers: int, n_orders: int, n_trials: int
) -> list[Effect]:
    """Run the rule over many random orders, each of some of the trainings."""
    found = []
    for seed in range(n_orders):
        generator = np.random.default_rng(seed)
        chosen = generator.permutation(len(recording.candidates))[:n_trials]
        part = tuple(recording.candidates[i] for i in chosen)
        drawn = replace(recording, candidates=part)
        found.append(effect(drawn, pruner, n_workers=n_workers, seed=seed))
    return found


def line(pruner: PrunerName, found: Sequence[Effect]) -> str:
    """Say what the orders say together."""
    ended = [e.top_ended for e in found]
    many = sum(n > 1 for n in ended) / len(ended)
    return (
        f"{pruner:8} loses {statistics.fmean(e.loss for e in found):.4f}, "
        f"trains {statistics.fmean(e.saved for e in found):.2f} times less, "
        f"ends {statistics.fmean(ended):.2f} of the best {N_TOP} "
        f"(more than one in {many:.0%} of the orders)"
    )


def main() -> None:
    """Print a line a pruner."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", help="an .npz table, or the name of a study")
    parser.add_argument("--storage", default="sqlite:///studies/tuner.db")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--orders", type=int, default=100)
    parser.add_argument("--trials", type=int, default=60)
    given = parser.parse_args()
    if given.what is None:
        recording = read_recorded(IMDB)
    elif given.what.endswith(".npz"):
        recording = read_table(Path(given.what))
    else:
        with Database.open(given.storage) as database:
            recording = read_recording(database, find_study(database, given.what))
    recording = whole(recording)
    n_trials = min(given.trials, len(recording.candidates))
    print(f"{recording.name}: {n_trials} of {len(recording.candidates)} whole trainings an order")
    for pruner in get_args(PrunerName):
        found = effects(
            recording,
            pruner,
            n_workers=given.workers,
            n_orders=given.orders,
            n_trials=n_trials,
        )
        print(line(pruner, found))


if __name__ == "__main__":
    main()
