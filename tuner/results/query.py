"""The trials of a study, the best of them, and everything about one."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.storages._rdb import models
from sqlalchemy import func, select

from tuner.errors import InputError, NoUsableTrialError
from tuner.results.rows import best_rows, drawn_params, select_trials, trial_row
from tuner.results.values import TrialDetails, TrialRow
from tuner.storage import Database, StoredStudy
from tuner.storage.remaining import count_slots
from tuner.storage.reports import read_reports, table_of_reports
from tuner.storage.schema import CONSTRAINT, SLOTS


def trials(database: Database, study: StoredStudy) -> tuple[TrialRow, ...]:
    """Read every trial of a study, by number."""
    with database.transaction() as session:
        rows = session.execute(select_trials(study).order_by(models.TrialModel.number)).all()
        drawn = drawn_params(session, [row.trial_id for row in rows if row.slot is None])
    return tuple(trial_row(row, drawn.get(row.trial_id)) for row in rows)


def best_trials(
    database: Database, study: StoredStudy, *, top: int | None, by_first: bool = False
) -> tuple[TrialRow, ...]:
    """Read the best complete trials, best first, of equals the earlier first.

    With several objectives these are the trials that no other one outdoes, in the order of the
    first objective.

    Args:
        database: Where the study is.
        study: The study.
        top: How many at most; None for all.
        by_first: Whether of several objectives only the first one counts.

    Raises:
        NoUsableTrialError: No trial has a value yet.
    """
    with database.transaction() as session:
        rows = best_rows(session, study, top, by_first=by_first)
        counts = count_slots(session, study.study_id) if not rows else None
    if counts is not None:
        told = f"{counts.done} of {counts.total} slots are done and {counts.held} held"
        way_out = (
            f"Look at why with `tuner trials {study.config.name}`."
            if counts.done == counts.total
            else f"Start a worker with `tuner work {study.config.name}`, or wait."
        )
        raise NoUsableTrialError(
            f"Study {study.config.name!r} has no complete trial yet: {told}. {way_out}"
        )
    return rows


def show_trial(database: Database, study: StoredStudy, number: int) -> TrialDetails:
    """Read everything about one trial.

    Raises:
        InputError: There is no such trial.
    """
    attributes = models.TrialUserAttributeModel
    with database.transaction() as session:
        found = session.execute(
            select_trials(study).where(models.TrialModel.number == number)
        ).one_or_none()
        if found is None:
            raise InputError(
                f"Study {study.config.name!r} has no trial {number}. "
                f"List them with `tuner trials {study.config.name}`."
            )
        reports = read_reports(session, study, found.trial_id)
        facts, constraints = (
            session.execute(
                select(table.key, table.value_json)
                .where(table.trial_id == found.trial_id)
                .order_by(table.key)
            ).all()
            for table in (attributes, models.TrialSystemAttributeModel)
        )
        drawn = drawn_params(session, [found.trial_id] if found.slot is None else [])
    return TrialDetails(
        row=trial_row(found, drawn.get(found.trial_id)),
        reports=reports,
        attributes={key: json.loads(value) for key, value in facts},
        constraints={
            key.removeprefix(CONSTRAINT): json.loads(value)
            for key, value in constraints
            if key.startswith(CONSTRAINT)
        },
        micro_batches=found.micro_batches or 1,
        origin=found.origin,
    )


def most_micro_batches(database: Database, study: StoredStudy, numbers: Sequence[int]) -> int:
    """Say into how many parts the batches of some trials were cut to save memory, at most.

    Args:
        database: Where the study is.
        study: The study.
        numbers: Of the trials; those that are not there count as not cut.
    """
    statement = (
        select(func.max(SLOTS.c.micro_batches))
        .join(models.TrialModel, models.TrialModel.trial_id == SLOTS.c.trial_id)
        .where(SLOTS.c.study_id == study.study_id, models.TrialModel.number.in_(numbers))
    )
    with database.transaction() as session:
        return session.execute(statement).scalar_one() or 1


def learning_curves(
    database: Database, study: StoredStudy
) -> Mapping[int, tuple[tuple[int, float], ...]]:
    """Read all reports of all trials.

    Returns:
        Trial number to (step, value) by step; trials without reports are left out.
    """
    trial, reports = models.TrialModel, table_of_reports(study.config)
    report = reports.c
    statement = (
        select(
            trial.number,
            report.step,
            report.intermediate_value,
            report.intermediate_value_type,
        )
        .join(reports, report.trial_id == trial.trial_id)
        .where(trial.study_id == study.study_id)
        .order_by(trial.number, report.step)
    )
    curves: dict[int, list[tuple[int, float]]] = {}
    with database.transaction() as session:
        for number, step, value, kind in session.execute(statement):
            told = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value(value, kind)
            curves.setdefault(number, []).append((step, told))
    return {number: tuple(curve) for number, curve in curves.items()}


def trial_attributes(
    database: Database, study: StoredStudy, names: Sequence[str]
) -> Mapping[int, Mapping[str, Any]]:
    """Read some facts of all trials, such as ``host`` or ``reason``.

    Args:
        database: Where the study is.
        study: The study.
        names: Attributes that are wanted.

    Returns:
        Trial number to name to fact; what a trial lacks is left out.
    """
    trial, fact = models.TrialModel, models.TrialUserAttributeModel
    statement = (
        select(trial.number, fact.key, fact.value_json)
        .join(fact, fact.trial_id == trial.trial_id)
        .where(trial.study_id == study.study_id, fact.key.in_(names))
        .order_by(trial.number)
    )
    facts: dict[int, dict[str, Any]] = {}
    with database.transaction() as session:
        for number, key, value in session.execute(statement):
            facts.setdefault(number, {})[key] = json.loads(value)
    return facts
