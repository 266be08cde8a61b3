"""Samplers propose without a write and learn; the rung rule ends what is hopeless, and no more."""

import itertools
import logging
import math
import statistics
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import optuna
import pytest
from optuna.samplers import RandomSampler, TPESampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState, create_trial
from sqlalchemy import MetaData, func, select

from tests.conftest import StudyMaker
from tuner.config import SamplerName, StudyConfig
from tuner.domain import contains, point_key
from tuner.errors import InputError
from tuner.metrics import Direction
from tuner.params import GRUParams
from tuner.storage import Database, create_study
from tuner.storage.history import History
from tuner.strategy import ReadTrials, RungPruner, RungRule, make_rule, make_sampler, propose
from tuner.strategy.genetic import GeneticSampler

STEPS = (1, 2, 3, 4, 8, 12)

FINITE = ("space={units=[32,64],layers=[1,2],dropout={low=0.0,high=0.6,step=0.3}}",)
#: Two branches, of which only one has a dropout between layers.
CONDITIONAL = (
    "space.layers=[1,2]",
    "space.layer_dropout={low=0.0,high=0.5,when={layers=2}}",
)


@pytest.fixture
def optuna_warnings(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    """What Optuna logs as a warning or worse."""
    logger = logging.getLogger("optuna")
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.WARNING, logger="optuna"):
        yield caplog.records
    logger.removeHandler(caplog.handler)


def stored(config: StudyConfig) -> BaseStorage:
    """An empty study in memory, as `create_study` would store it."""
    storage = InMemoryStorage()
    optuna.create_study(storage=storage, study_name=config.name, direction=config.direction)
    return storage


def read_of(storage: BaseStorage) -> ReadTrials:
    """Read the trials of a storage with one study."""
    (study,) = storage.get_all_studies()
    return partial(storage.get_all_trials, study._study_id)


def finish(storage: BaseStorage, config: StudyConfig, trial: optuna.trial.FrozenTrial) -> None:
    """Store a proposed trial with the height of a hill, its top at 0.01 and 0.3."""
    finished = create_trial(
        value=height(trial.params), params=trial.params, distributions=trial.distributions
    )
    study_id = storage.get_study_id_from_name(config.name)
    storage.create_new_trial(study_id, template_trial=finished)


def height(params: dict[str, float]) -> float:
    off = (math.log10(params["learning_rate"]) + 2) / 2
    return 1 - off**2 - (params["dropout"] - 0.3) ** 2


def draw(history: ReadTrials, config: StudyConfig, slot: int) -> dict[str, float]:
    return propose(
        history,
        config,
        slot=slot,
        planned={},
        taken=(),
    )[0].params


# --- the rung rule -----------------------------------------------------------------------------


def test_the_rungs_are_the_ends_of_epochs_1_and_3_and_9_and_27() -> None:
    rule = RungRule()
    assert [step for step in range(200) if rule.is_rung(step)] == [4, 12, 36, 108]


@pytest.mark.parametrize(
    ("first", "factor", "rungs"), [(1, 2, [1, 2, 4, 8, 16]), (5, 4, [5, 20]), (30, 3, [30])]
)
def test_the_rungs_follow_from_the_first_one_and_the_factor(
    first: int, factor: int, rungs: list[int]
) -> None:
    rule = RungRule(first=first, factor=factor)
    assert [step for step in range(31) if rule.is_rung(step)] == rungs


@pytest.mark.parametrize("step", [1, 2, 3, 5, 8, 11, 13, 24, 40])
def test_between_rungs_nothing_is_judged_however_bad(step: int) -> None:
    verdict = RungRule().verdict(0.0, step, [0.9] * 20, "maximize")
    assert (verdict.prune, verdict.reason) == (False, "")


@pytest.mark.parametrize(("n_rivals", "prune"), [(0, False), (1, False), (2, True), (3, True)])
def test_a_rung_judges_once_it_has_as_many_values_as_the_factor(n_rivals: int, prune: bool) -> None:
    verdict = RungRule().verdict(0.1, 4, [0.9] * n_rivals, "maximize")
    assert verdict.prune == prune
    assert bool(verdict.reason) == prune


@pytest.mark.parametrize("n_values", [3, 4, 5, 6, 7, 9, 10, 30])
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_best_third_rounded_up_goes_on(n_values: int, direction: Direction) -> None:
    values = [(i * 37 % 101) / 100 for i in range(n_values)]  # distinct, in no order
    kept = [value for value in values if goes_on(value, values, direction)]
    best_first = sorted(values, reverse=direction == "maximize")
    assert sorted(kept) == sorted(best_first[: math.ceil(n_values / 3)])


