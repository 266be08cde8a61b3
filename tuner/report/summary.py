"""A study in a few sentences."""

from tuner.report.material import Material
from tuner.report.words import count, duration, listed, moment, number
from tuner.report.work import Shift


def summary(material: Material, shifts: tuple[Shift, ...]) -> tuple[str, ...]:
    """Write the sentences, one paragraph each."""
    return tuple(
        paragraph
        for paragraph in (
            _progress_words(material),
            _best_words(material),
            _confirmed_words(material),
            _importance_words(material),
            _time_words(material, shifts),
        )
        if paragraph
    )


def _progress_words(material: Material) -> str:
    config, now = material.config, material.progress
    goal = "highest" if config.direction == "maximize" else "lowest"
    states = [
        f"{now.trials[state]:,} {state}"
        for state in ("complete", "pruned", "failed", "running", "waiting")
        if now.trials.get(state)
    ]
    counts = f"{now.slots.done:,} of {count(now.slots.total, 'trial')} are done"
    told = f"{counts}: {listed(states)}" if states else counts
    superseded = sum(row.superseded for row in material.rows)
    if superseded:
        told += f"; {count(superseded, 'failed trial was', 'failed trials were')} given another go"
    further = [
        f"{'high' if direction == 'maximize' else 'low'} {name}"
        for name, direction in zip(config.objectives[1:], config.directions[1:], strict=True)
    ]
    goals = listed([f"the {goal} {config.metric}", *further])
    words = f"This study looks for {goals}. {told}."
    if foreign := sum(row.slot is None and not row.superseded for row in material.rows):
        words += (
            f" {count(foreign, 'more trial was', 'more trials were')} made by other means, outside "
            f"the budget."
        )
    return f"{words} {_standing(material)}"


def _standing(material: Material) -> str:
    now = material.progress
    if now.ended is not None:
        return f"It ended before its budget was used up: {now.message.partition(chr(10))[0]}"
    if now.is_over:
        return "It is over."
    if not now.slots.held:
        return "Nobody works on it now."
    if now.eta_seconds is None:
        return f"{count(now.slots.held, 'trial runs', 'trials run')} now."
    return (
        f"{count(now.slots.held, 'trial runs', 'trials run')} now; at this pace it takes another "
        f"{duration(now.eta_seconds)}."
    )


def _best_words(material: Material) -> str:
    if not material.best:
        return "No trial has a value yet."
    metric, best = material.config.metric, material.best[0]
    if material.front:
        n_front = len(material.front)
        return (
            f"The best {metric} is {number(best.value or 0.0)}, of trial {best.number}. "
            f"{count(n_front, 'trial is', 'trials are')} on the Pareto front: no other one is as "
            f"good in all of {listed(material.config.objectives)} and better in one."
        )
    words = f"The best, trial {best.number}, has {metric} {number(best.value or 0.0)}"
    if len(material.best) > 1:
        lead = abs((best.value or 0.0) - (material.best[1].value or 0.0))
        words += f", {lead:.2g} ahead of the next" if lead else ", as the next one has"
    ranked = material.ranked
    if len(ranked) >= 10:
        middle = ranked[len(ranked) // 2].value or 0.0
        words += f"; half of the complete trials have {number(middle)} or better"
    return f"{words}."


def _confirmed_words(material: Material) -> str:
    found = material.confirmed
    if found is None:
        return ""
    figure = found.figure
    luck = f"{found.luck:.2g} better by luck" if found.luck > 0 else f"{-found.luck:.2g} worse"
    return (
        f"Confirmed with fresh seeds and by examples that chose nothing: trial {found.trial}, "
        f"whose {found.metric} is {number(figure.value)} (95 % interval {number(figure.low)} to "
        f"{number(figure.high)}). Its first score was {luck}."
    )


def _importance_words(material: Material) -> str:
    if material.importances is None:
        return material.why_no_importances
    return material.importances.reading


def _time_words(material: Material, shifts: tuple[Shift, ...]) -> str:
    starts = [row.started for row in material.rows if row.started is not None]
    if not starts:
        return ""
    ends = [row.ended or material.now for row in material.rows if row.started is not None]
    begin, end = min(starts), max(ends)
    words = f"It began {moment(begin)}"
    if end < material.now:
        words += f" and the last trial ended {moment(end)}"
    words += f", {duration((end - begin).total_seconds())} in all."
    busy = sum(material.seconds(row) for row in material.rows)
    words += f" The trials together took {duration(busy)}"
    if shifts:
        hosts = len({shift.host for shift in shifts})
        words += f", with {count(len(shifts), 'worker')} on {count(hosts, 'machine')}"
    return f"{words}."
