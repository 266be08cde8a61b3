import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tuner.worker import memory
from tuner.worker.memory import MemoryGroup, MemoryWatch

MIB = 2**20
GIB = 2**30


class Groups:
    """Control groups as the kernel shows them, in a folder."""

    def __init__(self, folder: Path, *, first_generation: bool) -> None:
        self.folder = folder
        self.first_generation = first_generation
        self.membership = folder / "membership"
        self.root = folder / "sys-fs-cgroup"
        self.mount = self.root / "memory" if first_generation else self.root
        self.mount.mkdir(parents=True)
        self.put_us_in("/job/worker")

    def put_us_in(self, path: str) -> None:
        lines = f"0::{path}\n"
        if self.first_generation:
            lines = f"9:name=systemd:/elsewhere\n4:hugetlb,memory:{path}\n1:cpu:/\n0::/\n"
        self.membership.write_text(lines)

    def write(
        self, path: str, *, used: int, limit: int | None, cache: int = 0, n_kills: int = 0
    ) -> None:
        folder = self.mount / path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        if self.first_generation:
            unlimited = 9223372036854771712
            files = {
                "memory.limit_in_bytes": f"{unlimited if limit is None else limit}\n",
                "memory.usage_in_bytes": f"{used + cache}\n",
                "memory.oom_control": f"oom_kill_disable 0\nunder_oom 0\noom_kill {n_kills}\n",
                "memory.stat": (
                    f"cache 0\nrss 0\ninactive_file 1\nactive_file 1\n"
                    f"hierarchical_memory_limit {unlimited}\ntotal_rss {used}\n"
                    f"total_inactive_file {cache // 2}\ntotal_active_file {cache // 2}\n"
                ),
            }
        else:
            files = {
                "memory.max": "max\n" if limit is None else f"{limit}\n",
                "memory.current": f"{used + cache}\n",
                "memory.events": f"low 0\nhigh 0\nmax 7\noom 2\noom_kill {n_kills}\n",
                "memory.stat": (
                    f"anon {used}\nfile {cache}\nkernel 0\n"
                    f"inactive_file {cache // 2}\nactive_file {cache // 2}\n"
                ),
            }
        for name, text in files.items():
            (folder / name).write_text(text)

    def group(self) -> MemoryGroup:
        return MemoryGroup(root=self.root, membership=self.membership)


@pytest.fixture(params=["cgroup v2", "cgroup v1"])
def groups(request: pytest.FixtureRequest, tmp_path: Path) -> Groups:
    return Groups(tmp_path, first_generation=request.param == "cgroup v1")