def goes_on(value: float, values: Sequence[float], direction: Direction) -> bool:
    rivals = list(values)
    rivals.remove(value)
    return not RungRule().verdict(value, 4, rivals, direction).prune


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("n_rivals", [2, 5, 20])
def test_ties_with_the_last_one_that_goes_on_go_on(n_rivals: int, direction: Direction) -> None:
    verdict = RungRule().verdict(0.5, 12, [0.5] * n_rivals, direction)
    assert not verdict.prune
    assert f"rank 1 of {n_rivals + 1}" in verdict.reason


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("step", [1, 4, 5])
def test_what_is_not_a_number_ends_at_any_step_and_without_rivals(
    step: int, direction: Direction
) -> None:
    verdict = RungRule().verdict(math.nan, step, [], direction)
    assert verdict.prune
    assert verdict.reason == f"step {step}: the metric is not a number"


@pytest.mark.parametrize(
    ("direction", "value", "worst"), [("maximize", -math.inf, 0.1), ("minimize", math.inf, 9.0)]
)
def test_an_infinitely_bad_value_ends_like_any_other_bad_one(
    direction: Direction, value: float, worst: float
) -> None:
    assert RungRule().verdict(value, 4, [worst, worst], direction).prune
    assert not RungRule().verdict(worst, 4, [value, value], direction).prune


@pytest.mark.parametrize(
    ("value", "direction", "reason"),
    [
        (
            0.7,
            "maximize",
            "step 12: 0.7000 is rank 3 of 4, the best 2 go on (from 0.8000)",
        ),
        (
            0.9,
            "maximize",
            "step 12: 0.9000 is rank 1 of 4, the best 2 go on (from 0.8500)",
        ),
        (
            0.7,
            "minimize",
            "step 12: 0.7000 is rank 2 of 4, the best 2 go on (from 0.7000)",
        ),
    ],
)
def test_the_reason_tells_step_and_value_and_rank_and_threshold(
    value: float, direction: Direction, reason: str
) -> None:
    verdict = RungRule().verdict(value, 12, [0.6, 0.8, 0.85], direction)
    assert verdict.reason == reason


def test_a_late_report_is_judged_among_the_reports_of_its_own_step() -> None:
    # A trial that was taken over delivers step 4 while the others are at step 12 already.
    reports = {4: [0.5, 0.6, 0.7], 12: [0.8, 0.85, 0.9]}
    rule = RungRule()
    delivered = [(4, 0.72), (8, 0.1), (12, 0.7)]
    verdicts = [
        rule.verdict(value, step, reports.get(step, []), "maximize") for step, value in delivered
    ]
    assert [verdict.prune for verdict in verdicts] == [False, False, True]


def test_a_verdict_depends_on_nothing_but_its_arguments() -> None:
    rule, rivals = RungRule(), [0.6, 0.8, 0.7, 0.75]
    before = list(rivals)
    verdicts = {
        rule.verdict(0.74, 4, order, "maximize") for order in itertools.permutations(rivals)
    }
    assert len(verdicts) == 1
    assert rivals == before


def test_the_rule_is_asked_for_by_name() -> None:
    assert make_rule("asha") == RungRule()
    assert make_rule("none") is None


# --- the rung rule in a notebook -----------------------------------------------------------------


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_in_a_real_study_the_pruner_ends_bad_trials_and_never_the_best_so_far(
    direction: Direction,
) -> None:
    better = max if direction == "maximize" else min
    study = optuna.create_study(
        sampler=RandomSampler(seed=1), pruner=RungPruner(), direction=direction
    )
    ends: list[tuple[float, int]] = []

    def objective(trial: optuna.Trial) -> float:
        value = trial.suggest_float("value", 0.0, 1.0)
        for step in STEPS:
            trial.report(value, step)
            if trial.should_prune():
                ends.append((value, step))
                raise optuna.TrialPruned
        return value

    study.optimize(objective, n_trials=40)

    assert {step for _, step in ends} <= {4, 12}
    assert 20 <= len(ends) <= 35  # two thirds of 38, about
    best: float | None = None
    for trial in study.trials:
        value = trial.params["value"]
        best = value if best is None else better(best, value)
        assert trial.state == TrialState.COMPLETE or value != best
    assert study.best_value == best


def test_the_pruner_ends_what_is_not_a_number_and_does_not_count_it_as_a_rival() -> None:
    study = optuna.create_study(direction="maximize", pruner=RungPruner())
    values = iter([math.nan, math.nan, 0.9, 0.1, 0.2])

    def objective(trial: optuna.Trial) -> float:
        value = next(values)
        trial.report(value, 4)
        if trial.should_prune():
            raise optuna.TrialPruned
        return value

    study.optimize(objective, n_trials=5)
    states = [trial.state.name for trial in study.trials]
    assert states == ["PRUNED", "PRUNED", "COMPLETE", "COMPLETE", "PRUNED"]


