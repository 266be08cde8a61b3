"""How many workers a processor bears, on machines that are described to the room."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tuner.processor import MOST_WORKERS, WORKER_BYTES, Crew, fitting_crew, usable_cores


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


@pytest.mark.parametrize(("quota", "at_most"), [("50000", 1), ("-1", 10_000)])
def test_a_limit_of_the_first_kind_of_groups_counts_too(
    quota: str, at_most: int, tmp_path: Path
) -> None:
    group = tmp_path / "cpu" / "docker" / "1f2e"
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (group / "cpu.cfs_period_us").write_text("50000\n")
    membership = tmp_path / "membership"
    membership.write_text("4:memory:/docker/1f2e\n1:cpu,cpuacct:/docker/1f2e\n0::/\n")
    unlimited = usable_cores(root=tmp_path, membership=tmp_path / "none")

    assert usable_cores(root=tmp_path, membership=membership) == min(unlimited, at_most)


@pytest.mark.parametrize(
    ("cores", "free", "threads", "n_open", "n_workers", "why"),
    [
        (2, 24.0, 1, None, 2, "2 cores, 24.0 GB free"),
        (1, 24.0, 1, None, 1, "1 core, 24.0 GB free"),
        (8, 5.9, 1, None, 3, "8 cores, 5.9 GB free, up to 1.5 GB a worker"),
        (8, 0.2, 1, None, 1, "8 cores, 0.2 GB free, up to 1.5 GB a worker"),  # let it try
        (8, 24.0, 1, 3, 3, "8 cores, 24.0 GB free, 3 trials left"),
        (8, 24.0, 1, 1, 1, "8 cores, 24.0 GB free, 1 trial left"),
        (2, 24.0, 1, 60, 2, "2 cores, 24.0 GB free"),
        (8, 24.0, 3, None, 2, "8 cores, 24.0 GB free"),
        (2, 24.0, 4, None, 1, "2 cores, 24.0 GB free"),
        (1_000, 4_000.0, 1, None, MOST_WORKERS, "1000 cores, 4000.0 GB free"),
    ],
)
def test_a_processor_bears_as_many_workers_as_have_cores_memory_and_trials(
    cores: int, free: float, threads: int, n_open: int | None, n_workers: int, why: str
) -> None:
    free_bytes = int(free * 1e9)

    crew = fitting_crew(cores=cores, free_bytes=free_bytes, threads=threads, n_open=n_open)

    assert crew == Crew(n_workers=n_workers, why=why)
    assert crew.n_workers == 1 or crew.n_workers * WORKER_BYTES <= free_bytes
