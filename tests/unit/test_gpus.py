"""Which GPUs there are, on machines that are described to the room."""

import logging
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from tuner.gpus import Gpu, Gpus, discover, seen_together

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
    ("gpus", "together"),
    [((A, B), (A, B)), (SLICES, SLICES[:1]), ((*SLICES, A), (A,)), ((), ())],
)
def test_a_process_sees_whole_gpus_or_one_instance(
    gpus: tuple[Gpu, ...], together: tuple[Gpu, ...]
) -> None:
    assert seen_together(gpus) == together