@contextmanager
def another_process() -> Iterator[psutil.Process]:
    """A process that stands in for a trainer."""
    command = [sys.executable, "-S", "-c", "import sys; print(flush=True); sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield psutil.Process(process.pid)
        process.kill()


def test_a_kill_that_the_kernel_counted_is_evidence(groups: Groups) -> None:
    groups.write("/job/worker", used=GIB, limit=4 * GIB, n_kills=2)
    watch = MemoryWatch(groups.group())
    watch.start(os.getpid())

    groups.write("/job/worker", used=GIB, limit=4 * GIB, n_kills=3)

    evidence = watch.evidence()
    assert evidence is not None
    assert evidence.startswith(
        "the kernel's out-of-memory killer ended a process of this container (oom_kill 2 -> 3)"
    )


def test_being_killed_is_no_evidence_by_itself(groups: Groups) -> None:
    groups.write("/job/worker", used=2 * GIB, limit=4 * GIB, n_kills=2)
    watch = MemoryWatch(groups.group())
    with another_process() as trainer:
        watch.start(trainer.pid)

    watch.sample()

    assert watch.evidence() is None


def test_a_kill_seen_just_before_the_trainers_end_counts_and_an_old_one_does_not(
    groups: Groups,
) -> None:
    now = 100.0
    groups.write("/job/worker", used=GIB, limit=4 * GIB, n_kills=0)
    watch = MemoryWatch(groups.group(), clock=lambda: now)
    watch.start(os.getpid())
    groups.write("/job/worker", used=GIB, limit=4 * GIB, n_kills=1)
    watch.sample()

    now += memory.RECENT_SECONDS
    assert watch.evidence() is not None
    now += 1
    assert watch.evidence() is None


def test_a_new_trainer_is_not_blamed_for_the_end_of_the_last_one(groups: Groups) -> None:
    groups.write("/job/worker", used=GIB, limit=4 * GIB, n_kills=0)
    watch = MemoryWatch(groups.group())
    watch.start(os.getpid())
    groups.write("/job/worker", used=GIB, limit=4 * GIB, n_kills=1)
    assert watch.evidence() is not None

    watch.start(os.getpid())

    assert watch.evidence() is None


def test_memory_that_was_full_is_evidence(groups: Groups) -> None:
    groups.write("/job/worker", used=4 * GIB * 96 // 100, limit=4 * GIB)
    watch = MemoryWatch(groups.group())
    watch.start(os.getpid())

    groups.write("/job/worker", used=GIB // 10, limit=4 * GIB)  # what the dead one left

    evidence = watch.evidence()
    assert evidence is not None
    assert evidence.startswith("memory was 96% full (3.8 of 4.0 GiB) when it died; the trainer")


def test_the_cache_of_files_does_not_fill_memory(groups: Groups) -> None:
    groups.write("/job/worker", used=GIB, cache=2 * GIB + 900 * MIB, limit=4 * GIB)
    watch = MemoryWatch(groups.group())

    watch.start(os.getpid())

    assert watch.evidence() is None


def test_the_limit_of_a_group_above_counts_too(groups: Groups) -> None:
    groups.write("/job/worker", used=GIB, limit=None)
    groups.write("/job", used=15 * GIB // 8, limit=2 * GIB)
    watch = MemoryWatch(groups.group())

    watch.start(os.getpid())

    assert "94% full (1.9 of 2.0 GiB)" in (watch.evidence() or "")


def test_a_container_that_is_told_its_path_outside_finds_itself_at_the_root(
    groups: Groups,
) -> None:
    groups.write("/", used=GIB, limit=2 * GIB, n_kills=5)
    for path in ("/docker/0123456789ab", "/../../kubepods/pod1", "/"):
        groups.put_us_in(path)

        assert groups.group().n_kills() == 5
        assert next(filling.limit for filling in groups.group().fillings()) == 2 * GIB


def test_where_nothing_is_limited_the_machine_is_the_limit(groups: Groups, tmp_path: Path) -> None:
    groups.write("/job/worker", used=GIB, limit=None)
    groups.write("/job", used=GIB, limit=2**60)
    nowhere = MemoryGroup(root=tmp_path / "none", membership=tmp_path / "none")

    for group in (groups.group(), nowhere):
        (filling,) = group.fillings()
        assert filling.limit == psutil.virtual_memory().total
        assert 0 < filling.used < filling.limit
    assert nowhere.n_kills() is None


def test_this_machine_can_be_watched() -> None:
    watch = MemoryWatch()
    with another_process() as trainer:
        watch.start(trainer.pid)
        watch.sample()
        assert watch.growth() is None
    watch.sample()  # it is dead now

    assert watch.growth() is None


GROW = """
import sys
held = [bytearray(b"x") * int(sys.argv[1])]
print(flush=True)
for line in sys.stdin:
    held.append(bytearray(b"x") * int(line))
    print(flush=True)
"""


@contextmanager
def growing_process(n_bytes: int) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    with subprocess.Popen(
        [sys.executable, "-S", "-c", GROW, str(n_bytes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid, process
        process.kill()


def grow(process: "subprocess.Popen[str]", n_bytes: int) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{n_bytes}\n")
    process.stdin.flush()
    process.stdout.readline()


def test_a_trainer_that_holds_far_more_than_after_its_first_trial_has_grown(
    groups: Groups,
) -> None:
    groups.write("/job/worker", used=GIB, limit=None)
    watch = MemoryWatch(groups.group())
    with growing_process(10 * MIB) as (pid, process):
        watch.start(pid)
        assert watch.growth() is None  # its first trial
        grow(process, 400 * MIB)
        assert watch.growth() is None  # many times the first, but little
        grow(process, 200 * MIB)

        reason = watch.growth()

    assert reason is not None
    assert reason.startswith("the trainer grew from 0.0 GiB after its first trial to 0.6 GiB, of ")


def test_a_large_trainer_may_not_grow_much(groups: Groups) -> None:
    groups.write("/job/worker", used=GIB, limit=400 * MIB)
    watch = MemoryWatch(groups.group())
    with growing_process(250 * MIB) as (pid, process):
        watch.start(pid)
        assert watch.growth() is None
        grow(process, 20 * MIB)
        assert watch.growth() is None
        grow(process, 60 * MIB)

        assert "of 0.4 GiB" in (watch.growth() or "")
