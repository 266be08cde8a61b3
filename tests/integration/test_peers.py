"""The benchmark against peers: both ways to train, as contestants use them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.peers.data import lay_out, lay_out_test
from tests.benchmarks.peers.protocol import Evaluation, Job, Journal, read_journal
from tests.benchmarks.peers.shared import SharedTraining
from tests.benchmarks.peers.stock import StockTraining
from tests.benchmarks.peers.training import Recorder
from tests.benchmarks.reviews import make_up_reviews

PARAMS = {"units": 4, "learning_rate": 0.01, "batch_size": 32, "layers": 1, "dropout": 0.1}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    lay_out(tmp_path, make_up_reviews(100), seed=1)
    lay_out_test(tmp_path, make_up_reviews(20, seed=2))
    return Job(
        table=2,
        journal=str(tmp_path / "journal.jsonl"),
        began=0.0,
        data=str(tmp_path),
        scratch=str(tmp_path),
        words=20,
        seed=1,
        cores=1,
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", [StockTraining, SharedTraining])
def test_each_epochs_accuracy_on_all_validation_reviews_is_recorded(
    job: Job, kind: type[StockTraining | SharedTraining]
) -> None:
    training = kind(job)
    value = training.train(PARAMS, epochs=2, callbacks=[Recorder(Journal(job), 7, PARAMS)])

    told = read_journal(Path(job.journal)).evaluations
    assert [(each.trial, each.epoch, each.params) for each in told] == [
        ("7", 1, PARAMS),
        ("7", 2, PARAMS),
    ]
    assert max(each.value for each in told) == pytest.approx(value)
    assert all((20 * each.value) == pytest.approx(round(20 * each.value)) for each in told)
    correct = 20 * training.test(PARAMS, epochs=2)
    assert correct == pytest.approx(round(correct))


def test_a_later_round_goes_on_where_the_earlier_one_stopped(job: Job, tmp_path: Path) -> None:
    training = SharedTraining(job)

    def train(name: str, folder: Path | None, **rounds: Any) -> list[Evaluation]:
        journal = tmp_path / name
        recorder = Recorder(Journal(replace(job, journal=str(journal))), name, PARAMS)
        training.train(PARAMS, callbacks=[recorder], max_epochs=3, folder=folder, **rounds)
        return list(read_journal(journal).evaluations)

    whole = train("whole", None, epochs=3)
    first = train("first", tmp_path / "rounds", epochs=1)
    second = train("second", tmp_path / "rounds", epochs=3, first_epoch=1)

    assert [each.epoch for each in first] == [1]
    assert [each.epoch for each in second] == [2, 3]
    assert [each.value for each in first + second] == [each.value for each in whole]
