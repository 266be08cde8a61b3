"""Processor time of another thread, as a function of the time of day."""

import threading
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

#: Seconds between two looks.
PAUSE = 0.001


class ThreadClock:
    """Looks again and again at how long a thread of this process has run.

    What other processes take lengthens an operation by the clock on the wall; this one tells how
    much of that time the thread had the processor. Linux only.

    Args:
        name: Name of the thread; the first of several.
    """

    def __init__(self, name: str) -> None:
        tasks = sorted(Path("/proc/self/task").iterdir(), key=lambda task: int(task.name))
        number = next(int(t.name) for t in tasks if (t / "comm").read_text().strip() == name)
        # The kernel's name for the processor time of one thread (linux/posix-timers.h).
        self._clock = (~number << 3) | 6
        self._walls: list[int] = []
        self._runs: list[float] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _look(self) -> None:
        self._walls.append(time.time_ns())
        self._runs.append(time.clock_gettime(self._clock))

    def _watch(self) -> None:
        while not self._is_over.wait(PAUSE):
            self._look()

    def start(self) -> None:
        """Begin to look."""
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """Look a last time."""
        self._is_over.set()
        self._thread.join()
        self._look()

    @property
    def seconds(self) -> float:
        """Processor time from start to stop."""
        return self._runs[-1] - self._runs[0]

    def between(
        self, begins: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Give the processor time within each of several intervals.

        Args:
            begins: Nanoseconds since 1970.
            ends: Likewise.

        Returns:
            Seconds.
        """
        first = self._walls[0]  # differences are small enough for floating-point numbers
        walls = np.array(self._walls, np.int64) - first
        at_end = np.interp(ends - first, walls, self._runs)
        return np.asarray(at_end - np.interp(begins - first, walls, self._runs))
