"""What one change of a study's default point is worth, paired by seed.

Trains the default point of a study file, and the same with each change, with several seeds. A seed
decides the weights, the order, and which examples judge: it has its own fold, by whole groups where
the study has them. Printed are the mean differences to the default point on the same seed, in the
accuracy of the best epoch, the lowest loss and the seconds (ratio), with their standard errors;
what is not beyond two of them is "not resolved". Finished trainings are kept in a file, a line
each, so that it can be interrupted.

Run it from the repository's root on a machine that does nothing else; the first of these takes some
fifteen minutes on two cores::

    python -m tests.benchmarks.ablation ablation.jsonl --set data.source=reviews.jsonl.gz \\
        --set data.group=movie --set data.examples=6000 --set budget.epochs=3
    python -m tests.benchmarks.ablation ablation.jsonl --set data.source=... \\
        --changes dropout=0.2 chunk_length=0,max_length=200
"""

import argparse
import json
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.benchmarks.training_speed import parse_params
from tuner.data.prepare import prepare
from tuner.data.split import Fold
from tuner.space import Space
from tuner.study_file import load_study_file
from tuner.worker.process import trainer_environment

CHANGES = (
    "schedule=constant",
    "clip_norm=0.0",
    "chunk_length=0",
    "pooling=attention",
    "word_dropout=0.1",
    "weight_decay=0.02",
    "ema_decay=0.99",
    "label_smoothing=0.1",
)
#: What is compared, and whether more is better.
MEASURES = {"accuracy": True, "loss": False}


@dataclass(frozen=True, kw_only=True)
class Run:
    """A training that is over."""

    #: ``name=value``, several with commas; empty for the default point.
    change: str
    #: Of weights, order and fold.
    seed: int
    #: Of the best epoch, on the fold.
    accuracy: float
    #: The lowest of all epochs, on the fold.
    loss: float
    #: Of training and evaluation.
    seconds: float


def train(study_file: Path, settings: Sequence[str], change: str, seed: int, n_seeds: int) -> Run:
    """Train once.

    Args:
        study_file: Whose default point is changed.
        settings: As with ``--set``.
        change: As in `Run`.
        seed: As in `Run`.
        n_seeds: How many seeds, and so folds, there are.
    """
    from tuner.metrics import STEPS_PER_EPOCH
    from tuner.training import fit

    config, _ = load_study_file(study_file, settings)
    data = prepare(
        config.data, seed=config.seed, folder=config.folder, fold=Fold(number=seed, of=n_seeds)
    )
    shape = data.shape(config.data.vocabulary)
    changed = parse_params([word for word in change.split(",") if word])
    result = fit(
        Space.complete(config.space.filled({}) | changed),
        data.train,
        data.validation,
        vocabulary=shape.n_ids,
        n_classes=shape.n_classes,
        epochs=config.budget.epochs,
        seed=seed,
        metric="val_accuracy",
    )
    whole = [report for report in result.reports if report.step % STEPS_PER_EPOCH == 0]
    return Run(
        change=change,
        seed=seed,
        accuracy=result.value,
        loss=min(report.metrics["val_loss"] for report in whole),
        seconds=result.seconds,
    )


def table(runs: Sequence[Run]) -> list[str]:
    """Compare with the default point, on the seeds that both have.

    Args:
        runs: All that are over.
    """
    base = {run.seed: run for run in runs if not run.change}
    lines = []
    for change in dict.fromkeys(run.change for run in runs):
        pairs = [(run, base[run.seed]) for run in runs if run.change == change and run.seed in base]
        if not change:
            means = (statistics.fmean(getattr(one, m) for one, _ in pairs) for m in MEASURES)
            lines.append(f"default point: {', '.join(f'{mean:.4f}' for mean in means)}")
        elif pairs:
            ratio = math.exp(statistics.fmean(math.log(o.seconds / b.seconds) for o, b in pairs))
            told = ", ".join(
                f"{name} {difference([getattr(o, name) - getattr(b, name) for o, b in pairs], up)}"
                for name, up in MEASURES.items()
            )
            lines.append(f"{change}: {told}, time x {ratio:.2f} ({len(pairs)} seeds)")
    return lines


def difference(found: Sequence[float], more_is_better: bool) -> str:
    """Say how large a difference is, and whether that is more than chance."""
    mean = statistics.fmean(found)
    if len(found) < 2:
        return f"{mean:+.4f}"
    error = statistics.stdev(found) / len(found) ** 0.5
    words = "not resolved"
    if abs(mean) > 2 * error:
        words = "better" if (mean > 0) == more_is_better else "worse"
    return f"{mean:+.4f} +- {error:.4f} ({words})"


def read_runs(path: Path) -> list[Run]:
    """Read the trainings that are over."""
    if not path.exists():
        return []
    return [Run(**json.loads(line)) for line in path.read_text().splitlines()]


def main() -> None:
    """Train what is not over yet, and print."""
    words, _, _ = (__doc__ or "").partition("Run it from")
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.ablation", description=words)
    parser.add_argument("path", type=Path, help="where finished trainings are kept")
    parser.add_argument("--study", type=Path, default=Path("studies/imdb.toml"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--changes", nargs="+", default=CHANGES, metavar="NAME=VALUE[,...]")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="at the same time")
    given = parser.parse_args()
    runs = read_runs(given.path)
    done = {(run.change, run.seed) for run in runs}
    left = [
        (change, seed)
        for seed in range(given.seeds)
        for change in ("", *given.changes)
        if (change, seed) not in done
    ]
    os.environ.update(trainer_environment(os.environ, threads=1))
    began = time.monotonic()
    with (
        ProcessPoolExecutor(given.workers, multiprocessing.get_context("spawn")) as pool,
        given.path.open("a") as file,
    ):
        futures = [
            pool.submit(train, given.study, given.set, change, seed, given.seeds)
            for change, seed in left
        ]
        for number, future in enumerate(futures, start=1):
            run = future.result()
            runs.append(run)
            print(json.dumps(asdict(run)), file=file, flush=True)
            spent = time.monotonic() - began
            print(f"{number} of {len(left)} after {spent:.0f} s: {run}", flush=True)
    print("\n".join(table(runs)))


if __name__ == "__main__":
    main()
