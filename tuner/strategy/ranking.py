"""Which finished trials are better than others, and which of them tell a sampler something."""

import copy
import heapq
import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

#: Good trials that Optuna's TPE builds on, at most.
N_BEST = 25
#: Newest trials that it looks at besides.
N_NEWEST = 1_000

#: Sorts as the trial does: the smaller the better.
RankKey: TypeAlias = tuple[int, float, float]


def rank_key(directions: Sequence[StudyDirection]) -> Callable[[FrozenTrial], RankKey]:
    """Give the key by which finished trials sort, best first, in the order of Optuna's TPE.

    Complete trials come first, by value; then pruned ones, those that got far before others, then
    by their last report; then those that violate a constraint, by how much.

    Args:
        directions: Of the study's objectives; of several, values and reports decide nothing.
    """
    signs = {StudyDirection.MAXIMIZE: -1.0, StudyDirection.MINIMIZE: 1.0}
    sign = signs[directions[0]] if len(directions) == 1 else None

    def by(value: float) -> float:
        return math.inf if math.isnan(value) else sign * value if sign else 0.0

    def key(trial: FrozenTrial) -> RankKey:
        if trial.system_attrs and (excess := sum(v for v in trial.constraints.values() if v > 0)):
            return (2, excess, 0.0)
        if trial.state == TrialState.COMPLETE:
            return (0, by(trial.values[0]), 0.0)
        step, value = max(trial.intermediate_values.items(), default=(-1, 0.0))
        return (1, -float(step), by(value))

    return key


def telling(
    trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]
) -> list[FrozenTrial]:
    """Leave out the trials of a long study that TPE would hardly notice.

    Its good density is made of at most `N_BEST` trials. Of the others it wants to know where the
    search has been; there the older ones weigh less and less. So the best of all and the newest
    others do, and a proposal takes as long after 10,000 trials as after 1,000.

    Args:
        trials: Of a study, by number.
        directions: Of its objectives; with several, all trials stay.

    Returns:
        Those to look at, by number.
    """
    finished = [t for t in trials if t.state in {TrialState.COMPLETE, TrialState.PRUNED}]
    if len(directions) > 1 or len(finished) <= N_NEWEST + N_BEST:
        return list(trials)
    best = heapq.nsmallest(N_BEST, finished[:-N_NEWEST], key=rank_key(directions))
    running = [t for t in trials if t.state == TrialState.RUNNING]
    return sorted([*best, *finished[-N_NEWEST:], *running], key=lambda trial: trial.number)


def on_their_way(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Let running trials count by their last report, like pruned ones.

    TPE's constant liar takes running trials for bad ones, so that parallel workers spread out. But
    one that has passed rung after rung is among the best that there are, and with pruning few
    others are complete yet: to keep away from it is to keep away from where good trials are.

    Args:
        trials: Of a study, by number; none is changed.

    Returns:
        The same, with copies of the running trials that have reported.
    """
    return [
        _as_if_pruned(trial)
        if trial.state == TrialState.RUNNING and trial.intermediate_values
        else trial
        for trial in trials
    ]


def with_all_values(
    trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]
) -> list[FrozenTrial]:
    """Let pruned trials of a study with several objectives count by their values.

    Optuna cannot compare pruned trials there and takes the oldest ones for the best. They have a
    value of each objective, those of when they ended.

    Args:
        trials: Of a study, by number; none is changed.
        directions: Of its objectives; with one, all trials stay as they are.

    Returns:
        The same, with copies of the pruned trials that have all values.
    """
    if len(directions) == 1:
        return list(trials)
    return [
        _as_if_complete(trial)
        if trial.state == TrialState.PRUNED and len(trial.values or ()) == len(directions)
        else trial
        for trial in trials
    ]


def _as_if_complete(trial: FrozenTrial) -> FrozenTrial:
    seen = copy.copy(trial)
    seen.state = TrialState.COMPLETE
    return seen


def _as_if_pruned(trial: FrozenTrial) -> FrozenTrial:
    seen = copy.copy(trial)
    seen.state = TrialState.PRUNED
    return seen
