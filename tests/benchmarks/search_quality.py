"""How much better is what TPE finds than what random search finds, through the workers' own code?

Each seed runs one study per sampler, as `tuner run` would: a SQLite file in a temporary folder, a
`tuner.worker.worker.Worker` that claims slots and proposes points, and its trainer, a child
process. In place of a GRU the trainer computes `tests.objectives:quadratic`, a hill with top 1
at learning_rate 0.01 and dropout 0.3. The regret of a study is 1 minus its best value.

What it guards against: a sampler that silently stays random, because it does not see finished
trials or because its draws are seeded badly. Then the ratio of the regrets is about 1.

Run it from the repository's root; the defaults take 80 s on two busy cores::

    python -m tests.benchmarks.search_quality [--seeds 20] [--trials 40]
"""

import argparse
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import optuna

from tests.objectives import TOY_STUDY
from tuner.storage import Database, create_study
from tuner.study_file import load_study_file
from tuner.worker.worker import Worker, WorkerOptions

OBJECTIVE = "tests.objectives:quadratic"
SAMPLERS = ("tpe", "random")


def best_value(database: Database, study_file: Path, settings: Sequence[str]) -> float:
    """Run one study with one worker and read its best value from the database."""
    config, _ = load_study_file(study_file, settings)
    study = create_study(database, config).study
    options = WorkerOptions(threads=1, objective=OBJECTIVE)
    Worker(database, study, options=options, environment=os.environ).run()
    trials = database.storage.get_all_trials(study.study_id, deepcopy=False)
    values = [trial.value for trial in trials if trial.value is not None]
    if len(values) != config.budget.trials:
        raise RuntimeError(f"{config.name}: only {len(values)} trials have a value")
    return max(values)


def run_studies(n_seeds: int, n_trials: int) -> dict[str, list[float]]:
    """Run a study per seed and sampler; give each sampler's best values, by seed."""
    best: dict[str, list[float]] = {sampler: [] for sampler in SAMPLERS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "toy.toml"
        path.write_text(TOY_STUDY)
        with Database.open(f"sqlite:///{folder}/tuner.db", create=True) as database:
            for seed in range(n_seeds):
                for sampler in SAMPLERS:
                    settings = [
                        f"name={sampler}-{seed}",
                        f"seed={seed}",
                        f"budget.trials={n_trials}",
                        f"sampler.name={sampler}",
                    ]
                    best[sampler].append(best_value(database, path, settings))
                found = ", ".join(f"{sampler} {best[sampler][-1]:.6f}" for sampler in SAMPLERS)
                print(f"seed {seed}: {found}", flush=True)
    return best


def main() -> None:
    """Run all studies and print what they found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20, help="studies per sampler")
    parser.add_argument("--trials", type=int, default=40, help="trials per study")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.basicConfig(level=logging.WARNING)

    started = time.monotonic()
    best = run_studies(options.seeds, options.trials)
    print(f"\n{options.seeds} seeds, {options.trials} trials each, best possible value 1")
    print("sampler  median best  mean best  median regret  mean regret")
    regret = {sampler: [1 - value for value in best[sampler]] for sampler in SAMPLERS}
    for sampler in SAMPLERS:
        print(
            f"{sampler:7}  {statistics.median(best[sampler]):11.6f}  "
            f"{statistics.mean(best[sampler]):9.6f}  {statistics.median(regret[sampler]):13.2e}  "
            f"{statistics.mean(regret[sampler]):11.2e}"
        )
    n_wins = sum(t > r for t, r in zip(best["tpe"], best["random"], strict=True))
    medians = statistics.median(regret["random"]) / statistics.median(regret["tpe"])
    means = statistics.mean(regret["random"]) / statistics.mean(regret["tpe"])
    print(f"tpe beats random in {n_wins} of {options.seeds} seeds")
    print(f"regret, random / tpe: {medians:.1f} by medians, {means:.1f} by means")
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
