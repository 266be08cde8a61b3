"""What samplers read is what Optuna itself would read of a study, but for what they do not use."""

import math

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from tests.conftest import StudyMaker
from tuner.config import SAMPLER_NOTES
from tuner.storage import Database, create_study
from tuner.storage.history import History

SPACE = {
    "rate": FloatDistribution(1e-4, 1.0, log=True),
    "units": IntDistribution(8, 64, step=8),
    "flag": CategoricalDistribution((True, False, "no", 3)),
}


def known(trial: FrozenTrial) -> tuple[object, ...]:
    """What a sampler may look at."""
    last = max(trial.intermediate_values.items(), default=None)
    return (
        trial.number,
        trial.state,
        trial.params,
        trial.distributions,
        trial.values,
        trial.constraints,
        {k: v for k, v in trial.system_attrs.items() if k.startswith(SAMPLER_NOTES)},
        repr(last)
        if trial.state in {TrialState.PRUNED, TrialState.RUNNING}
        else None,  # NaN is not itself
    )


def same(history: History, database: Database, study_id: int) -> bool:
    theirs = database.storage.get_all_trials(study_id)
    return [known(trial) for trial in history.read()] == [known(trial) for trial in theirs]


@pytest.fixture
def study_id(database: Database, toy: StudyMaker) -> int:
    return create_study(database, toy()).study.study_id


def test_all_kinds_of_trials_are_read_as_optuna_reads_them(
    database: Database, study_id: int
) -> None:
    study = optuna.load_study(study_name="toy", storage=database.storage)
    params = {"rate": 0.01, "units": 16, "flag": "no"}
    curves: tuple[dict[int, float], ...] = (
        {},
        {1: 0.5},
        {1: 0.5, 4: math.nan},
        {4: math.inf, 1: 0.0},
    )
    for curve in curves:
        for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL):
            study.add_trial(
                create_trial(
                    state=state,
                    value=-math.inf if state == TrialState.COMPLETE else None,
                    params=params,
                    distributions=SPACE,
                    intermediate_values=curve,
                    constraints={"size": 0.5, "time": -1.0} if curve else None,
                    user_attrs={"reason": "none"},
                    system_attrs={"genetic:generation": 3, "cma:optimizer:0": "80", "other": 1},
                )
            )
    study.add_trial(create_trial(state=TrialState.RUNNING, params=params, distributions=SPACE))
    study.add_trial(create_trial(state=TrialState.WAITING))
    assert same(History(database, study_id), database, study_id)
    read = {key for trial in History(database, study_id).read() for key in trial.system_attrs}
    assert read == {"genetic:generation", "cma:optimizer:0", "constraints:size", "constraints:time"}


def test_a_trial_that_ran_is_read_again_when_it_has_ended_and_a_finished_one_is_not(
    database: Database, study_id: int
) -> None:
    study = optuna.load_study(study_name="toy", storage=database.storage)
    history = History(database, study_id)
    assert history.read() == []
    first, second = study.ask(SPACE), study.ask(SPACE)
    assert same(history, database, study_id)
    first.report(0.75, 1)
    assert same(history, database, study_id)
    first.report(0.5, 4)
    assert same(history, database, study_id)
    assert history.read()[first.number].intermediate_values == {4: 0.5}
    study.tell(second, 0.5)
    third = study.ask(SPACE)
    assert same(history, database, study_id)
    done = history.read()[second.number]
    first.report(0.25, 8)
    study.tell(first, state=TrialState.PRUNED)
    study.tell(third, state=TrialState.FAIL)
    assert same(history, database, study_id)
    assert history.read()[second.number] is done


def test_a_study_with_several_objectives_gives_all_values(database: Database) -> None:
    study = optuna.create_study(
        study_name="two", storage=database.storage, directions=["maximize", "minimize"]
    )
    study.add_trial(create_trial(values=[0.5, 2.0], params={}, distributions={}))
    assert same(History(database, study._study_id), database, study._study_id)
