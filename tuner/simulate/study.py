"""A stored study as a recording: its trials, as if they were all that there is to try."""

import math
import statistics
from collections.abc import Sequence

from tuner.domain import Fixed, Point, contains
from tuner.errors import InputError, NoUsableTrialError
from tuner.metrics import Direction, best_so_far
from tuner.params import DEFAULTS
from tuner.results import TrialRow, learning_curves, trials
from tuner.simulate.recording import Candidate, Recording
from tuner.space import Space
from tuner.storage import Database, StoredStudy


def read_recording(database: Database, study: StoredStudy) -> Recording:
    """Read the trials of a study that are done.

    A trial that the study itself has pruned is known until then only, and ends there in a replay
    too: a study that was run without pruner tells most.

    Raises:
        InputError: It has several objectives.
        NoUsableTrialError: Fewer than two trials are complete, or all are worth the same.
    """
    config = study.config
    if config.metrics is not None:
        raise InputError(
            f"Study {config.name!r} has several objectives ({', '.join(config.metrics)}), and "
            f"regret is counted in one. Expected a study with a single metric."
        )
    curves = learning_curves(database, study)
    rows = [
        row
        for row in trials(database, study)
        if row.state in {"complete", "pruned"} and row.number in curves
    ]
    inside = [(row, p) for row in rows if (p := _point(config.space, row)) is not None]
    candidates = [
        Candidate(params=point, reports=_until_it_diverges(curves[row.number]))
        for row, point in inside
    ]
    n_complete = sum(row.state == "complete" for row, _ in inside)
    values = _values(candidates, config.direction)
    better, worse = (max, min) if config.direction == "maximize" else (min, max)
    poor = statistics.median(values) if values else math.nan
    if values and poor == better(values):
        poor = worse(values)
    if n_complete < 2 or poor == better(values):
        n_outside = len(rows) - len(inside)
        outside = f" inside its space of today ({n_outside} lie outside)" if n_outside else ""
        raise NoUsableTrialError(
            f"Study {config.name!r} has {n_complete} complete trials of {len(set(values))} "
            f"different values{outside}. Expected two at least: there is nothing to "
            f"choose from. Run it first, best with `pruner.name=none`."
        )
    return Recording(
        name=config.name,
        space=config.space,
        direction=config.direction,
        epochs=config.budget.epochs,
        candidates=tuple(candidates),
        best=better(values),
        poor=poor,
        scale=f"0 is the study's best {config.metric}, {better(values):.4f}; "
        f"1 is that of its median trial, {poor:.4f}",
    )


def _values(candidates: Sequence[Candidate], direction: Direction) -> list[float]:
    found = []
    for candidate in candidates:
        finite = {step: value for step, value in candidate.reports if math.isfinite(value)}
        value = best_so_far(finite, max(finite, default=0), direction)
        if value is not None:
            found.append(value)
    return found


def _until_it_diverges(curve: Sequence[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    end = next((k for k, (_, value) in enumerate(curve) if not math.isfinite(value)), len(curve))
    return tuple(curve[: end + 1])


def _point(space: Space, row: TrialRow) -> Point | None:
    """Give the values that were drawn; None where one lies outside the space as it is now."""
    known = DEFAULTS | dict(row.params)
    point = {
        p.name: row.params[p.name]
        for p in space.parameters
        if not isinstance(p.domain, Fixed) and p.name in row.params and p.active(known)
    }
    domains = {p.name: p.domain for p in space.parameters}
    return point if all(contains(domains[name], value) for name, value in point.items()) else None
