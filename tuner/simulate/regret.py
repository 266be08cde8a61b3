"""Many replays of a recording, side by side, and what they say together."""

import os
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np

from tuner.config import PrunerName, SamplerName
from tuner.simulate.recording import Recording
from tuner.simulate.replay import Replay, Replayed, replay

#: Samples of the seeds from which an interval is read.
_N_SAMPLES = 2_000


@dataclass(frozen=True, kw_only=True)
class Row:
    """The mean regret of one recording at one cost."""

    #: The recording.
    table: str
    #: In whole trainings.
    cost: float
    #: Simulated workers.
    workers: int
    #: Who proposed.
    sampler: SamplerName
    #: Who ended trials.
    pruner: PrunerName
    #: Mean over the seeds.
    regret: float
    #: Lower end of its 95 % interval.
    low: float
    #: Upper end.
    high: float

    def to_json(self) -> dict[str, Any]:
        """Give JSON types."""
        return asdict(self)


def simulate(
    recordings: Sequence[Recording],
    replays: Sequence[Replay],
    *,
    n_processes: int,
    progress: Callable[[int, int], None],
) -> list[list[Replayed]]:
    """Replay each recording in each way, and use all cores for it.

    Args:
        recordings: The trainings.
        replays: One a seed.
        n_processes: How many at a time; 1 starts none.
        progress: Told how many are done, and of how many.

    Returns:
        For each recording, what came of each replay, in order.
    """
    jobs = [(i, k) for i in range(len(recordings)) for k in range(len(replays))]
    found: dict[tuple[int, int], Replayed] = {}
    if (n_processes := min(n_processes, len(jobs))) == 1:
        for i, k in jobs:
            found[i, k] = replay(recordings[i], replays[k])
            progress(len(found), len(jobs))
    else:
        # Not forked: the parent's threads and locks stay its own. As for our other child processes,
        # what lies in the current folder is none of their modules; see `own_module`.
        os.environ.setdefault("PYTHONSAFEPATH", "1")
        pool = ProcessPoolExecutor(n_processes, mp_context=get_context("spawn"))
        with pool:
            begun = {pool.submit(replay, recordings[i], replays[k]): (i, k) for i, k in jobs}
            try:
                for future in as_completed(begun):
                    found[begun[future]] = future.result()
                    progress(len(found), len(jobs))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return [[found[i, k] for k in range(len(replays))] for i in range(len(recordings))]


def rows(recording: Recording, asked: Replay, results: Sequence[Replayed]) -> list[Row]:
    """Sum up the replays of one recording.

    Args:
        recording: What was replayed.
        asked: How, but for the seed.
        results: What came of each seed.

    Returns:
        One row a cost.
    """
    found = []
    for k, cost in enumerate(asked.costs):
        regrets = [result.regrets[k] for result in results]
        low, high = interval(regrets)
        found.append(
            Row(
                table=recording.name,
                cost=cost,
                workers=asked.n_workers,
                sampler=asked.sampler,
                pruner=asked.pruner,
                regret=statistics.fmean(regrets),
                low=low,
                high=high,
            )
        )
    return found


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Give the 95 % interval of a mean: percentiles of the means of samples with replacement.

    The samples are the same for the same values.

    References:
        Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    sampled = np.random.default_rng(0).choice(np.array(values), (_N_SAMPLES, len(values)))
    low, high = np.percentile(sampled.mean(axis=1), [2.5, 97.5])
    return float(low), float(high)
