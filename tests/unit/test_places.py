"""Which GPUs there are, and who trains where, on machines that are described to the room."""

import logging
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tuner.cli.places import described, local_places
from tuner.errors import InputError
from tuner.places import (
    LEAST_MEMORY_MB,
    RESERVE_MB,
    Gpu,
    Gpus,
    cuda_libraries,
    discover,
    memory_share,
    place_environment,
    places,
    usable_cores,
)

A = Gpu(uuid="GPU-aaaa1111-0000", name="NVIDIA A100", memory_mb=40_960)
B = Gpu(uuid="GPU-bbbb2222-0000", name="NVIDIA A100", memory_mb=40_960)
C = Gpu(uuid="GPU-bbcc3333-0000", name="NVIDIA A100", memory_mb=40_960)
SLICES = tuple(
    Gpu(uuid=f"MIG-{n}{n}{n}{n}", name="NVIDIA A100 MIG 1g.5gb", memory_mb=4_864) for n in (1, 2)
)


class Driver:
    """The library `nvidia-ml-py` on a machine with the given GPUs.

    Args:
        gpus: In their order on the bus; those that are lost are None.
        instances: By UUID, of GPUs in MIG mode.
        start: Raised when the library is started.
    """

    NVML_DEVICE_MIG_ENABLE = 1

    class NVMLError(Exception):
        pass

    class NVMLError_LibraryNotFound(NVMLError):  # noqa: N801, N818 - NVIDIA's name
        pass

    def __init__(
        self,
        *gpus: Gpu | None,
        instances: Mapping[str, tuple[Gpu, ...]] | None = None,
        start: NVMLError | None = None,
    ) -> None:
        self.gpus = gpus
        self.instances = instances or {}
        self.start = start
        self.n_open = 0

    def nvmlInit(self) -> None:  # noqa: N802
        if self.start is not None:
            raise self.start
        self.n_open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.n_open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Gpu:  # noqa: N802
        gpu = self.gpus[index]
        if gpu is None:
            raise self.NVMLError("GPU is lost")
        return gpu

    def nvmlDeviceGetUUID(self, handle: Gpu) -> str:  # noqa: N802
        return handle.uuid

    def nvmlDeviceGetName(self, handle: Gpu) -> str:  # noqa: N802
        return handle.name

    def nvmlDeviceGetMemoryInfo(self, handle: Gpu) -> Any:  # noqa: N802
        if not handle.memory_mb:
            raise self.NVMLError("Not Supported")
        return SimpleNamespace(total=handle.memory_mb * 2**20)

    def nvmlDeviceGetMigMode(self, handle: Gpu) -> tuple[int, int]:  # noqa: N802
        if handle.uuid not in self.instances:
            raise self.NVMLError("Not Supported")
        return 1, 1

    def nvmlDeviceGetMaxMigDeviceCount(self, _handle: Gpu) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Gpu, index: int) -> Gpu:  # noqa: N802
        instances = self.instances[handle.uuid]
        if index % 2 or index // 2 >= len(instances):  # numbers have gaps
            raise self.NVMLError("Not Found")
        return instances[index // 2]


def visible(value: str | None, driver: Driver) -> Gpus:
    return discover({} if value is None else {"CUDA_VISIBLE_DEVICES": value}, nvml=driver)


# --- what there is -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, (A, B, C)),
        ("0", (A,)),
        ("2,0", (C, A)),
        (" 1 , 2 ", (B, C)),
        ("0,2,-1,1", (A, C)),
        ("0,7,1", (A,)),
        ("0,,1", (A,)),
        ("1,1,0", (B, A)),
        (C.uuid, (C,)),
        ("GPU-a", (A,)),
        ("GPU-bbbb,0", (B, A)),
        ("0,GPU-bb,1", (A,)),
        ("0,GPU-dddd,1", (A,)),
        ("0,aaaa1111", (A,)),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(
    value: str | None, expected: tuple[Gpu, ...]
) -> None:
    driver = Driver(A, B, C)

    found = visible(value, driver)

    assert found == Gpus(found=expected, why_none="")
    assert driver.n_open == 0


@pytest.mark.parametrize(
    ("value", "driver", "why"),
    [
        ("", Driver(A), "CUDA_VISIBLE_DEVICES= hides every GPU"),
        ("-1", Driver(A), "CUDA_VISIBLE_DEVICES=-1 hides every GPU"),
        ("3", Driver(A), "CUDA_VISIBLE_DEVICES=3 begins with none of the 1 GPUs here"),
        ("NoDevFiles", Driver(A), "CUDA_VISIBLE_DEVICES=NoDevFiles begins with none"),
        (None, Driver(), "the NVIDIA driver shows no GPU"),
        (
            None,
            Driver(start=Driver.NVMLError_LibraryNotFound("not found")),
            "this machine has no NVIDIA driver",
        ),
        (
            None,
            Driver(start=Driver.NVMLError("Driver/library version mismatch")),
            "the NVIDIA driver does not answer: Driver/library version mismatch",
        ),
        (None, Driver(A, instances={A.uuid: ()}), "all GPUs are in MIG mode and have no instances"),
    ],
)
def test_where_no_gpu_is_found_the_reason_is_told(
    value: str | None, driver: Driver, why: str
) -> None:
    found = visible(value, driver)

    assert found.found == ()
    assert found.why_none.startswith(why)


def test_a_machine_of_which_nothing_is_known_is_asked_through_the_real_library() -> None:
    found = discover({})

    assert bool(found.found) != bool(found.why_none)


def test_a_lost_gpu_is_not_counted_as_cuda_does_not_count_it() -> None:
    assert visible("1", Driver(A, None, C)).found == (C,)


def test_memory_that_the_driver_does_not_tell_is_unknown() -> None:
    shared = Gpu(uuid="GPU-1", name="NVIDIA GB10", memory_mb=0)

    assert visible(None, Driver(shared)).found == (shared,)
    assert memory_share(shared, 4) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, (*SLICES, B)),
        ("0", SLICES[:1]),
        ("1,0", (B, SLICES[0])),
        (A.uuid, SLICES[:1]),
        ("MIG-2222", SLICES[1:]),
        ("MIG-2222,MIG-1111", SLICES[::-1]),
        (
            f"MIG-{A.uuid}/1/0",
            (Gpu(uuid=f"MIG-{A.uuid}/1/0", name="MIG instance", memory_mb=0),),
        ),
    ],
)
def test_a_gpu_that_was_cut_up_is_used_by_its_instances(
    value: str | None, expected: tuple[Gpu, ...]
) -> None:
    assert visible(value, Driver(A, B, instances={A.uuid: SLICES})).found == expected


