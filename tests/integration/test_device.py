"""What a trainer is given to train on reaches it, and what it used is told."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tests.conftest import StudyMaker
from tests.workers import make_worker
from tuner.device import PeakMemory
from tuner.gpus import Gpu
from tuner.results import show_trial, trials
from tuner.storage import Database, create_study
from tuner.worker.messages import Message, Prepare, Ready, Unusable
from tuner.worker.process import TrainerProcess
from tuner.worker.worker import GRU_OBJECTIVE

GPU = Gpu(uuid="GPU-00000000-of-no-machine", name="NVIDIA H100", memory_mb=81_559)


def test_keras_comes_without_scikit_learn_which_can_be_imported_afterwards() -> None:
    program = """
import sys
from tuner.loading import load_tensorflow
load_tensorflow()
import tuner.objective
assert "keras" in sys.modules
assert not any(name.partition(".")[0] == "sklearn" for name in sys.modules)
import sklearn.linear_model
load_tensorflow()
assert sys.modules["sklearn"] is sklearn
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"CUDA_VISIBLE_DEVICES": "-1", "memory_limit_mb": None}),
        (
            {"gpu": GPU},
            {
                "CUDA_VISIBLE_DEVICES": GPU.uuid,
                "TF_FORCE_GPU_ALLOW_GROWTH": "true",
                "memory_limit_mb": None,
            },
        ),
        (
            {"gpu": GPU, "memory_limit_mb": 20_000},
            {
                "CUDA_VISIBLE_DEVICES": GPU.uuid,
                "TF_FORCE_GPU_ALLOW_GROWTH": "false",
                "memory_limit_mb": 20_000,
            },
        ),
    ],
)
def test_a_trainer_process_gets_the_place_of_its_worker(
    database: Database, toy: StudyMaker, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    study = create_study(database, toy("budget.trials=1")).study

    make_worker(database, study, "telling_its_place", **given).run()

    facts = show_trial(database, study, 0).attributes
    assert {name: facts[name] for name in expected} == expected
    assert facts["OMP_NUM_THREADS"] == "1"


def test_a_trial_tells_the_memory_that_it_took_also_where_it_was_ended(
    database: Database, toy: StudyMaker
) -> None:
    finished = create_study(database, toy("budget.trials=1")).study
    ended = create_study(
        database, toy("name=slow", "budget.trials=1", "budget.trial_minutes=0.003")
    ).study

    make_worker(database, finished, "telling_its_place").run()
    make_worker(database, ended, "large_and_slow").run()

    assert show_trial(database, finished, 0).to_json()["attributes"]["peak_memory_mb"] == 321
    assert [row.state for row in trials(database, ended)] == ["pruned"]
    assert show_trial(database, ended, 0).attributes["peak_memory_mb"] == 4_567


@contextmanager
def gru_trainer(toy: StudyMaker, *, require_gpu: bool) -> Iterator[TrainerProcess]:
    """A real trainer that was given a GPU which is not there."""
    config = toy("data.examples=60", "space.units=4", "space.embedding=4")
    prepare = Prepare(
        config=config.to_json(), data_root=None, threads=1, gpu=GPU.uuid, require_gpu=require_gpu
    )
    wake_reads, wake_writes = os.pipe()
    try:
        with TrainerProcess(
            GRU_OBJECTIVE, prepare, environment=os.environ, wake=wake_reads
        ) as trainer:
            yield trainer
    finally:
        os.close(wake_reads)
        os.close(wake_writes)


def first_answer(trainer: TrainerProcess) -> Message:
    while (message := trainer.receive(60.0)) is None:
        pass
    return message


def test_a_gpu_that_tensorflow_does_not_see_is_warned_of_and_the_processor_trains(
    toy: StudyMaker, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING),
        gru_trainer(toy, require_gpu=False) as trainer,
    ):
        answer = first_answer(trainer)

    assert isinstance(answer, Ready)
    assert answer.device == "cpu"
    assert f"GPU {GPU.uuid} is there, but TensorFlow does not see it: " in caplog.text
    assert "THE PROCESSOR TRAINS INSTEAD" in caplog.text
    assert "tuner doctor" in caplog.text


def test_a_gpu_that_tensorflow_does_not_see_is_refused_where_one_is_required(
    toy: StudyMaker,
) -> None:
    with gru_trainer(toy, require_gpu=True) as trainer:
        answer = first_answer(trainer)

    assert isinstance(answer, Unusable)
    assert "TensorFlow does not see it" in answer.message
    assert "leave out --require-gpu" in answer.message


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process its peak")
def test_the_peak_of_memory_is_counted_from_the_restart() -> None:
    peak = PeakMemory("cpu")
    assert peak.read_mb() is None  # nothing is known of what was before

    peak.restart()
    before = peak.read_mb()
    large = np.ones(200 * 2**20, dtype=np.uint8)
    during = peak.read_mb()
    assert large[-1] == 1
    del large
    after = peak.read_mb()
    peak.restart()
    again = peak.read_mb()

    assert before is not None
    assert during is not None
    assert again is not None
    assert during >= before + 195
    assert after is not None
    assert after >= during - 2  # a peak stays; the kernel counts a process's memory in batches
    assert again <= during - 150