def test_the_pruner_leaves_a_trial_without_reports_alone() -> None:
    study = optuna.create_study(pruner=RungPruner(RungRule(first=1, factor=2)))
    assert not study.ask().should_prune()


# --- samplers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tpe", TPESampler),
        ("nsga2", GeneticSampler),
        ("random", RandomSampler),
        ("grid", RandomSampler),
    ],
)
def test_samplers_are_asked_for_by_name(
    toy: StudyMaker, name: SamplerName, kind: type[optuna.samplers.BaseSampler]
) -> None:
    assert type(make_sampler(name, space=toy().space, n_trials=60, seed="0")) is kind


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
@pytest.mark.parametrize("n_stored", [0, 12], ids=["empty study", "after twelve trials"])
def test_a_slot_draws_the_same_whoever_runs_it_and_another_slot_another_point(
    toy: StudyMaker, sampler: str, n_stored: int
) -> None:
    config = toy(f"sampler.name={sampler}")
    storage = stored(config)
    for slot in range(n_stored):
        finish(
            storage,
            config,
            propose(
                read_of(storage),
                config,
                slot=slot,
                planned={},
                taken=(),
            )[0],
        )
    draws = [draw(read_of(storage), config, slot) for slot in range(100, 110)]
    assert draws == [draw(read_of(storage), config, slot) for slot in range(100, 110)]
    assert len({point_key(point) for point in draws}) == len(draws)


def test_the_seed_of_the_study_decides_the_draws(toy: StudyMaker) -> None:
    one, other = toy("sampler.name=random"), toy("sampler.name=random", "seed=1")
    assert draw(read_of(stored(one)), one, 0) != draw(read_of(stored(other)), other, 0)


# --- proposals ---------------------------------------------------------------------------------


def test_a_proposal_is_a_running_trial_with_all_its_values(toy: StudyMaker) -> None:
    config = toy("space.units=64", *CONDITIONAL)
    trial, params = propose(
        read_of(stored(config)), config, slot=3, planned={"layers": 2}, taken=()
    )
    assert trial.state == TrialState.RUNNING
    assert trial.params.keys() == trial.distributions.keys()
    assert trial.params.keys() == {"learning_rate", "dropout", "layers", "layer_dropout"}
    assert params == GRUParams(units=64, **trial.params)
    assert trial.system_attrs == {"fixed_params": {"layers": 2}}


def test_what_is_planned_is_kept_and_the_rest_is_drawn(toy: StudyMaker) -> None:
    config = toy()
    storage = stored(config)
    trials = [
        propose(
            read_of(storage),
            config,
            slot=slot,
            planned={"dropout": 0.25},
            taken=(),
        )[0]
        for slot in range(5)
    ]
    assert {trial.params["dropout"] for trial in trials} == {0.25}
    assert len({trial.params["learning_rate"] for trial in trials}) == 5


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_every_point_of_a_grid_is_proposed_as_planned(toy: StudyMaker, sampler: str) -> None:
    config = toy(*FINITE, f"sampler.name={sampler}")
    storage = stored(config)
    for slot, point in enumerate(config.space.points()):
        trial, params = propose(
            read_of(storage),
            config,
            slot=slot,
            planned=point,
            taken=(),
        )
        assert trial.params == point
        assert point.items() <= params.model_dump().items()


def row_counts(database: Database) -> dict[str, int]:
    metadata = MetaData()
    metadata.reflect(database.engine)
    with database.transaction() as session:
        return {
            name: session.scalar(select(func.count()).select_from(table)) or 0
            for name, table in metadata.tables.items()
        }


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_a_proposal_writes_nothing_to_the_database(
    toy: StudyMaker, tmp_path: Path, sampler: str
) -> None:
    config = toy(f"sampler.name={sampler}", *CONDITIONAL)
    with Database.open(f"sqlite:///{tmp_path / 'tuner.db'}", create=True) as database:
        history = History(database, create_study(database, config).study.study_id)
        for slot in range(12):
            trial, _ = propose(
                history.read,
                config,
                slot=slot,
                planned={},
                taken=(),
            )
            finish(database.storage, config, trial)
        before = row_counts(database)
        assert before["trials"] == 12
        for slot in range(12, 18):
            propose(
                history.read,
                config,
                slot=slot,
                planned={"layers": 2},
                taken=(),
            )
        assert row_counts(database) == before


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_taken_points_are_avoided_until_a_finite_space_is_exhausted(
    toy: StudyMaker, sampler: str
) -> None:
    config = toy(*FINITE, f"sampler.name={sampler}")
    storage = stored(config)
    taken: list[str] = []
    for slot in range(12):
        trial, _ = propose(
            read_of(storage),
            config,
            slot=slot,
            planned={},
            taken=taken,
        )
        taken.append(point_key(trial.params))
    assert sorted(taken) == sorted(point_key(point) for point in config.space.points())
    with pytest.raises(InputError) as caught:
        propose(
            read_of(storage),
            config,
            slot=12,
            planned={},
            taken=taken,
        )
    assert str(caught.value) == (
        "Slot 12: every point of the space is a trial already. Expected one that is left: "
        "enqueue other values, or start another study with a wider space."
    )