@pytest.mark.parametrize(
    ("environment", "warns"),
    [
        ({"CUDA_VISIBLE_DEVICES": "1"}, True),
        ({"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, False),
        ({"CUDA_VISIBLE_DEVICES": "GPU-t4"}, False),
        ({}, False),
    ],
)
def test_an_index_among_several_models_is_warned_of(
    environment: Mapping[str, str], warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    other = Gpu(uuid="GPU-t4", name="NVIDIA T4", memory_mb=15_360)
    with caplog.at_level(logging.WARNING):
        discover(environment, nvml=Driver(A, other))

    assert ("order of nvidia-smi" in caplog.text) is warns


@pytest.mark.parametrize(
    ("limits", "at_most"),
    [
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "max 100000", "pod/cpu.max": "100000 100000"}, 1),
        ({"pod/cpu.max": "max 100000"}, 10_000),
        ({}, 10_000),
    ],
)
def test_the_limit_of_a_container_counts_among_the_cores(
    limits: Mapping[str, str], at_most: int, tmp_path: Path
) -> None:
    (tmp_path / "pod").mkdir()
    for name, text in limits.items():
        (tmp_path / name).write_text(f"{text}\n")
    membership = tmp_path / "membership"
    membership.write_text("3:cpuset:/\n0::/pod\n")
    unlimited = usable_cores(root=tmp_path, membership=tmp_path / "none")

    assert usable_cores(root=tmp_path, membership=membership) == min(unlimited, at_most)


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
        local_places(workers=2, per_gpu=3, require_gpu=False)


def test_a_required_gpu_that_is_not_there_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")

    with pytest.raises(InputError, match="--require-gpu was given, but CUDA_VISIBLE_DEVICES=-1"):
        local_places(workers=None, per_gpu=None, require_gpu=True)


def test_threads_that_were_asked_for_are_each_workers_and_a_processor_has_no_gpu_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")

    chosen = local_places(workers=2, per_gpu=None, require_gpu=False, threads=3, gpu_memory=500)

    assert [(p.gpu, p.memory_limit_mb, p.threads) for p in chosen] == [(None, None, 3)] * 2
    assert described(chosen) == "2 workers on the processor, 3 threads each"


def test_who_trains_where_is_told_in_one_line() -> None:
    other = Gpu(uuid="GPU-t4", name="NVIDIA T4", memory_mb=15_360)
    found = Gpus(found=(A, B, other), why_none="")

    assert (
        described(places(found, n_workers=4, per_gpu=1, cores=4))
        == "4 workers on 3 GPUs (2 x NVIDIA A100, 1 x NVIDIA T4), 1 thread each"
    )
    assert (
        described(places(found, n_workers=1, per_gpu=1, cores=4))
        == "1 worker on 1 GPU (1 x NVIDIA A100), 4 threads"
    )
