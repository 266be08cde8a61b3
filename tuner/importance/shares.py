"""Each parameter's share of the importance, with what chance alone would do.

References:
    Watanabe et al. 2023, arXiv:2304.10255 (PED-ANOVA).
"""

import warnings
from collections.abc import Container, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuner.importance.values import Importance, Verdict

Numbers = npt.NDArray[np.float64]

#: Times that trials are drawn anew for the intervals, and that values are shuffled for the noise.
N_DRAWS = 50
#: Ends of the intervals, as quantiles of the draws.
INTERVAL = 0.05, 0.95
#: Share of shuffles that stay below the noise.
NOISE = 0.95


class _Trials:
    """As much of a storage as an evaluator asks for."""

    def __init__(self) -> None:
        self.drawn: Sequence[FrozenTrial] = ()

    def get_study_id_from_name(self, _study_name: str) -> int:
        return 0

    def get_study_directions(self, _study_id: int) -> list[StudyDirection]:
        return [StudyDirection.MINIMIZE]  # of ranks

    def get_all_trials(
        self, _study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        del deepcopy, states  # all are complete, and nobody changes them
        return list(self.drawn)


def shares(
    trials: Sequence[FrozenTrial], names: Sequence[str], *, seed: int
) -> tuple[Importance, ...]:
    """Weigh parameters.

    Trials drawn with repetition have fewer different ones among the best tenth, which moves small
    shares up. The interval therefore holds both where such draws lie and how far they scatter
    around the share itself: on made-up studies of 60 and 200 trials it held the true share nine
    times in ten or more often, where either alone did so eight times in ten.

    Args:
        trials: With ranks as values, 0 for the best. They are changed.
        names: Parameters to be weighed.
        seed: Decides the draws.
    """
    storage = _Trials()
    study = Study("", cast("BaseStorage", storage), sampler=RandomSampler())
    known = [name for name in names if any(name in trial.params for trial in trials)]
    evaluator = PedAnovaImportanceEvaluator()

    def raw(drawn: Sequence[FrozenTrial]) -> Numbers:
        storage.drawn = drawn
        present = [name for name in known if any(name in trial.params for trial in drawn)]
        found = evaluator.evaluate(study, params=present)
        return np.array([found.get(name, 0.0) for name in names])

    generator = np.random.default_rng(seed)
    n, ranks = len(trials), [cast("float", trial.value) for trial in trials]
    with warnings.catch_warnings():
        # It warns of small groups and of equal values, which the noise shows better.
        warnings.simplefilter("ignore")
        estimate = raw(trials)
        resampled = [
            _normalised(raw([trials[i] for i in generator.integers(0, n, n)]))
            for _ in range(N_DRAWS)
        ]
        shuffled = []
        for _ in range(N_DRAWS):
            for trial, place in zip(trials, generator.permutation(n), strict=True):
                trial.value = ranks[place]
            shuffled.append(raw(trials))
    share = _normalised(estimate)
    low, high = np.quantile(resampled, INTERVAL, axis=0)
    middle = np.median(resampled, axis=0)
    low = np.clip(np.minimum(low, share + low - middle), 0, 1)
    high = np.clip(np.maximum(high, share + high - middle), 0, 1)
    noise = np.quantile(shuffled, NOISE, axis=0) / (estimate.sum() or 1.0)
    beyond = share > noise
    order = sorted(range(len(names)), key=lambda i: -share[i])
    return tuple(
        Importance(
            name=names[i],
            share=float(share[i]),
            low=float(low[i]),
            high=float(high[i]),
            noise=float(noise[i]),
            verdict=_verdict(share[i], low[i], noise[i], others=share[beyond].sum() - share[i]),
        )
        for i in order
    )


def _normalised(raw: Numbers) -> Numbers:
    return raw / (raw.sum() or 1.0)


def _verdict(share: float, low: float, noise: float, *, others: float) -> Verdict:
    if share <= noise:
        return "noise"
    if low <= noise:
        return "may matter"
    return "decides" if share > others else "matters"
