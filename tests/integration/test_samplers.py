"""What samplers note with their trials goes through each database, from one worker to another."""

import math
import secrets
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from tests.commands import ask
from tests.conftest import StudyMaker, on_one_database
from tests.workers import make_worker
from tuner.config import StudyConfig
from tuner.errors import InputError
from tuner.host import Holder
from tuner.storage import Claim, Database, Ending, Proposal, Slots, StoredStudy, create_study
from tuner.storage.history import History
from tuner.strategy import propose
from tuner.strategy.genetic import GENERATION, population_size


class Member:
    """A worker without a trainer: it opens trials, and somebody else says how they end."""

    def __init__(self, database: Database, study: StoredStudy, name: str) -> None:
        holder = Holder(name=name, machine=f"{name}'s", pid=1, started=0.0)
        self.slots = Slots(database, study, holder=holder)
        self.history = History(database, study.study_id)
        self.config = study.config

    def begin(self) -> Claim | None:
        claim = self.slots.claim(secrets.randbits(63))
        if claim is None:
            return None
        trial, params = propose(
            self.history.read, self.config, slot=claim.slot, planned=claim.planned, taken=()
        )
        proposal = Proposal(trial=trial, params=params.model_dump(), unique=False)
        return self.slots.open(claim, proposal)

    def end(self, claim: Claim) -> None:
        """One in three is complete, one pruned, one violates a constraint."""
        value = height(claim.params)
        kind = claim.slot % 3
        state = TrialState.COMPLETE if kind == 0 else TrialState.PRUNED
        excess = {"bytes": 0.5} if kind == 2 else {}
        if kind == 1:
            self.slots.report(claim, 4, value)
        self.slots.close(claim, Ending(state=state, value=value, attributes={}, constraints=excess))


def height(params: Any) -> float:
    off = (math.log10(params["learning_rate"]) + 2) / 2
    return 1 - float(off**2) - float((params["dropout"] - 0.3) ** 2)


def run(url: str, config: StudyConfig, *, n_workers: int) -> list[FrozenTrial]:
    """Run a study with several workers, of which each has a trial while others open theirs."""
    with ExitStack() as stack:
        opened = [stack.enter_context(Database.open(url)) for _ in range(n_workers)]
        study = create_study(opened[0], config).study
        crew = [Member(database, study, f"w{i}") for i, database in enumerate(opened)]
        while any([*rounds(crew)]):
            pass
        return opened[0].storage.get_all_trials(study.study_id)


def rounds(crew: list[Member]) -> Iterator[bool]:
    claims = [(member, member.begin()) for member in crew]
    for member, claim in reversed(claims):
        if claim is not None:
            member.end(claim)
        yield claim is not None


def test_generations_advance_over_a_database_whoever_proposes_and_however_trials_end(
    storage_url: str, toy: StudyMaker
) -> None:
    config = toy("sampler.name=nsga2", "budget.trials=36")
    trials = run(storage_url, config, n_workers=3)

    size = population_size(36)
    planned = [trial for trial in trials if "fixed_params" in trial.system_attrs]
    bred = trials[len(planned) :]
    assert all(GENERATION in trial.system_attrs for trial in bred)
    counts = Counter(trial.system_attrs.get(GENERATION, 0) for trial in trials)
    newest = max(counts)
    assert sorted(counts) == list(range(newest + 1))
    assert newest >= 3
    # Two others had begun when the last member of a generation ended.
    assert all(size <= counts[generation] < size + 3 + 2 for generation in range(newest))
    assert max(trial.number for trial in planned) < min(trial.number for trial in bred)


@pytest.mark.parametrize("command", ["check", "create", "run"])
def test_a_study_is_refused_where_its_samplers_package_is_missing(
    toy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    not_there: Any = None
    monkeypatch.setitem(sys.modules, "torch", not_there)
    words = [command, str(toy_file), "--set", "sampler.name=gp"]

    done = ask(*words, storage=f"sqlite:///{tmp_path}/none.db")

    assert done.returncode == 2
    assert "'gp' needs torch, which is not installed here. Run `pip install" in done.stderr
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(("module", "sampler"), [("torch", "gp"), ("cmaes", "cmaes")])
@on_one_database
def test_a_worker_without_the_samplers_package_refuses_the_study(
    database: Database,
    toy: StudyMaker,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    sampler: str,
) -> None:
    config = toy(f"sampler.name={sampler}", "sampler.allow_pickle=true")
    study = create_study(database, config).study
    not_there: Any = None
    monkeypatch.setitem(sys.modules, module, not_there)

    with pytest.raises(InputError, match=rf"{module}, which is not installed here"):
        make_worker(database, study, "quadratic").run()

    assert database.storage.get_all_trials(study.study_id) == []


@pytest.mark.parametrize(("module", "sampler"), [("torch", "gp"), ("cmaes", "cmaes")])
def test_samplers_of_more_packages_learn_over_a_database(
    storage_url: str, toy: StudyMaker, module: str, sampler: str
) -> None:
    pytest.importorskip(module)
    config = toy(f"sampler.name={sampler}", "sampler.allow_pickle=true", "budget.trials=60")
    trials = run(storage_url, config, n_workers=2)

    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(trials) == 60
    early = [height(trial.params) for trial in complete[:8]]
    late = [height(trial.params) for trial in complete[-8:]]
    assert sum(late) > sum(early)
    if sampler == "cmaes":
        generations = {trial.system_attrs.get("cma:generation", 0) for trial in complete}
        assert max(generations) >= 1
