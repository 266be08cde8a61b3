"""The study that confirms another one: its finalists, its slots, its first stage."""

from tuner.config import BudgetConfig, PrunerConfig, SamplerConfig, StudyConfig
from tuner.confirmation import SUFFIX, Confirmation, Finalist
from tuner.domain import Point, point_key
from tuner.errors import InputError
from tuner.feasible import beyond_limits
from tuner.results import TrialRow, best_trials, progress
from tuner.storage import (
    Database,
    Plan,
    StoredStudy,
    agree_on_data,
    create_study,
    find_study,
    known_fingerprint,
    study_names,
)
from tuner.storage.studies import check_name


def finalists(
    database: Database, study: StoredStudy, *, top: int
) -> tuple[tuple[Finalist, Point], ...]:
    """Choose the points that are trained again: the best ones of a study, and its default point.

    Args:
        database: Where the study is.
        study: The study.
        top: How many of the best.

    Returns:
        Each with its values of the tuned parameters; the best first score first, and a default
        point that is not among them last.

    Raises:
        InputError: The study is not over, or confirms another one.
        NoUsableTrialError: It has no complete trial.
    """
    config = study.config
    _check_over(database, study)
    default = config.space.default_point()
    different = _different(database, study)
    best = dict(list(different.items())[:top])
    chosen = [_finalist(row, is_default=key == point_key(default)) for key, row in best.items()]
    points = [config.space.default_point(row.params) for row in best.values()]
    if point_key(default) not in best and not beyond_limits(config, study.shape, default):
        known = different.get(point_key(default))
        chosen.append(
            Finalist(trial=None, value=None, is_default=True)
            if known is None
            else _finalist(known, is_default=True)
        )
        points.append(default)
    return tuple(zip(chosen, points, strict=True))


def newcomers(database: Database, study: StoredStudy, confirmation: Confirmation) -> list[int]:
    """List the trials that have come to be among the best since it was chosen whom to confirm.

    Args:
        database: Where the study is.
        study: The study, which may have been extended since, and may go on.
        confirmation: What confirms it.
    """
    known = {one.trial for one in confirmation.finalists}
    best = list(_different(database, study).values())[: confirmation.top]
    return [row.number for row in best if row.number not in known]


def _different(database: Database, study: StoredStudy) -> dict[str, TrialRow]:
    """Give the best trial of each point, the best point first."""
    different: dict[str, TrialRow] = {}
    for row in best_trials(database, study, top=None, by_first=True):
        # Of a trial that somebody made without a slot we do not know all that it was trained with.
        if row.slot is not None:
            point = study.config.space.default_point(row.params)
            different.setdefault(point_key(point), row)
    return different


def _check_over(database: Database, study: StoredStudy) -> None:
    config = study.config
    if config.confirms is not None:
        raise InputError(
            f"Study {config.name!r} confirms {config.confirms.study!r} itself. Name a search: "
            f"`tuner confirm {config.confirms.study}`."
        )
    now = progress(database, study)
    if not now.is_over:
        raise InputError(
            f"Study {config.name!r} is not over: {now.slots.done} of {now.slots.total} trials are "
            f"done, and finalists are chosen once. Wait for its end, or end it with `tuner stop "
            f"{config.name}`."
        )


def _finalist(row: TrialRow, *, is_default: bool) -> Finalist:
    return Finalist(trial=row.number, value=row.value, is_default=is_default)


def begin(database: Database, study: StoredStudy, *, top: int, seeds: int) -> StoredStudy:
    """Store the study that confirms another one, or find it stored.

    Args:
        database: Where both are.
        study: The study to confirm.
        top: How many of its best trials are trained again.
        seeds: Trainings of each, in each stage.

    Returns:
        The study that confirms, with the slots of its first stage.

    Raises:
        InputError: As `finalists`; or the name is too long, or another study's.
        NoUsableTrialError: As `finalists`.
    """
    chosen = finalists(database, study, top=top)
    confirmation = Confirmation(
        study=study.config.name,
        top=top,
        seeds=seeds,
        finalists=tuple(finalist for finalist, _ in chosen),
    )
    config = study.config.model_copy(
        update={
            "name": f"{study.config.name}{SUFFIX}",
            "metrics": None,  # the first of several objectives decides
            "constraints": {},  # all finalists keep to them
            "budget": BudgetConfig(trials=confirmation.n_first, epochs=study.config.budget.epochs),
            "sampler": SamplerConfig(name="random"),  # it has nothing to propose
            "pruner": PrunerConfig(name="none"),
            "confirms": confirmation,
        }
    )
    check_name(config.name)
    _check_free(database, config)
    plans = [plan_of(config, finalist, point) for finalist, point in chosen for _ in range(seeds)]
    created = create_study(database, config, begin_with=plans).study
    fingerprint = known_fingerprint(database, study)
    if fingerprint is not None:
        agree_on_data(database, created, fingerprint)
    return created


def _check_free(database: Database, config: StudyConfig) -> None:
    name = config.name
    if name in study_names(database) and find_study(database, name).config != config:
        raise InputError(
            f"Study {name!r} is stored already and confirms something else. Drop it with "
            f"`tuner delete {name}`, or give it another name with `tuner rename {name} NAME`."
        )


def plan_of(config: StudyConfig, finalist: Finalist, point: Point) -> Plan:
    """Plan one training of a finalist.

    Args:
        config: The study that confirms.
        finalist: Which one.
        point: Its values.
    """
    study = config.confirms.study if config.confirms is not None else config.name
    whose = "the default point" if finalist.trial is None else f"{study}/{finalist.trial}"
    return Plan(point=point, origin=f"confirms {whose}")
