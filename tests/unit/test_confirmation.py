"""What a study that confirms is made of, and that no study file can say it."""

import subprocess
import sys

import pytest

from tests.conftest import StudyMaker
from tuner.config import StudyConfig, differences
from tuner.confirmation import Confirmation, Finalist, Rehearsal, Task, training_seed
from tuner.errors import ConfigError
from tuner.feasible import count_trials

FINALISTS = (
    Finalist(trial=7, value=0.9, is_default=False),
    Finalist(trial=None, value=None, is_default=True),
)
FIRST = Confirmation(study="toy", top=1, seeds=3, finalists=FINALISTS)
SECOND = FIRST.model_copy(update={"rehearsals": (Rehearsal(finalist=1, epochs=2),)})


def confirming(toy: StudyMaker, *settings: str) -> StudyConfig:
    return toy(*settings).model_copy(update={"name": "toy.confirm", "confirms": SECOND})


def test_a_slot_says_which_finalist_is_trained_and_by_what_it_is_judged() -> None:
    tasks = [SECOND.task(slot) for slot in range(9)]

    assert [(task.finalist, task.replicate, task.epochs) for task in tasks] == [
        *((0, number, None) for number in range(3)),
        *((1, number, None) for number in range(3)),
        *((1, number, 2) for number in (3, 4, 5)),
    ]
    assert FIRST.task(5) == Task(finalist=1, replicate=2, epochs=None)
    assert (SECOND.n_first, SECOND.n_folds) == (6, 6)


def test_no_training_has_the_searchs_seed_or_that_of_another_replicate() -> None:
    for seed in (0, 5, 2**31 - 1):
        seeds = [training_seed(seed, number) for number in range(6)]
        assert len({*seeds, seed}) == 7
        assert all(0 <= each < 2**31 for each in seeds)


def test_it_is_read_as_it_was_written(toy: StudyMaker) -> None:
    config = confirming(toy)
    again = StudyConfig.from_json(config.to_json())

    assert again == config
    assert again.confirms == SECOND
    assert differences(config, again) == ([], [])


def test_confirming_something_else_is_another_study(toy: StudyMaker) -> None:
    config = confirming(toy)
    other = config.model_copy(update={"confirms": SECOND.model_copy(update={"seeds": 4})})

    _, forbidden = differences(config, other)

    assert [line.partition(":")[0] for line in forbidden] == ["confirms.seeds"]


def test_no_study_file_can_say_what_a_study_confirms(toy: StudyMaker) -> None:
    with pytest.raises(ConfigError, match=r"confirms: unknown key\. Expected some of: budget, "):
        toy('confirms.study="imdb"')
    with pytest.raises(ConfigError) as error:
        toy("nonsense=1")
    assert "confirms" not in str(error.value)


def test_a_point_of_a_finite_space_is_trained_as_often_as_it_takes(toy: StudyMaker) -> None:
    finite = "space={units=[8, 16]}", "budget.trials=9"

    assert (toy(*finite).n_points, toy(*finite).n_slots) == (2, 2)
    config = confirming(toy, *finite)
    assert (config.n_points, config.n_slots, count_trials(config, None)) == (None, 9, 9)
    assert config.notes() == ()


def test_whoever_confirms_waits_for_no_tensorflow() -> None:
    program = (
        "import sys; import tuner.cli.confirm; import tuner.yardstick; "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
