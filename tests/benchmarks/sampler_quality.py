"""What a sampler finds with so many trials, and what the planned first points are worth.

Known functions take the place of trainings, and simulated workers, whose trials last 0.5 to 1.5
units of time, propose through the workers' own code. With ``--prune`` a trial shows its value with
noise early on and ends there unless it is in the best third. `net` is made up after what hyper-
parameters of a GRU do: a ridge of the learning rate over the width, a cliff beyond it, choices that
count a little, a parameter that counts only with two layers; `hartmann` and `rosenbrock` are known
test functions in 6 and 4 dimensions. Each seed moves or mirrors the top.

A way is a sampler's name, and ``:default`` behind it where the study opens with the default point
alone, as it would without a plan. Told is the mean best value after so many trials, and how much
better it is in the end than with the first way, seed by seed, with its standard error.

Run it from the repository's root; the defaults take some ten minutes on a core::

    python -m tests.benchmarks.sampler_quality tpe:default tpe nsga2 random [--workers 8 --prune]
"""

import argparse
import heapq
import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuner.config import SamplerName
from tuner.domain import Point, Scalar
from tuner.first_points import first_points, n_first_points
from tuner.space import Space
from tuner.space_table import parse_space
from tuner.strategy import Search, propose_point

Function = Callable[[Mapping[str, Scalar]], float]
MARKS = (10, 15, 20, 30, 40, 60, 100, 150, 300, 1_000)
SIDE = {"low": 0.0, "high": 0.99}
NAMES = ("dropout", "word_dropout", "embedding_dropout", "warmup", "label_smoothing", "ema_decay")

NET = parse_space(
    {
        "learning_rate": {"low": 3e-4, "high": 3e-2, "log": True},
        "units": {"low": 32, "high": 128, "step": 8},
        "layers": [1, 2],
        "bidirectional": [True, False],
        "pooling": ["last", "max", "mean", "mean_max"],
        "embedding": {"low": 32, "high": 192, "step": 8},
        "embedding_dropout": {"low": 0.0, "high": 0.6},
        "dropout": {"low": 0.0, "high": 0.6},
        "layer_dropout": {"low": 0.0, "high": 0.5, "when": {"layers": 2}},
    }
)


def net(generator: np.random.Generator) -> Function:
    """Accuracy of an imagined GRU."""
    top = generator.uniform(0.15, 0.85, 6)
    weights = generator.dirichlet(np.full(6, 0.6))
    weights[0] += 0.5
    poolings = dict(zip(("last", "max", "mean", "mean_max"), generator.normal(0, 0.04, 4)))  # noqa: B905 - four
    both_ways, two_layers = generator.normal(0, 0.03, 2)
    ridge = generator.uniform(-0.5, 0.5)

    def value(point: Mapping[str, Any]) -> float:
        at = [
            math.log(point["learning_rate"] / 3e-4) / math.log(100),
            (point["units"] - 32) / 96,
            (point["embedding"] - 32) / 160,
            point["embedding_dropout"] / 0.6,
            point["dropout"] / 0.6,
            point.get("layer_dropout", 0.0) / 0.5,
        ]
        off = np.array(at) - top
        off[0] += ridge * off[1]
        off[5] *= point["layers"] == 2
        accuracy = 0.9 - 0.6 * float(weights @ off**2) + poolings[point["pooling"]]
        accuracy += both_ways * point["bidirectional"] + two_layers * (point["layers"] == 2)
        return float(np.clip(accuracy - 0.15 * (off[0] > 0.45), 0.5, 1.1))

    return value


