"""Who trains where, on machines that are described to the room."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_gpus import A, B, Driver
from tuner.cli.places import Chosen, LocalPlaces
from tuner.errors import InputError
from tuner.gpus import Gpu, Gpus
from tuner.places import (
    LEAST_MEMORY_MB,
    RESERVE_MB,
    cuda_libraries,
    memory_share,
    place_environment,
    places,
)
from tuner.processor import usable_cores

# --- who trains where ----------------------------------------------------------------------------


def who(gpus: tuple[Gpu, ...], n: int | None, per_gpu: int, cores: int = 8) -> list[Any]:
    found = Gpus(found=gpus, why_none="" if gpus else "there is none")
    made = places(found, n_workers=n, per_gpu=per_gpu, cores=cores)
    return [(place.gpu, place.memory_limit_mb, place.threads) for place in made]


HALF = A.memory_mb // 2 - RESERVE_MB
THIRD = A.memory_mb // 3 - RESERVE_MB


@pytest.mark.parametrize(
    ("gpus", "n", "per_gpu", "expected"),
    [
        ((), None, 1, [(None, None, 8)]),
        ((), None, 4, [(None, None, 8)]),
        ((), 3, 1, [(None, None, 2)] * 3),
        ((), 20, 1, [(None, None, 1)] * 20),
        ((A,), None, 1, [(A, None, 8)]),
        ((A, B), None, 1, [(A, None, 4), (B, None, 4)]),
        ((A, B), 1, 1, [(A, None, 8)]),
        ((A, B), None, 2, [(A, HALF, 2), (B, HALF, 2), (A, HALF, 2), (B, HALF, 2)]),
        ((A, B), 3, 1, [(A, HALF, 2), (B, None, 2), (A, HALF, 2)]),
        ((A, B), 5, 1, [(A, THIRD, 1), (B, HALF, 1), (A, THIRD, 1), (B, HALF, 1), (A, THIRD, 1)]),
    ],
)
def test_workers_are_spread_evenly_and_share_memory_and_cores(
    gpus: tuple[Gpu, ...], n: int | None, per_gpu: int, expected: list[Any]
) -> None:
    assert who(gpus, n, per_gpu) == expected


@pytest.mark.parametrize("n_gpus", range(1, 6))
@pytest.mark.parametrize("n", range(1, 20))
def test_no_gpu_is_given_more_than_it_has_nor_two_workers_more_than_another(
    n_gpus: int, n: int
) -> None:
    gpus = tuple(Gpu(uuid=f"GPU-{i}", name="NVIDIA H100", memory_mb=81_559) for i in range(n_gpus))

    made = who(gpus, n, 1, cores=32)

    used = [[limit for gpu, limit, _ in made if gpu == each] for each in gpus]
    assert sum(map(len, used)) == n
    assert max(map(len, used)) - min(map(len, used)) <= 1
    assert all(sum(limit or 0 for limit in one) + RESERVE_MB * len(one) <= 81_559 for one in used)
    assert sum(threads for *_, threads in made) <= 32


def test_a_gpu_of_unknown_memory_is_shared_as_it_comes() -> None:
    assert memory_share(Gpu(uuid="GPU-1", name="NVIDIA GB10", memory_mb=0), 4) is None


def test_a_gpu_that_is_too_small_for_so_many_says_how_many_fit() -> None:
    small = Gpu(uuid="GPU-1", name="NVIDIA T4", memory_mb=2 * (RESERVE_MB + LEAST_MEMORY_MB))

    assert memory_share(small, 2) == LEAST_MEMORY_MB
    with pytest.raises(InputError, match=r"3 workers cannot share NVIDIA T4.* 2 at most"):
        memory_share(small, 3)


# --- what a process sees -------------------------------------------------------------------------


def test_a_worker_without_gpu_sees_none() -> None:
    assert place_environment("", {"LD_LIBRARY_PATH": "/opt/lib"}) == {"CUDA_VISIBLE_DEVICES": "-1"}


def test_a_worker_with_gpu_sees_it_alone_and_finds_the_libraries_that_pip_installed(
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "nvidia" / "cublas" / "lib", tmp_path / "nvidia" / "cudnn" / "lib"
    for folder in (first, second, tmp_path / "nvidia" / "cudnn" / "include"):
        folder.mkdir(parents=True)
    packages = [str(tmp_path), "", str(tmp_path / "none")]

    variables = place_environment(
        A.uuid, {"LD_LIBRARY_PATH": f"/opt/lib:{second}"}, folders=packages
    )

    assert variables == {
        "CUDA_VISIBLE_DEVICES": A.uuid,
        "LD_LIBRARY_PATH": f"{first}:{second}:/opt/lib",
    }
    assert cuda_libraries(packages) == (str(first), str(second))
    assert place_environment(A.uuid, {}, folders=[]) == {"CUDA_VISIBLE_DEVICES": A.uuid}


# --- what a person asks for ----------------------------------------------------------------------


def test_both_ways_to_say_how_many_workers_there_are_exclude_each_other() -> None:
    with pytest.raises(InputError, match="--workers 2 and --per-gpu 3 both say"):
        LocalPlaces(workers=2, per_gpu=3, require_gpu=False)


def test_a_required_gpu_that_is_not_there_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")

    with pytest.raises(InputError, match="--require-gpu was given, but CUDA_VISIBLE_DEVICES=-1"):
        LocalPlaces(workers=None, per_gpu=None, require_gpu=True)


def test_threads_that_were_asked_for_are_each_workers_and_a_processor_has_no_gpu_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")

    chosen = LocalPlaces(
        workers=2, per_gpu=None, require_gpu=False, threads=3, gpu_memory=500
    ).choose()

    assert [(p.gpu, p.memory_limit_mb, p.threads) for p in chosen.places] == [(None, None, 3)] * 2
    assert str(chosen) == "2 workers on the processor, 3 threads each"


def test_auto_gives_a_processor_workers_with_one_thread_and_tells_why_so_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    offered = LocalPlaces(workers="auto", per_gpu=None, require_gpu=False)

    chosen, last = offered.choose(), offered.choose(n_open=1)

    assert 1 <= len(chosen.places) <= usable_cores()
    assert {(p.gpu, p.memory_limit_mb, p.threads) for p in chosen.places} == {(None, None, 1)}
    assert "on the processor, 1 thread" in str(chosen)
    assert chosen.why.startswith(f"{usable_cores()} core")
    assert last.places == chosen.places[:1]  # with the same thread, so that its value is the same


@pytest.mark.parametrize(
    ("per_gpu", "n_open", "expected"),
    [
        (None, None, [(A, None), (B, None)]),
        (None, 60, [(A, None), (B, None)]),
        (None, 1, [(A, None)]),
        (2, None, [(A, 19_712), (B, 19_712), (A, 19_712), (B, 19_712)]),
        (2, 3, [(A, 19_712), (B, None), (A, 19_712)]),
    ],
)
def test_auto_gives_each_gpu_its_workers_but_none_without_a_trial(
    per_gpu: int | None,
    n_open: int | None,
    expected: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Driver(A, B))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    offered = LocalPlaces(workers="auto", per_gpu=per_gpu, require_gpu=True)

    chosen = offered.choose(n_open)

    assert [(place.gpu, place.memory_limit_mb) for place in chosen.places] == expected
    assert chosen.why == ""


def test_who_trains_where_is_told_in_one_line() -> None:
    other = Gpu(uuid="GPU-t4", name="NVIDIA T4", memory_mb=15_360)
    found = Gpus(found=(A, B, other), why_none="")

    def told(n_workers: int) -> str:
        made = places(found, n_workers=n_workers, per_gpu=1, cores=4)
        return str(Chosen(places=made, why=""))

    assert told(4) == "4 workers on 3 GPUs (2 x NVIDIA A100, 1 x NVIDIA T4), 1 thread each"
    assert told(1) == "1 worker on 1 GPU (1 x NVIDIA A100), 4 threads"