def test_a_finite_space_of_steps_is_exhausted_whatever_the_rounding(toy: StudyMaker) -> None:
    config = toy("space={dropout={low=0.0,high=0.9,step=0.1}}", "sampler.name=random")
    storage = stored(config)
    taken: set[str] = set()
    for slot in range(10):
        trial, _ = propose(
            read_of(storage),
            config,
            slot=slot,
            planned={},
            taken=taken,
        )
        taken.add(point_key(trial.params))
    assert taken == {point_key(point) for point in config.space.points()}


def test_the_last_points_left_fit_what_is_planned(toy: StudyMaker) -> None:
    config = toy(*FINITE)
    storage = stored(config)
    taken = {point_key(p) for p in config.space.points() if p["dropout"] != 0.3}
    planned = {"units": 64, "dropout": 0.1 * 3}
    found = set()
    for slot in range(2):
        trial, _ = propose(
            read_of(storage),
            config,
            slot=slot,
            planned=planned,
            taken=taken,
        )
        taken.add(point_key(trial.params))
        found.add((trial.params["units"], trial.params["layers"]))
    assert found == {(64, 1), (64, 2)}
    with pytest.raises(InputError, match=r"^Slot 9: every point with units=64, dropout=0\.3"):
        propose(
            read_of(storage),
            config,
            slot=9,
            planned=planned,
            taken=taken,
        )


# --- learning ----------------------------------------------------------------------------------


def distance(params: dict[str, float]) -> float:
    """How far from the top of the hill, both axes of length 1."""
    off = (math.log10(params["learning_rate"]) + 2) / 4
    return math.hypot(off, (params["dropout"] - 0.3) / 0.9)


def test_tpe_learns_through_proposals_and_comes_nearer_to_the_top_than_chance(
    toy: StudyMaker,
) -> None:
    tpe_distances, random_distances = [], []
    for seed in range(5):
        chance = toy(f"seed={seed}", "sampler.name=random")
        learner = toy(f"seed={seed}", "sampler.name=tpe")
        storage = stored(chance)
        for slot in range(40):
            trial, _ = propose(
                read_of(storage),
                chance,
                slot=slot,
                planned={},
                taken=(),
            )
            finish(storage, chance, trial)
        slots = range(100, 110)
        tpe_distances += [distance(draw(read_of(storage), learner, slot)) for slot in slots]
        random_distances += [distance(draw(read_of(storage), chance, slot)) for slot in slots]
    assert statistics.median(tpe_distances) < 0.6 * statistics.median(random_distances)


def test_tpe_sees_what_other_workers_finished_meanwhile(toy: StudyMaker, tmp_path: Path) -> None:
    config = toy()
    url = f"sqlite:///{tmp_path / 'tuner.db'}"
    with Database.open(url, create=True) as ours, Database.open(url, create=True) as theirs:
        study = create_study(ours, config).study
        history = History(ours, study.study_id)
        before = draw(history.read, config, 50)
        for slot in range(12):
            trial, _ = propose(
                read_of(theirs.storage),
                config,
                slot=slot,
                planned={},
                taken=(),
            )
            finish(theirs.storage, config, trial)
        assert draw(history.read, config, 50) == draw(read_of(theirs.storage), config, 50) != before


def test_tpe_learns_in_a_conditional_space_without_any_warning(
    toy: StudyMaker, optuna_warnings: list[logging.LogRecord]
) -> None:
    config = toy(*CONDITIONAL)
    storage = stored(config)
    branches: list[int] = []
    for slot in range(40):
        trial, params = propose(
            read_of(storage),
            config,
            slot=slot,
            planned={},
            taken=(),
        )
        assert ("layer_dropout" in trial.params) == (params.layers == 2)
        domains = {p.name: p.domain for p in config.space.parameters}
        assert all(contains(domains[name], value) for name, value in trial.params.items())
        value = height(trial.params) + (params.layers == 2) - params.layer_dropout
        finished = create_trial(value=value, params=trial.params, distributions=trial.distributions)
        storage.create_new_trial(0, template_trial=finished)
        branches.append(params.layers)
    assert [record.getMessage() for record in optuna_warnings] == []
    assert set(branches) == {1, 2}
    assert branches[-15:].count(2) > 10  # the better branch
