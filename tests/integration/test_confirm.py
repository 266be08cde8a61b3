"""Studies that confirm, over each database: their slots, their stages, what comes of them."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import TrialState

from tests.commands import ask
from tests.conftest import StudyMaker, on_one_database
from tests.integration.test_like import plans
from tests.integration.test_results import run
from tests.integration.test_storage import open_slot, slots_of
from tests.workers import make_worker
from tuner.confirm import begin, finalists, newcomers, rehearse
from tuner.confirmation import Task
from tuner.data.prepare import prepare
from tuner.data.split import Fold
from tuner.errors import InputError, NoUsableTrialError, StudyNotFoundError
from tuner.judging.hits import HITS, STANDARD_ERROR, Hits
from tuner.results import progress, show_trial, trial_attributes, trials
from tuner.results.confirmed import confirmed_of, find_confirmation
from tuner.storage import (
    Database,
    Ending,
    StoredStudy,
    agree_on_data,
    copy_study,
    create_study,
    delete_study,
    end_study,
    extend_study,
    find_study,
    known_fingerprint,
    rename_study,
    retry_failed,
    study_names,
)
from tuner.storage.confirming import read_confirmed, read_task, write_confirmed

#: Values of a search's trials; the first one is the default point's.
FIRST = (0.5, 0.9, 0.8, 0.6, 0.7, 0.4)


def searched(database: Database, toy: StudyMaker, *settings: str) -> StoredStudy:
    """Give a study whose search is over."""
    study = create_study(database, toy(*settings)).study
    run(database, study, *FIRST[: study.config.n_slots])
    return study


def ending(value: float | None, hits: Hits | None = None, best_epoch: int = 1) -> Ending:
    counted = hits or Hits(right=np.array([8, 9, 7]), size=np.full(3, 10))
    facts = {HITS: counted.to_text(), STANDARD_ERROR: 0.01, "best_epoch": best_epoch}
    state = TrialState.FAIL if value is None else TrialState.COMPLETE
    return Ending(state=state, value=value, attributes=facts, constraints={})


def train(
    database: Database, study: StoredStudy, end: Callable[[Task], Ending]
) -> dict[int, Mapping[str, object]]:
    """Train all that is left; give the params of each trial, by slot."""
    slots = slots_of(database, study)
    params: dict[int, Mapping[str, object]] = {}
    for _ in range(slots.counts().free):
        claim = open_slot(database, study, slots)
        task = read_task(database, study, claim.slot)
        assert task is not None
        slots.close(claim, end(task))
        params[claim.slot] = claim.params
    return params


def values(*means: float) -> Callable[[Task], Ending]:
    """End trainings by finalist, a little apart from each other."""
    return lambda task: ending(means[task.finalist] + 0.001 * task.replicate)


# --- the first stage -----------------------------------------------------------------------------


def test_the_best_trials_and_the_default_point_get_slots_with_their_points(
    database: Database, toy: StudyMaker
) -> None:
    study = searched(database, toy)

    confirmation = begin(database, study, top=2, seeds=3)

    config = confirmation.config
    assert (config.name, config.pruner.name, config.budget.trials) == ("toy.confirm", "none", 9)
    assert config.budget.epochs == study.config.budget.epochs
    assert config.confirms is not None
    told = [(one.trial, one.value, one.is_default) for one in config.confirms.finalists]
    assert told == [(1, 0.9, False), (2, 0.8, False), (0, 0.5, True)]
    assert [origin for origin, _ in plans(database, "toy.confirm")] == [
        f"confirms toy/{trial}" for trial in (1, 1, 1, 2, 2, 2, 0, 0, 0)
    ]
    params = train(database, confirmation, values(0.5, 0.6, 0.7))
    theirs = {row.number: row.params for row in trials(database, study)}
    assert list(params.values()) == [theirs[trial] for trial in (1, 1, 1, 2, 2, 2, 0, 0, 0)]
    assert progress(database, confirmation).is_over


def test_a_default_point_that_is_among_the_best_is_trained_as_one_of_them(
    database: Database, toy: StudyMaker
) -> None:
    study = create_study(database, toy("budget.trials=2")).study
    run(database, study, 0.9, 0.8)

    chosen = finalists(database, study, top=5)

    assert [(one.trial, one.is_default) for one, _ in chosen] == [(0, True), (1, False)]


def test_a_point_that_two_trials_had_is_one_finalist(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy("space={dropout=0.5}", "budget.trials=1")).study
    run(database, study, 0.9)

    assert len(finalists(database, study, top=5)) == 1


def test_a_finite_space_is_no_hindrance(database: Database, toy: StudyMaker) -> None:
    study = searched(database, toy, "space={units=[8, 16, 32, 48]}", "sampler.name=grid")

    confirmation = begin(database, study, top=1, seeds=2)

    params = train(database, confirmation, values(0.5, 0.6))
    assert [row["units"] for row in params.values()] == [16, 16, 32, 32]


def test_of_several_objectives_the_first_decides(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy('metrics=["val_accuracy", "val_loss"]')).study
    slots = slots_of(database, study)
    for value in FIRST:  # the better, the surer
        done = dataclasses.replace(ending(value), further=(1 - value,))
        slots.close(open_slot(database, study, slots), done)

    confirmation = begin(database, study, top=2, seeds=2)

    config = confirmation.config
    assert (config.metric, config.objectives) == ("val_accuracy", ("val_accuracy",))
    assert config.confirms is not None
    assert [one.trial for one in config.confirms.finalists] == [1, 2, 0]


def test_beginning_again_finds_what_was_begun(database: Database, toy: StudyMaker) -> None:
    study = searched(database, toy)
    first = begin(database, study, top=2, seeds=2)

    assert begin(database, study, top=2, seeds=2) == first
    assert find_confirmation(database, study) == first
    with pytest.raises(InputError, match=r"'toy\.confirm' is stored already"):
        begin(database, study, top=1, seeds=2)


def test_only_a_search_that_is_over_can_be_confirmed(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy()).study
    with pytest.raises(InputError, match="'toy' is not over: 0 of 6 trials"):
        begin(database, study, top=2, seeds=2)
    run(database, study, 0.5, 0.9)
    end_study(database, study, reason="stopped", message="by somebody")

    confirmation = begin(database, study, top=2, seeds=2)

    with pytest.raises(InputError, match=r"confirms 'toy' itself\. .* `tuner confirm toy`"):
        begin(database, confirmation, top=2, seeds=2)


def test_a_search_without_a_value_has_no_finalist(database: Database, toy: StudyMaker) -> None:
    study = create_study(database, toy("budget.trials=1")).study
    run(database, study, None)

    with pytest.raises(NoUsableTrialError):
        begin(database, study, top=2, seeds=2)


def test_all_machines_must_have_the_searchs_data(database: Database, toy: StudyMaker) -> None:
    study = searched(database, toy)
    agree_on_data(database, study, "f" * 32)

    confirmation = begin(database, study, top=1, seeds=2)

    assert known_fingerprint(database, confirmation) == "f" * 32


def test_its_trainings_are_counted_by_nobody_else(database: Database, toy: StudyMaker) -> None:
    confirmation = begin(database, searched(database, toy), top=1, seeds=2)

    with pytest.raises(
        InputError, match=r"confirms 'toy' by a set number .*`tuner delete toy\.confirm`"
    ):
        extend_study(database, confirmation, 1)


def test_a_confirmation_is_known_by_its_finalists_not_by_its_name(
    database: Database, toy: StudyMaker
) -> None:
    study = searched(database, toy)
    confirmation = begin(database, study, top=1, seeds=2)
    copy = copy_study(database, study, database, name="copy", key="a" * 16).study
    copy_study(database, confirmation, database, name="copy.confirm", key="b" * 16)
    assert find_confirmation(database, copy) == find_study(database, "copy.confirm")

    rename_study(database, study, "old")
    delete_study(database, copy)
    another = create_study(database, toy("name=copy")).study
    run(database, another, *(1 - value for value in FIRST))

    assert find_confirmation(database, another) is None
    assert find_confirmation(database, find_study(database, "old")) is None
    create_study(database, toy("name=old.confirm"))
    assert find_confirmation(database, find_study(database, "old")) is None


# --- the second stage ----------------------------------------------------------------------------


def test_the_winner_and_the_default_point_are_trained_again_with_other_seeds_and_examples(
    database: Database, toy: StudyMaker
) -> None:
    study = searched(database, toy)
    before = begin(database, study, top=2, seeds=3)
    first = train(
        database,
        before,
        lambda task: ending([0.5, 0.8, 0.6][task.finalist], best_epoch=1 + task.replicate),
    )

    confirmation = rehearse(database, before)

    confirms = confirmation.config.confirms
    assert confirms is not None
    assert [(each.finalist, each.epochs) for each in confirms.rehearsals] == [(1, 2), (2, 2)]
    assert rehearse(database, before) == confirmation  # decided once
    assert find_confirmation(database, study) == confirmation
    second = train(database, confirmation, values(0.5, 0.8, 0.6))
    assert list(second) == list(range(9, 15))
    assert [second[slot] for slot in (9, 12)] == [first[3], first[6]]
    # Also a worker that knows nothing of it yet is told.
    tasks = [read_task(database, before, slot) for slot in range(9, 15)]
    assert [(task.finalist, task.replicate, task.epochs) for task in tasks if task] == [
        *((1, number, 2) for number in (3, 4, 5)),
        *((2, number, 2) for number in (3, 4, 5)),
    ]
    assert read_task(database, study, 0) is None


def test_a_winner_that_is_the_default_point_is_trained_once_more_alone(
    database: Database, toy: StudyMaker
) -> None:
    confirmation = begin(database, searched(database, toy), top=1, seeds=2)
    train(database, confirmation, values(0.5, 0.9))

    found = rehearse(database, confirmation)

    assert found.config.budget.trials == 6
    assert found.config.confirms is not None
    assert [each.finalist for each in found.config.confirms.rehearsals] == [1]


def test_a_finalist_that_fails_even_once_cannot_win(database: Database, toy: StudyMaker) -> None:
    confirmation = begin(database, searched(database, toy), top=2, seeds=2)

    def end(task: Task) -> Ending:
        is_bad = (task.finalist, task.replicate) == (0, 1)
        return ending(None if is_bad else [0.99, 0.6, 0.5][task.finalist])

    train(database, confirmation, end)

    found = rehearse(database, confirmation, without_failed=True)

    assert found.config.confirms is not None
    assert [each.finalist for each in found.config.confirms.rehearsals] == [1, 2]


def test_a_failure_that_may_be_an_accident_is_no_reason_to_lose_without_a_word(
    database: Database, toy: StudyMaker
) -> None:
    confirmation = begin(database, searched(database, toy), top=2, seeds=2)
    train(
        database,
        confirmation,
        lambda task: ending(None if (task.finalist, task.replicate) == (0, 1) else 0.5),
    )

    with pytest.raises(
        InputError,
        match=r"failed \(1 of trial 1\).*`tuner retry toy\.confirm`.*`.* toy --without-failed`",
    ):
        rehearse(database, confirmation)

    assert retry_failed(database, confirmation) == 1
    train(database, confirmation, values(0.9))
    assert rehearse(database, confirmation).config.confirms is not None


def test_what_chose_is_not_tried_again_and_what_estimates_is_and_takes_its_result_back(
    database: Database, toy: StudyMaker
) -> None:
    confirmation = begin(database, searched(database, toy), top=2, seeds=2)

    def end(task: Task) -> Ending:
        return ending(None if task.replicate in (1, 3) and task.finalist == 0 else 0.5)

    train(database, confirmation, end)
    confirmation = rehearse(database, confirmation, without_failed=True)
    assert confirmation.config.confirms is not None
    assert [each.finalist for each in confirmation.config.confirms.rehearsals] == [1, 2]
    train(database, confirmation, lambda task: ending(0.5 if task.replicate == 2 else None))
    write_confirmed(database, confirmation, "{}")

    assert retry_failed(database, confirmation) == 2
    assert sorted(train(database, confirmation, values(0.5, 0.5, 0.5))) == [7, 9]
    assert read_confirmed(database, confirmation) is None
    write_confirmed(database, confirmation, "{}")
    assert retry_failed(database, confirmation) == 0
    assert read_confirmed(database, confirmation) == "{}"


def test_who_comes_second_learns_what_the_first_has_decided(
    database: Database, toy: StudyMaker
) -> None:
    before = begin(database, searched(database, toy), top=1, seeds=2)
    train(database, before, values(0.9, 0.5))
    confirmation = rehearse(database, before)
    train(database, confirmation, values(0.9, 0.5))

    assert rehearse(database, before) == confirmation


def test_trials_that_came_to_be_among_the_best_too_late_are_named(
    database: Database, toy: StudyMaker
) -> None:
    study = searched(database, toy)
    confirmation = begin(database, study, top=2, seeds=2).config.confirms
    assert confirmation is not None
    assert newcomers(database, study, confirmation) == []

    study = extend_study(database, study, 3)
    run(database, study, 0.95, 0.3, 0.85)

    assert newcomers(database, study, confirmation) == [6]
    wider = confirmation.model_copy(update={"top": 3})
    assert newcomers(database, study, wider) == [6, 8]


@on_one_database
def test_a_deleted_confirmation_is_missed_by_its_workers(
    database: Database, toy: StudyMaker
) -> None:
    confirmation = begin(database, searched(database, toy), top=1, seeds=2)
    delete_study(database, confirmation)

    with pytest.raises(StudyNotFoundError, match="somebody deleted it"):
        read_task(database, confirmation, 0)


@on_one_database
def test_a_new_name_and_a_copy_take_along_what_confirms_the_study(
    database: Database, toy: StudyMaker, tmp_path: Path
) -> None:
    study = searched(database, toy)
    before = begin(database, study, top=1, seeds=2)
    train(database, before, values(0.9, 0.5))
    train(database, rehearse(database, before), values(0.9, 0.5))

    renamed = ask("rename", "toy", "monday", storage=database.name)
    assert "'toy.confirm', which confirms it, is 'monday.confirm' now" in renamed.stderr
    copied = f"sqlite:///{tmp_path / 'copy.db'}"
    done = ask("copy", "monday", "--to", copied, "--name", "tuesday", storage=database.name)
    assert done.returncode == 0, done.stderr
    with Database.open(copied) as target:
        found = find_confirmation(target, find_study(target, "tuesday"))
        assert found is not None
        assert found.config.name == "tuesday.confirm"
        assert found.config.confirms is not None
        assert found.config.confirms.study == "tuesday"
        assert progress(target, found).is_over

    with Database.open(copied) as target:
        create_study(target, toy("name=friday.confirm"))
    refused = ask("copy", "monday", "--to", copied, "--name", "friday", storage=database.name)
    assert refused.returncode == 2
    assert "'monday.confirm' goes along and would be 'friday.confirm'" in refused.stderr
    with Database.open(copied) as target:
        assert "friday" not in study_names(target)

    create_study(database, toy("name=sunday.confirm"))
    refused = ask("rename", "monday", "sunday", storage=database.name)
    assert refused.returncode == 2
    assert "'sunday.confirm', which is the name of another study" in refused.stderr
    assert find_study(database, "monday") is not None


def test_where_all_finalists_fail_there_is_no_winner_until_they_are_tried_again(
    database: Database, toy: StudyMaker
) -> None:
    confirmation = begin(database, searched(database, toy), top=1, seeds=2)
    train(database, confirmation, lambda task: ending(None if task.replicate else 0.5))

    with pytest.raises(
        NoUsableTrialError, match=r"none of 2 finalists .*`tuner retry toy\.confirm`"
    ):
        rehearse(database, confirmation)

    assert retry_failed(database, confirmation) == 2
    params = train(database, confirmation, values(0.9, 0.5))
    assert sorted(params) == [1, 3]
    assert rehearse(database, confirmation).config.budget.trials == 8


def test_a_default_point_that_no_trial_had_is_a_yardstick_alone(
    database: Database, toy: StudyMaker
) -> None:
    study = searched(database, toy, "sampler.name=random")
    confirmation = begin(database, study, top=1, seeds=2)
    assert plans(database, "toy.confirm")[2][0] == "confirms the default point"
    train(database, confirmation, values(0.5, 0.9))

    found = rehearse(database, confirmation)

    assert found.config.confirms is not None
    assert [each.finalist for each in found.config.confirms.rehearsals] == [0, 1]


# --- workers, and the command --------------------------------------------------------------------


@on_one_database
def test_workers_tell_their_trainers_what_to_do_also_those_that_began_before_it_was_decided(
    database: Database, toy: StudyMaker
) -> None:
    before = begin(database, searched(database, toy), top=1, seeds=2)
    make_worker(database, before, "confirming").run()
    confirmation = rehearse(database, before)
    make_worker(database, before, "confirming").run()

    confirms = confirmation.config.confirms
    assert confirms is not None
    told = trial_attributes(database, confirmation, ["told"])
    rows = trials(database, confirmation)
    assert len(rows) == confirmation.config.budget.trials
    for row in rows:
        assert row.slot is not None
        task = confirms.task(row.slot)
        assert told[row.number]["told"] == [task.finalist, task.replicate, task.epochs]


def url_of(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=False)


def real_units(study: StoredStudy) -> Callable[[Task], Ending]:
    """End trainings by what a model may have got right of the very examples of its fold."""
    config, confirms = study.config, study.config.confirms
    assert confirms is not None
    n_folds = confirms.n_folds

    def end(task: Task) -> Ending:
        fold = Fold(number=task.replicate, of=n_folds)
        data = prepare(config.data, seed=config.seed, folder=config.folder, fold=fold)
        size = np.bincount(data.units)
        chance = [0.8, 0.6, 0.5][task.finalist]
        right = np.random.default_rng([task.finalist, task.replicate]).binomial(size, chance)
        hits = Hits(right=right, size=size)
        return ending(hits.share, hits)

    return end


@on_one_database
def test_the_command_does_one_step_after_the_other_and_then_prints_what_it_knows(
    database: Database, toy: StudyMaker
) -> None:
    study, url = searched(database, toy, "data.examples=400"), url_of(database)
    words = ("confirm", "toy", "--no-work", "--format", "json")

    begun = ask(*words, "--top", "1", "--seeds", "2", storage=url)
    assert begun.returncode == 0, begun.stderr
    assert begun.stdout == ""
    assert "trial 1, trial 0 (the default point); 2 trainings of each" in begun.stderr
    assert "0 of 4 trainings of 'toy.confirm' are done. Start workers with" in begun.stderr
    end = real_units(find_study(database, "toy.confirm"))
    train(database, find_study(database, "toy.confirm"), end)

    half = ask(*words, storage=url)
    assert half.returncode == 0, half.stderr
    assert "Trial 1 of 'toy' wins. 4 more trainings say how good it is" in half.stderr
    assert half.stdout == ""
    assert confirmed_of(database, study) is None
    train(database, find_study(database, "toy.confirm"), end)

    done = ask(*words, storage=url)
    assert done.returncode == 0, done.stderr
    assert "Training the yardstick 2 times" in done.stderr
    told = json.loads(done.stdout)
    assert (told["trial"], told["first"], told["epochs"]) == (1, 0.9, 1)
    assert told["figure"]["low"] < told["figure"]["value"] < told["figure"]["high"]
    assert told["luck"] == pytest.approx(0.9 - told["figure"]["value"])
    assert told["second"]["trial"] == 0
    assert told["default"]["lead"]["value"] > 0
    assert told["simple"]["lead"]["value"] == pytest.approx(
        told["figure"]["value"] - told["simple"]["accuracy"]
    )
    assert [each["trial"] for each in told["finalists"]] == [1, 0]

    again = ask(*words, storage=url)
    assert (again.returncode, again.stderr) == (0, "")
    assert json.loads(again.stdout) == told
    words_for_people = ask("confirm", "toy", storage=url)
    assert "Winner of 'toy': trial 1" in words_for_people.stdout
    assert "clearly ahead of trial 0" in words_for_people.stdout
    assert "confirmed: trial 1, val_accuracy = " in ask("best", "toy", storage=url).stdout
    shown = ask("show", "toy.confirm", "0", storage=url).stdout
    assert "confirms toy/1" in shown
    assert HITS not in shown
    page = ask("report", "toy", "-o", "-", storage=url)
    assert "Confirmed with fresh seeds and by examples that chose nothing: trial 1" in page.stdout
    other = ask("confirm", "toy", "--seeds", "5", storage=url)
    assert other.returncode == 2
    assert "--top 1 and --seeds 2" in other.stderr
    assert show_trial(database, find_study(database, "toy.confirm"), 0).attributes[HITS]


def test_an_unknown_study_is_told(database: Database) -> None:
    with pytest.raises(StudyNotFoundError):
        find_study(database, "toy")
    done = ask("confirm", "toy", storage=url_of(database))
    assert done.returncode == 2
    assert "There is no study 'toy'" in done.stderr
