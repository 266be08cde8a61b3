"""One study that might have been: recorded trainings, run by many workers in simulated time."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from tuner.config import SAMPLER_NOTES, PrunerName, SamplerConfig, SamplerName
from tuner.domain import Point
from tuner.errors import InputError
from tuner.first_points import first_points, n_first_points
from tuner.metrics import best_so_far
from tuner.simulate.nearest import Nearest
from tuner.simulate.recording import Candidate, Recording
from tuner.storage.schema import CONSTRAINT
from tuner.strategy import Search, make_rule, propose_point


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What is asked of a recording."""

    #: Who proposes.
    sampler: SamplerName
    #: Who ends trials.
    pruner: PrunerName
    #: Workers that run side by side.
    n_workers: int
    #: Decides all random draws.
    seed: int
    #: In whole trainings, rising: when to look; infinity for when all are used.
    costs: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What came of it."""

    #: The regret at each cost.
    regrets: tuple[float, ...]
    #: What all was spent, in whole trainings.
    cost: float
    #: Trials that were begun.
    n_trials: int
    #: Whether every training was used, and all ended.
    is_exhausted: bool
    #: The regret of the best complete trial when it was over.
    final_regret: float
    #: Places in the recording of the trainings that ran to their end.
    completed: tuple[int, ...]


@dataclass(kw_only=True)
class _Running:
    """A trial that a simulated worker runs."""

    trial: FrozenTrial
    place: int
    candidate: Candidate
    reports: dict[int, float]

    @property
    def next_report(self) -> tuple[int, float]:
        return self.candidate.reports[len(self.reports)]


def replay(recording: Recording, asked: Replay) -> Replayed:
    """Run a study on recorded trainings.

    All workers start at time 0. A worker asks the sampler for a point, takes the unused training
    that is nearest to it, and hears its reports one after the other; a report takes as long as the
    steps since the one before. Of reports at the same time the one of the lower worker comes first.
    After each one, the rule may end the trial, and the worker begins the next at once. The sampler
    sees what a worker's history shows: all trials with the recorded params, running and pruned ones
    with their last report, diverged ones with a violated constraint.

    The cost so far is the sum of all reports that have come; a report counts once it is there. The
    regret at a cost is that of the best value reported until then, from the end of the first epoch
    on, by whatever trial: complete, running or pruned. (The best complete trial comes later, by as
    long as its training takes after its best epoch.)

    Args:
        recording: The trainings.
        asked: How.

    Returns:
        Regrets at the costs; where the trainings do not suffice for one, what all of them gave.
    """
    study = _Study(recording, asked)
    waiting = [(0, worker) for worker in range(asked.n_workers)]  # time in steps, by whom
    running: dict[int, _Running] = {}
    limits = [cost * recording.last_step for cost in asked.costs]
    regrets: list[float] = []
    spent = 0
    is_whole = math.isinf(limits[-1])
    while waiting and len(regrets) < len(limits):
        if not is_whole and study.best is not None and recording.regret(study.best) == 0.0:
            break  # nothing better is there to be found
        now, worker = heapq.heappop(waiting)
        if worker in running:
            trial = running[worker]
            before = max(trial.reports, default=0)
            spent += trial.next_report[0] - before
            while len(regrets) < len(limits) and spent > limits[len(regrets)]:
                regrets.append(recording.regret(study.best))
            if study.hear(trial):
                del running[worker]
        if worker not in running:
            begun = study.begin()
            if begun is None:
                continue  # nothing is left to train
            running[worker] = begun
        after = running[worker]
        pause = after.next_report[0] - max(after.reports, default=0)
        heapq.heappush(waiting, (now + pause, worker))
    regrets += [recording.regret(study.best)] * (len(limits) - len(regrets))
    return Replayed(
        regrets=tuple(regrets),
        cost=spent / recording.last_step,
        n_trials=len(study.trials),
        is_exhausted=not waiting and not running,
        final_regret=recording.regret(study.best_complete),
        completed=tuple(study.completed),
    )


def _opening(recording: Recording, search: Search) -> list[Point]:
    """Plan the first trials, as `create` does; of a grid all."""
    if search.sampler == "grid":
        if recording.space.size() is None:
            raise InputError(
                f"The space of {recording.name!r} has no end, and a grid runs each point. Expected "
                f"another sampler: tpe, nsga2, random, gp or cmaes."
            )
        return list(recording.space.points())
    if not SamplerConfig(name=search.sampler, allow_pickle=True).learns:
        return []
    n = n_first_points(search.n_trials)
    return first_points(recording.space, n=n, seed=search.seed)


class _Study:
    """The trials so far, as sampler and rule see them."""

    def __init__(self, recording: Recording, asked: Replay) -> None:
        self.trials: list[FrozenTrial] = []
        #: Best value that was reported.
        self.best: float | None = None
        #: Best value of a complete trial.
        self.best_complete: float | None = None
        #: Places in the recording of what the complete trials trained.
        self.completed: list[int] = []
        self._recording = recording
        self._rule = make_rule(asked.pruner, epochs=recording.epochs)
        self._search = Search(
            name=recording.name,
            direction=recording.direction,
            space=recording.space,
            sampler=asked.sampler,
            n_trials=len(recording.candidates),
            seed=asked.seed,
        )
        self._planned = _opening(recording, self._search)
        self._nearest = Nearest(recording.space, [c.params for c in recording.candidates])
        self._free = np.ones(len(recording.candidates), dtype=np.bool_)
        # Step to trial number to the best value by then, of the trials that reported there.
        self._standings: dict[int, dict[int, float]] = {}

    def begin(self) -> _Running | None:
        """Begin a trial; None where every training is used."""
        if not self._free.any():
            return None
        number = len(self.trials)
        planned = self._planned[number] if number < len(self._planned) else {}
        proposed, point = propose_point(
            lambda: self.trials, self._search, slot=number, planned=planned, taken=()
        )
        chosen = self._nearest.find(point, self._free)
        self._free[chosen] = False
        candidate = self._recording.candidates[chosen]
        drawn = FixedTrial(dict(candidate.params))
        self._recording.space.draw(drawn)
        notes = {k: v for k, v in proposed.system_attrs.items() if k.startswith(SAMPLER_NOTES)}
        trial = create_trial(
            state=TrialState.RUNNING,
            params=drawn.params,
            distributions=drawn.distributions,
            system_attrs=notes,
        )
        trial.number = trial._trial_id = number
        self.trials.append(trial)
        return _Running(trial=trial, place=chosen, candidate=candidate, reports={})

    def hear(self, running: _Running) -> bool:
        """Take the next report of a trial.

        Returns:
            Whether the trial has ended with it.
        """
        trial, direction = running.trial, self._recording.direction
        step, value = running.next_report
        if not math.isfinite(value):
            self._end(running, TrialState.PRUNED)
            trial.value = None
            trial.system_attrs[f"{CONSTRAINT}diverged"] = 1.0
            return True
        running.reports[step] = value
        trial.intermediate_values = {step: value}
        now = best_so_far(running.reports, step, direction)
        if now is not None:
            self._standings.setdefault(step, {})[trial.number] = now
            self.best = self._better(self.best, now)
        if step >= self._recording.last_step:
            self._end(running, TrialState.COMPLETE)
            trial.value = now
            self.best_complete = self._better(self.best_complete, now)
            self.completed.append(running.place)
            return True
        if self._is_hopeless(running) or len(running.reports) == len(running.candidate.reports):
            self._end(running, TrialState.PRUNED)
            return True
        return False

    def _is_hopeless(self, running: _Running) -> bool:
        rung = None if self._rule is None else self._rule.rung(max(running.reports))
        if self._rule is None or rung is None:
            return False
        there = self._standings.get(rung, {})
        rivals = [value for number, value in there.items() if number != running.trial.number]
        return self._rule.verdict(running.reports, rivals, self._recording.direction).prune

    @staticmethod
    def _end(running: _Running, state: TrialState) -> None:
        running.trial.state = state
        if state == TrialState.PRUNED and running.reports:
            running.trial.value = running.reports[max(running.reports)]

    def _better(self, one: float | None, other: float | None) -> float | None:
        known: Sequence[float] = [value for value in (one, other) if value is not None]
        better = max if self._recording.direction == "maximize" else min
        return better(known, default=None)
