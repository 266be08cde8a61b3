"""The trainer's memory: evidence that the lack of it killed a trainer, and growth that would."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tuner.control_groups import control_groups

#: Share of the limit from which a killed trainer counts as out of memory. The last look is some
#: seconds old and the kernel keeps a reserve, so a machine that ran out was rarely seen at 100 %.
FULL = 0.9
#: Seconds for which a kill that the kernel counted explains a death: as long as two looks are
#: apart at most, and a large process takes to end. Later, it was another process of ours.
RECENT_SECONDS = 30.0

#: A trainer is replaced when it holds this many times what it held after its first trial ...
GROWTH_FACTOR = 2.0
#: ... and this many bytes more: a small first trial followed by a large model is no leak.
GROWTH_BYTES = 512 * 2**20
#: It is also replaced when it holds this share of the limit: what is left is another trial's ...
LARGE_SHARE = 0.5
#: ... provided it grew by this factor: where the first trial takes half of the memory already, a
#: new process would be no smaller.
LARGE_GROWTH_FACTOR = 1.2

#: Exceptions of Python and NumPy, and of TensorFlow's allocators.
OUT_OF_MEMORY_ERRORS = {"MemoryError", "ResourceExhaustedError"}
#: What libraries below say who know no such exception.
OUT_OF_MEMORY_WORDS = (
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "Dst tensor is not initialized",
)

_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Filling:
    """How full one limit of memory is."""

    #: Bytes that cannot be taken back: without the cache of files, which the kernel drops first.
    used: int
    #: Bytes.
    limit: int

    @property
    def share(self) -> float:
        """Part of the limit that is used."""
        return self.used / self.limit

    def __str__(self) -> str:
        return f"{self.share:.0%} full ({self.used / _GIB:.1f} of {self.limit / _GIB:.1f} GiB)"


class MemoryGroup:
    """The control group that this process, and so its trainer, is accounted to.

    Both generations are read, v2 and v1, and every group above too: a job's or a pod's limit is
    often set there. Where there are no groups, the machine's memory is the limit.

    Args:
        root: Where the groups are mounted.
        membership: Which of them is ours.

    References:
        https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files
        https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
    """

    def __init__(
        self,
        *,
        root: Path = Path("/sys/fs/cgroup"),
        membership: Path = Path("/proc/self/cgroup"),
    ) -> None:
        groups = control_groups("memory", root=root, membership=membership)
        self._first_generation = groups.are_first
        self._folders = groups.folders

    def n_kills(self) -> int | None:
        """Count the processes of this group that the kernel killed for lack of memory.

        Returns:
            Since the group was made; None where nobody counts.
        """
        name = "memory.oom_control" if self._first_generation else "memory.events"
        if not self._folders:
            return None
        return _fields(self._folders[0] / name).get("oom_kill")

    def ends_together(self) -> bool:
        """Say whether the kernel then kills all processes of a group, the worker with its trainer.

        References:
            https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files
        """
        return any(_number(folder / "memory.oom.group") == 1 for folder in self._folders)

    def fillings(self) -> Iterator[Filling]:
        """Say how full each limit is that holds for this process, the machine's last."""
        machine = psutil.virtual_memory()
        for folder in self._folders:
            filling = self._filling(folder)
            if filling is not None and filling.limit < machine.total:  # else it limits nothing
                yield filling
        yield Filling(used=machine.total - machine.available, limit=machine.total)

    def _filling(self, folder: Path) -> Filling | None:
        if self._first_generation:
            limit = _number(folder / "memory.limit_in_bytes")
            usage = _number(folder / "memory.usage_in_bytes")
            prefix = "total_"  # with the groups below, as usage is
        else:
            limit = _number(folder / "memory.max")
            usage = _number(folder / "memory.current")
            prefix = ""
        if not limit or usage is None:
            return None
        fields = _fields(folder / "memory.stat")
        # Active file pages too: the reviews are memory-mapped, and can always be read again.
        cache = fields.get(f"{prefix}inactive_file", 0) + fields.get(f"{prefix}active_file", 0)
        return Filling(used=max(0, usage - cache), limit=limit)


