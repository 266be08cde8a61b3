"""How soon are good trainings found, beside Optuna's own defaults and plain successive halving?

Replays tables of recorded learning curves (see `tuner.simulate.tables`) for ours, and runs the same
tables through Optuna as its users do: `TPESampler()` and `MedianPruner()`, asked and told in the
same simulated time, and through successive halving of factor 4 from the first point over random
order. All choose among the unused trainings, the nearest to what is proposed; regret and cost are
those of `tuner simulate`. Prints the mean regret over tables and seeds at each cost.

Run it from the repository's root; 30 seeds take some 40 minutes on two cores::

    python -m tests.benchmarks.search_tables tables/ [--workers 8] [--seeds 30] [--costs 10,20]
"""

import argparse
import heapq
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeAlias

import numpy as np
import optuna
from optuna.trial import TrialState

from tuner.cli.simulate import read_costs
from tuner.processor import usable_cores
from tuner.simulate import Recording, Replay, read_table, replay, table_files
from tuner.simulate.nearest import Nearest

#: Regret at each cost.
Regrets: TypeAlias = tuple[float, ...]
#: From a recording and a seed.
Search: TypeAlias = Callable[[Recording, int], Regrets]


def ours(recording: Recording, seed: int, *, n_workers: int, costs: Regrets) -> Regrets:
    """Replay with tuner's defaults."""
    asked = Replay(sampler="tpe", pruner="asha", n_workers=n_workers, seed=seed, costs=costs)
    return replay(recording, asked).regrets


def optunas(recording: Recording, seed: int, *, n_workers: int, costs: Regrets) -> Regrets:
    """Run a plain Optuna study with its defaults."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed), pruner=optuna.pruners.MedianPruner()
    )
    nearest = Nearest(recording.space, [c.params for c in recording.candidates])
    free = np.ones(len(recording.candidates), dtype=np.bool_)

    def begin() -> tuple[optuna.Trial, Sequence[tuple[int, float]]] | None:
        if not free.any():
            return None
        trial = study.ask()
        chosen = nearest.find(recording.space.draw(trial), free)
        free[chosen] = False
        return trial, recording.candidates[chosen].reports

    def ends(trial: optuna.Trial, step: int, value: float) -> bool:
        if not math.isfinite(value):
            study.tell(trial, state=TrialState.FAIL)
            return True
        trial.report(value, step // 4)  # its users count epochs
        if step == recording.last_step:
            study.tell(trial, value)
            return True
        if trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return True
        return False

    return _run(recording, begin, ends, n_workers=n_workers, costs=costs)


def halving(recording: Recording, seed: int, *, n_workers: int, costs: Regrets) -> Regrets:
    """Run asynchronous successive halving, factor 4, over a random order."""
    order = list(np.random.default_rng(seed).permutation(len(recording.candidates)))
    there: dict[int, list[float]] = {4 * 4**k: [] for k in range(10)}

    def begin() -> tuple[None, Sequence[tuple[int, float]]] | None:
        return (None, recording.candidates[order.pop()].reports) if order else None

    def ends(_trial: None, step: int, value: float) -> bool:
        if not math.isfinite(value) or step == recording.last_step:
            return True
        if step not in there:
            return False
        there[step].append(value)
        n_kept = max(1, len(there[step]) // 4)
        return sum(other < value for other in there[step]) >= n_kept

    return _run(recording, begin, ends, n_workers=n_workers, costs=costs)


def _run(
    recording: Recording,
    begin: Callable[[], tuple[object, Sequence[tuple[int, float]]] | None],
    ends: Callable[..., bool],
    *,
    n_workers: int,
    costs: Regrets,
) -> Regrets:
    """Let workers run trials in simulated time; a report of a table takes as long as any other."""
    waiting = [(0, worker) for worker in range(n_workers)]
    running: dict[int, tuple[object, list[tuple[int, float]]]] = {}
    limits = [cost * recording.epochs for cost in costs]
    best, spent = math.inf, 0
    regrets: list[float] = []
    while waiting and len(regrets) < len(limits):
        now, worker = heapq.heappop(waiting)
        if worker in running:
            spent += 1
            while len(regrets) < len(limits) and spent > limits[len(regrets)]:
                regrets.append(recording.regret(best))
            trial, left = running[worker]
            step, value = left.pop(0)
            best = min(best, value) if math.isfinite(value) else best
            if ends(trial, step, value):
                del running[worker]
        if worker not in running:
            begun = begin()
            if begun is None:
                continue
            running[worker] = (begun[0], list(begun[1]))
        heapq.heappush(waiting, (now + 1, worker))
    return (*regrets, *[recording.regret(best)] * (len(limits) - len(regrets)))


def main() -> None:
    """Print a line for each search."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", type=Path)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--costs", type=read_costs, default="5,10,20,40")
    given = parser.parse_args()
    recordings = [read_table(file) for file in table_files(given.tables)]
    at = " ".join(f"{cost:>7g}" for cost in given.costs)
    print(f"{given.workers} workers, {given.seeds} seeds; regret at cost {at}")
    jobs = [(r, seed) for r in recordings for seed in range(given.seeds)]
    searches: dict[str, Callable[..., Regrets]] = {
        "tuner's defaults": ours,
        "plain halving, random order": halving,
        "Optuna's defaults": optunas,
    }
    with ProcessPoolExecutor(usable_cores(), mp_context=get_context("spawn")) as pool:
        for name, search in searches.items():
            run: Search = partial(search, n_workers=given.workers, costs=given.costs)
            found = np.array(list(pool.map(run, *zip(*jobs, strict=True))))  # (jobs, costs)
            print(f"{name:37}", " ".join(f"{mean:7.3f}" for mean in found.mean(axis=0)))


if __name__ == "__main__":
    main()
