"""What must hold in the database once a study is done, whatever died on the way."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.acceptance.chaos import objectives
from tests.acceptance.chaos.certificate import Check
from tests.acceptance.chaos.rows import StudyRows, TrialRow


def check_study(name: str, rows: StudyRows, n_slots: int) -> Iterator[Check]:
    """Check what holds for every study.

    Args:
        name: Of the study, for the problems.
        rows: The study.
        n_slots: Its budget.
    """
    trials = rows.trials.values()

    def check(sentence: str, n_checked: int, problems: list[str], note: str = "") -> Check:
        told = tuple(f"{name}: {problem}" for problem in problems)
        return Check(name=sentence, n_checked=n_checked, problems=told, note=note)

    states = Counter(slot.state for slot in rows.slots)
    right = [slot.slot for slot in rows.slots] == list(range(n_slots)) and states["done"] == n_slots
    yield check(
        "each slot of the budget is done",
        n_slots,
        [] if right else [f"{dict(states)} of {n_slots} slots"],
    )
    yield check(
        "no lease is left",
        n_slots,
        [f"slot {slot.slot} is held" for slot in rows.slots if slot.state == "held"],
    )
    linked = Counter(slot.trial_id for slot in rows.slots)
    yield check(
        "each slot has one trial of the study, each trial one slot",
        len(linked),
        [
            f"slot {slot.slot} has trial id {slot.trial_id}, of {linked[slot.trial_id]} slots"
            for slot in rows.slots
            if slot.trial_id not in rows.trials or linked[slot.trial_id] != 1
        ]
        + [f"trial {t.number} has no slot" for t in trials if t.trial_id not in linked],
    )
    # The objective always gives the same, so that a double could write the right numbers, too.
    yield check(
        "each trial was ended by the worker that had its slot",
        len(trials),
        [
            f"trial {trial.number}: ended by {trial.worker}, slot {slot.slot} is {slot.worker}'s"
            for slot in rows.slots
            if (trial := rows.trials.get(slot.trial_id or 0)) and trial.worker != slot.worker
        ],
    )
    numbers = sorted(trial.number for trial in trials)
    yield check(
        "trials are numbered from 0 without gaps",
        len(numbers),
        [] if numbers == list(range(n_slots)) else [f"{len(numbers)} numbers: {numbers}"],
    )
    yield check(
        "each trial is COMPLETE, PRUNED or FAIL",
        len(trials),
        [
            f"trial {trial.number} is {trial.state}"
            for trial in trials
            if trial.state not in {"COMPLETE", "PRUNED", "FAIL"}
        ],
    )
    yield check(
        "each trial has the params of its slot",
        sum(len(trial.params) for trial in trials),
        [
            f"trial {trial.number}: {key} is {value} and {rows.params_of(trial).get(key)}"
            for trial in trials
            for key, value in trial.params.items()
            if rows.params_of(trial).get(key) != value
        ],
    )
    complete = [trial for trial in trials if trial.state == "COMPLETE"]
    yield check(
        "each complete trial has one value",
        len(complete),
        [f"trial {t.number} has the values {t.values}" for t in complete if len(t.values) != 1],
    )
    yield check(
        "reports were written once each, in rising steps",
        sum(len(trial.reports) for trial in trials),
        [
            f"trial {trial.number} has steps {[step for step, _ in trial.reports]}"
            for trial in trials
            if any(a[0] >= b[0] for a, b in itertools.pairwise(trial.reports))
        ],
    )
    pruned = [trial for trial in trials if trial.state == "PRUNED"]
    yield check(
        "each pruned trial says why",
        len(pruned),
        [f"trial {trial.number} has no reason" for trial in pruned if not trial.reason],
    )
    failed = [trial for trial in trials if trial.state == "FAIL"]
    yield check(
        "trials failed only because their trainers were killed again and again",
        len(failed),
        [f"trial {t.number}: {t.reason}" for t in failed if " died " not in (t.reason or "")],
    )


def check_formula(name: str, rows: StudyRows) -> Iterator[Check]:
    """Compute every number of a study of the tiny objective again and compare exactly."""
    values, reports = [], []
    # A trial without a slot is told of elsewhere.
    trials = [trial for trial in rows.trials.values() if rows.params_of(trial)]
    complete = [trial for trial in trials if trial.state == "COMPLETE"]
    for trial in complete:
        value = objectives.value_of(rows.params_of(trial))
        if trial.values != [value]:
            values.append(f"{name}: trial {trial.number} has {trial.values} and not {value!r}")
    for trial in trials:
        expected = list(objectives.reports_of(rows.params_of(trial)).items())
        if trial.state != "COMPLETE":
            expected = expected[: len(trial.reports)]
        if trial.reports != expected:
            reports.append(f"{name}: trial {trial.number} has {trial.reports} and not {expected}")
        if trial.state == "PRUNED" and trial.values != [v for _, v in trial.reports[-1:]]:
            values.append(f"{name}: trial {trial.number}, pruned, has {trial.values}")
    yield Check(
        name="values are what the params give", n_checked=len(trials), problems=tuple(values)
    )
    yield Check(
        name="reports are what the params give",
        n_checked=sum(len(trial.reports) for trial in trials),
        problems=tuple(reports),
    )


def check_trained_again(
    name: str,
    rows: StudyRows,
    sample: list[TrialRow],
    train: Callable[[Mapping[str, Any]], tuple[float, list[tuple[int, float]]]],
) -> Check:
    """Train some complete trials again and compare bit for bit.

    Args:
        name: Of the study.
        rows: The study.
        sample: Which trials.
        train: From params to value and reports.
    """
    problems = []
    for trial in sample:
        value, reports = train(rows.params_of(trial))
        if trial.values != [value]:
            problems.append(f"{name}: trial {trial.number} has {trial.values} and now {value!r}")
        if trial.reports != reports:
            problems.append(f"{name}: trial {trial.number} has {trial.reports} and now {reports}")
    return Check(
        name="values and reports are the same in a fresh training",
        n_checked=len(sample),
        problems=tuple(problems),
    )
