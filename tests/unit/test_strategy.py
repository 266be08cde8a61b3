"""Samplers propose without a write, and learn."""

import logging
import math
import statistics
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import optuna
import pytest
from optuna.samplers import RandomSampler, TPESampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import MetaData, func, select

from tests.conftest import StudyMaker
from tuner.config import SamplerName, StudyConfig
from tuner.domain import contains, point_key
from tuner.errors import NoPointLeftError
from tuner.params import GRUParams
from tuner.storage import Database, create_study
from tuner.storage.history import History
from tuner.strategy import ReadTrials, make_sampler, propose
from tuner.strategy.genetic import GeneticSampler
from tuner.strategy.ranges import distributions_of, within
from tuner.strategy.ranking import with_all_values

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
    with pytest.raises(NoPointLeftError, match="slot 12: every point of the space is a trial"):
        propose(
            read_of(storage),
            config,
            slot=12,
            planned={},
            taken=taken,
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


def test_the_last_points_left_fit_what_is_planned_as_long_as_one_does(
    toy: StudyMaker, caplog: pytest.LogCaptureFixture
) -> None:
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
    assert "is proposed" not in caplog.text

    trial, _ = propose(read_of(storage), config, slot=9, planned=planned, taken=taken)

    assert trial.params["units"] == 32
    assert "slot 9: every point with units=64, dropout=0.3" in caplog.text
    assert "is a trial already; another one is proposed" in caplog.text


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


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
@pytest.mark.parametrize("space", [(), CONDITIONAL], ids=["plain", "conditional"])
def test_a_range_that_was_made_wider_is_used(
    toy: StudyMaker, sampler: str, space: tuple[str, ...]
) -> None:
    name = f"sampler.name={sampler}"
    narrow = toy(*space, name, "space.learning_rate.high=1e-3")
    wide = toy(*space, name, "space.learning_rate.high=1e-1")
    storage = stored(narrow)
    for slot in range(30):
        trial, _ = propose(read_of(storage), narrow, slot=slot, planned={}, taken=())
        finish(storage, narrow, trial)

    found = [draw(read_of(storage), wide, slot)["learning_rate"] for slot in range(30, 60)]

    assert max(trial.params["learning_rate"] for trial in read_of(storage)()) <= 1e-3
    assert sum(rate > 1e-3 for rate in found) >= 5


def test_a_trial_from_outside_todays_ranges_tells_nothing(toy: StudyMaker) -> None:
    wide, narrow = (toy(f"space.learning_rate.high={high}") for high in (1e-1, 1e-3))
    storage = stored(wide)
    for slot in range(20):
        trial, _ = propose(read_of(storage), wide, slot=slot, planned={}, taken=())
        finish(storage, wide, trial)
    trials = read_of(storage)()

    seen = within(trials, narrow.space)

    inside = [t.number for t in trials if t.params["learning_rate"] <= 1e-3]
    assert 0 < len(inside) < 20
    assert [t.number for t in seen] == inside
    name = "learning_rate"
    assert {t.distributions[name] for t in seen} == {distributions_of(narrow.space)[name]}
    assert within(trials, wide.space) == trials
    assert {t.distributions[name] for t in trials} == {distributions_of(wide.space)[name]}


def test_pruned_trials_of_several_objectives_count_by_their_values() -> None:
    def ended(number: int, state: TrialState, *values: float) -> FrozenTrial:
        trial = create_trial(state=TrialState.COMPLETE, values=values or (0.0, 0.0))
        trial.state, trial.number = state, number
        if not values:
            trial.values = None
        return trial

    trials = [
        ended(0, TrialState.COMPLETE, 0.9, 5.0),
        ended(1, TrialState.PRUNED, 0.6, 1.0),
        ended(2, TrialState.PRUNED),
    ]
    both = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]

    states = [trial.state for trial in with_all_values(trials, both)]

    assert states == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED]
    assert with_all_values(trials, both[:1]) == trials
    assert trials[1].state == TrialState.PRUNED


def test_one_proposal_reads_the_history_once(toy: StudyMaker) -> None:
    config = toy(*FINITE)
    storage = stored(config)
    reads: list[int] = []

    def history() -> list[FrozenTrial]:
        reads.append(1)
        return read_of(storage)()

    points = [point_key(point) for point in config.space.points()]
    propose(history, config, slot=0, planned={}, taken=points[:-1])

    assert len(reads) <= 1


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
