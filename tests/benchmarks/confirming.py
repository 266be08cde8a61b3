"""Does `tuner confirm` say the truth? Simulated studies, in which the truth is known.

A study is made up: some points with a true accuracy each, a search whose values are these with the
luck of seeds and of one validation set, and then the very functions by which `confirm` chooses and
estimates (`tuner.judging.finalists`). A model is right about an example where a normal number is
above 0: the sum of how good the point is, the luck of the training, how easy the group (a movie)
is, how easy the example is, and what this model alone makes of it. So examples of a group are
alike, and models err on the same ones in part, as real ones do.

It prints for each kind of study, all in units of the standard deviation of one score: the bias of
the best first score and that of confirm's figure, and how many of its 95 % intervals hold the
truth. Run it from the repository's root; the defaults take about a minute of one core::

    python -m tests.benchmarks.confirming [--studies 2000]
"""

import argparse
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tuner.judging.finalists import Score, choose, difference, estimate
from tuner.judging.hits import Hits, covariances

Numbers = npt.NDArray[np.float64]

#: Trials of a search.
N_TRIALS = 100
#: Finalists besides the default point, and trainings of each in either stage.
TOP, SEEDS = 5, 3
#: Groups in a fold, and examples in each.
N_GROUPS, GROUP_SIZE = 120, 5
#: Variances of how easy groups and examples are, of what one model makes of an example, and of the
#: luck of a training.
EASE_OF_GROUP, EASE, OWN, LUCK = 0.3, 1.0, 0.7, 0.004
_ALL = EASE_OF_GROUP + EASE + OWN + LUCK
#: Mean of what a point is worth, in the unit of these: an accuracy of 0.87 or so.
LEVEL = 1.13 * math.sqrt(_ALL)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What `confirm` said of one study, beside the truth."""

    #: First score of the best trial, less the winner's true accuracy.
    luck: float
    #: Confirm's figure, less that.
    error: float
    #: Whether the interval holds the truth.
    covered: bool
    #: Whether first place was called a tie.
    is_tie: bool
    #: Whether the interval of winner less default point holds the true difference; None where the
    #: default point won.
    difference_covered: bool | None
    #: True accuracy of the winner, and of the best trial by first score.
    truths: tuple[float, float]


def true_accuracy(worth: float) -> float:
    """Give the accuracy of a point over all trainings and examples."""
    return 0.5 * math.erfc(-worth / math.sqrt(2 * _ALL))


def replicate(worths: Sequence[float], rng: np.random.Generator) -> list[Score]:
    """Train each point once, and judge all by the same new examples."""
    shape = N_GROUPS, GROUP_SIZE
    ease = rng.normal(0, math.sqrt(EASE_OF_GROUP), (N_GROUPS, 1))
    ease = ease + rng.normal(0, math.sqrt(EASE), shape)
    scores = []
    for worth in worths:
        luck = rng.normal(0, math.sqrt(LUCK))
        is_right = worth + luck + ease + rng.normal(0, math.sqrt(OWN), shape) > 0
        hits = Hits(right=is_right.sum(axis=1), size=np.full(N_GROUPS, GROUP_SIZE))
        error = math.sqrt(covariances([hits])[0, 0])
        scores.append(Score(value=hits.share, error=error, hits=hits))
    return scores


def run_study(worths: Sequence[float], rng: np.random.Generator) -> Outcome:
    """Search, confirm, and compare with the truth; the first point is the default one."""
    first = [score.value for score in replicate(worths, rng)]
    ranked = sorted(range(len(worths)), key=lambda place: -first[place])
    finalists = list(dict.fromkeys([*ranked[:TOP], 0]))
    table = list(
        zip(*(replicate([worths[p] for p in finalists], rng) for _ in range(SEEDS)), strict=True)
    )
    choice = choose(dict(enumerate(table)), "maximize")
    winner = finalists[choice.order[0]]
    judged = list(dict.fromkeys([winner, 0]))
    fresh = list(
        zip(*(replicate([worths[p] for p in judged], rng) for _ in range(SEEDS)), strict=True)
    )
    found, truth = estimate(fresh[0], choice.noise), true_accuracy(worths[winner])
    apart = None
    if winner:
        gain = difference(fresh[0], fresh[1], choice.noise, "maximize")
        apart = gain.low <= truth - true_accuracy(worths[0]) <= gain.high
    return Outcome(
        luck=first[ranked[0]] - true_accuracy(worths[ranked[0]]),
        error=found.value - truth,
        covered=found.low <= truth <= found.high,
        is_tie=choice.lead is not None and choice.lead.low <= 0,
        difference_covered=apart,
        truths=(truth, true_accuracy(worths[ranked[0]])),
    )


def run_studies(n_studies: int, spread: float, *, seed: int) -> list[Outcome]:
    """Run studies whose points differ by so much.

    Args:
        n_studies: How many.
        spread: Standard deviation of what points are worth, in that of the sum which decides; 0
            for points that are all equally good.
        seed: Of everything.
    """
    rng = np.random.default_rng(seed)
    outcomes = []
    for _ in range(n_studies):
        worths = LEVEL + rng.normal(0, spread * math.sqrt(_ALL), N_TRIALS)
        outcomes.append(run_study(worths.tolist(), rng))
    return outcomes


def one_score(seed: int = 0) -> float:
    """Give the standard deviation of one score: of seed and examples together."""
    rng = np.random.default_rng(seed)
    return statistics.stdev(replicate([LEVEL], rng)[0].value for _ in range(2_000))


def share(answers: Sequence[bool | None]) -> float:
    """Say how many of those that there are say yes."""
    known = [answer for answer in answers if answer is not None]
    return sum(known) / len(known)


def main() -> None:
    """Run all kinds of studies and print what came of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=int, default=2_000, help="studies of each kind")
    options = parser.parse_args()

    sd = one_score()
    print(f"{options.studies} studies of {N_TRIALS} trials each; sd of one score {sd:.4f}")
    print(
        "points  first score  confirm's figure  covered  difference covered  ties  gain by choice"
    )
    for name, spread in (("equal", 0.0), ("differ", 0.05), ("far", 0.2)):
        found = run_studies(options.studies, spread, seed=1)
        print(
            f"{name:6}  {statistics.fmean(each.luck for each in found) / sd:+8.2f} sd  "
            f"{statistics.fmean(each.error for each in found) / sd:+13.3f} sd  "
            f"{share([each.covered for each in found]):6.1%}  "
            f"{share([each.difference_covered for each in found]):18.1%}  "
            f"{share([each.is_tie for each in found]):4.0%}  "
            f"{statistics.fmean(each.truths[0] - each.truths[1] for each in found) / sd:+10.2f} sd",
            flush=True,
        )


if __name__ == "__main__":
    main()