def hartmann(generator: np.random.Generator) -> Function:
    """Hartmann's function in six dimensions; its top is 3.32."""
    sharp = [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14]]
    sharp += [[3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
    tops = [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991]]
    tops += [[2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]]
    order, mirrored = generator.permutation(6), generator.random(6) < 0.5

    def value(point: Mapping[str, Any]) -> float:
        at = np.array([point[name] for name in NAMES]) / 0.99
        at = np.where(mirrored, 1 - at, at)[order]
        squares = np.array(sharp) * (at - np.array(tops) / 1e4) ** 2
        return float(np.exp(-squares.sum(axis=1)) @ [1, 1.2, 3, 3.2])

    return value


def rosenbrock(generator: np.random.Generator) -> Function:
    """Rosenbrock's valley in four dimensions, in powers of ten; its top is 0."""
    mirrored = generator.random(4) < 0.5

    def value(point: Mapping[str, Any]) -> float:
        at = np.array([point[name] for name in NAMES[:4]]) / 0.99
        at = 4 * np.where(mirrored, 1 - at, at) - 2
        return -math.log10(
            1 + float((100 * (at[1:] - at[:-1] ** 2) ** 2 + (1 - at[:-1]) ** 2).sum())
        )

    return value


FUNCTIONS: dict[str, tuple[Space, Callable[[np.random.Generator], Function], float]] = {
    # The space, the function, the noise of an early look at it.
    "net": (NET, net, 0.01),
    "hartmann": (parse_space(dict.fromkeys(NAMES, SIDE)), hartmann, 0.1),
    "rosenbrock": (parse_space(dict.fromkeys(NAMES[:4], SIDE)), rosenbrock, 0.1),
}


def best_values(
    function: str, way: str, seed: int, *, n_trials: int, n_workers: int, prune: bool
) -> list[float]:
    """Run one study; give the best value after each trial."""
    space, make, noise = FUNCTIONS[function]
    value_of = make(np.random.default_rng(1_000 + seed))
    sampler, _, start = way.partition(":")
    search = Search(
        name=f"study-{seed}",
        direction="maximize",
        space=space,
        sampler=cast("SamplerName", sampler),
        n_trials=n_trials,
        seed=seed,
    )
    n_planned = 1 if start else n_first_points(n_trials)
    plans: Sequence[Point] = first_points(space, n=n_planned, seed=seed)
    if sampler in {"random", "grid"}:
        plans = ()
    chance = random.Random(seed)  # noqa: S311 - no secret
    trials: list[FrozenTrial] = []
    running: list[tuple[float, int, Point]] = []
    now, looks, best = 0.0, list[float](), list[float]()
    while len(best) < n_trials:
        while len(trials) < n_trials and len(running) < n_workers:
            number = len(trials)
            planned = plans[number] if number < len(plans) else {}
            trial, point = propose_point(
                lambda: list(trials), search, slot=number, planned=planned, taken=()
            )
            trial.number = trial._trial_id = number
            trials.append(trial)
            heapq.heappush(running, (now + chance.uniform(0.5, 1.5), number, point))
        now, number, point = heapq.heappop(running)
        value = value_of(point)
        looks.append(value + chance.gauss(0, noise))
        rank = sum(look > looks[-1] for look in looks)
        ends = prune and len(looks) >= 3 and rank >= math.ceil(len(looks) / 3)
        begun = trials[number]
        trials[number] = create_trial(
            state=TrialState.PRUNED if ends else TrialState.COMPLETE,
            value=looks[-1] if ends else value,
            intermediate_values={4: looks[-1]} if ends else {},
            params=begun.params,
            distributions=begun.distributions,
            system_attrs=begun.system_attrs,
        )
        trials[number].number = trials[number]._trial_id = number
        best.append(max(value, best[-1]) if best else value)
    return best


def main() -> None:
    """Run all studies and print what they found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("ways", nargs="*", default=["tpe:default", "tpe", "nsga2", "random"])
    parser.add_argument("--functions", nargs="+", choices=FUNCTIONS, default=list(FUNCTIONS))
    parser.add_argument("--trials", type=int, default=60, help="of a study")
    parser.add_argument("--seeds", type=int, default=30, help="studies of each way")
    parser.add_argument("--workers", type=int, default=1, help="simulated ones")
    parser.add_argument("--prune", action="store_true", help="end two trials in three early")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    marks = [mark for mark in MARKS if mark < options.trials] + [options.trials]
    for function in options.functions:
        print(f"\n{function}: mean best of {options.seeds} seeds after", *marks, "trials")
        first: list[float] = []
        for way in options.ways:
            found = [
                best_values(
                    *(function, way, seed),
                    n_trials=options.trials,
                    n_workers=options.workers,
                    prune=options.prune,
                )
                for seed in range(options.seeds)
            ]
            ends = [best[-1] for best in found]
            first = first or ends
            gains = [ours - theirs for ours, theirs in zip(ends, first, strict=True)]
            error = statistics.stdev(gains) / math.sqrt(len(gains))
            means = "  ".join(f"{statistics.fmean(b[m - 1] for b in found):7.4f}" for m in marks)
            gain = f"{statistics.fmean(gains):+.4f} ± {error:.4f}"
            print(f"{way:12}  {means}   {gain} against {options.ways[0]}", flush=True)


if __name__ == "__main__":
    main()