class MemoryWatch:
    """Watches the memory of one trainer after the other.

    Args:
        group: What limits it.
        clock: Seconds that only ever rise.
    """

    def __init__(
        self, group: MemoryGroup | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._group = group or MemoryGroup()
        self._clock = clock
        self._process: psutil.Process | None = None
        self._resident = 0  # the trainer's, bytes
        self._resident_at_first = 0  # after its first trial
        self._filling: Filling | None = None  # of the fullest limit
        self._n_kills: int | None = None
        self._n_kills_before = 0
        self._kill_seen_at: float | None = None

    def start(self, pid: int) -> None:
        """Watch a new trainer.

        Args:
            pid: Its process.
        """
        try:
            self._process = psutil.Process(pid)
        except psutil.NoSuchProcess:
            self._process = None  # died at once; the kernel's count still tells why
        self._resident = self._resident_at_first = 0
        self._n_kills = self._group.n_kills()
        self._kill_seen_at = None
        self.sample()

    def sample(self) -> None:
        """Look: cheap enough for every message of the trainer."""
        self._filling = max(self._group.fillings(), key=lambda filling: filling.share)
        self._count_kills()
        self._measure()

    def evidence(self) -> str | None:
        """Say why a trainer that was killed (SIGKILL) ran out of memory.

        Returns:
            A sentence for people; None where nothing speaks for it. Being killed alone does not:
            a scheduler or a person kills as well.
        """
        self._count_kills()
        seen_at = self._kill_seen_at
        if seen_at is not None and self._clock() - seen_at <= RECENT_SECONDS:
            return (
                f"the kernel's out-of-memory killer ended a process of this container "
                f"(oom_kill {self._n_kills_before} -> {self._n_kills}); the trainer held "
                f"{self._resident / _GIB:.1f} GiB"
            )
        if self._filling is not None and self._filling.share >= FULL:
            return (
                f"memory was {self._filling} when it died; the trainer held "
                f"{self._resident / _GIB:.1f} GiB"
            )
        return None

    def growth(self) -> str | None:
        """Compare the trainer, right after a trial, with what it held after its first one.

        Returns:
            Why it should be replaced, for people; None where it need not be.
        """
        self._measure()
        now, first = self._resident, self._resident_at_first
        if not first:
            self._resident_at_first = now
            return None
        limit = min(filling.limit for filling in self._group.fillings())
        has_leaked = now > GROWTH_FACTOR * first + GROWTH_BYTES
        is_large = now > LARGE_SHARE * limit and now > LARGE_GROWTH_FACTOR * first
        if not has_leaked and not is_large:
            return None
        return (
            f"the trainer grew from {first / _GIB:.1f} GiB after its first trial to "
            f"{now / _GIB:.1f} GiB, of {limit / _GIB:.1f} GiB that there are"
        )

    def _measure(self) -> None:
        if self._process is None:
            return
        try:
            resident = self._process.memory_info().rss
        except psutil.Error:
            return  # it died: what it held before is what counts
        if resident:  # a process that just died holds nothing
            self._resident = resident

    def _count_kills(self) -> None:
        n_kills = self._group.n_kills()
        if n_kills is None or self._n_kills is None:
            return
        if n_kills > self._n_kills:
            # Kept apart from the death itself: the kernel counts first, and a look may come
            # between that and the end of the process.
            self._n_kills_before, self._n_kills = self._n_kills, n_kills
            self._kill_seen_at = self._clock()


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an exception of a training means that memory ran out.

    Args:
        error: From Python, NumPy, TensorFlow, CUDA or cuDNN; told apart by names and words, so that
            TensorFlow need not be loaded.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & OUT_OF_MEMORY_ERRORS) or any(
        words in str(error) for words in OUT_OF_MEMORY_WORDS
    )


def _number(path: Path) -> int | None:
    """Read one number; None where there is none, or no limit (``max``)."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _fields(path: Path) -> dict[str, int]:
    """Read lines of a name and a number."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
