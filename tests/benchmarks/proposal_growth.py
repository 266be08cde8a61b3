"""How long does a warm worker take to propose the next point, as its study grows?

Made-up studies of `tests.large_study`: `studies/imdb.toml` with two in five trials pruned and a few
running, in a SQLite file. A worker has read its study and proposes; before each proposal another
worker's trial ends, as it would meanwhile, and has to be read. Told are the median and the slowest
of the proposals, wall-clock and processor time, and the first reading of the study, once a worker.

Run it from the repository's root, on an idle machine; the defaults take two minutes::

    python -m tests.benchmarks.proposal_growth [--trials 500 1000 2000 5000] [--samplers tpe nsga2]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import get_args

import optuna
from optuna.trial import TrialState, create_trial

from tests.large_study import fill
from tuner.config import SamplerName, StudyConfig
from tuner.storage import Database, StoredStudy
from tuner.storage.history import History
from tuner.strategy import check_sampler, propose


def time_of(work: Callable[[], object]) -> tuple[float, float]:
    """Give wall-clock and processor time of a call, in milliseconds."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor)


def end_one_more(database: Database, study: StoredStudy, number: int) -> None:
    """Store a trial that another worker has finished."""
    trial, _ = propose(list, study.config, slot=10**7 + number, planned={}, taken=())
    ended = create_trial(
        state=TrialState.COMPLETE,
        value=0.8,
        params=trial.params,
        distributions=trial.distributions,
    )
    database.storage.create_new_trial(study.study_id, template_trial=ended)


def measure(
    database: Database, study: StoredStudy, config: StudyConfig, n_proposals: int
) -> tuple[float, list[tuple[float, float]]]:
    """Time the first reading, and proposals after it."""
    history = History(database, study.study_id)
    first, _ = time_of(history.read)
    taken = []
    for i in range(n_proposals + 1):
        end_one_more(database, study, i)
        proposing = partial(propose, history.read, config, slot=10**6 + i, planned={}, taken=())
        taken.append(time_of(proposing))
    return first, taken[1:]  # the first one loads modules


def main() -> None:
    """Fill studies, propose in them, print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[500, 1_000, 2_000, 5_000])
    parser.add_argument(
        "--samplers", nargs="+", choices=get_args(SamplerName), default=["tpe", "nsga2"]
    )
    parser.add_argument("--proposals", type=int, default=20, help="of each sampler and size")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for name in options.samplers:
        check_sampler(name)

    print("milliseconds; a proposal: median (slowest) wall-clock, median processor time")
    print("sampler  trials  first reading         proposal  processor")
    with (
        tempfile.TemporaryDirectory() as folder,
        Database.open(f"sqlite:///{folder}/tuner.db", create=True) as database,
    ):
        for n_trials in options.trials:
            study = fill(database, n_trials=n_trials, name=f"of-{n_trials}")
            for name in options.samplers:
                sampler = study.config.sampler.model_copy(update={"name": name})
                config = study.config.model_copy(update={"sampler": sampler})
                first, taken = measure(database, study, config, options.proposals)
                walls, processor = zip(*taken, strict=True)
                print(
                    f"{name:7}  {n_trials:6}  {first:13.0f}  "
                    f"{statistics.median(walls):6.0f} ({max(walls):5.0f})  "
                    f"{statistics.median(processor):9.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
