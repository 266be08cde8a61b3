"""The book of what was done to whom and how each worker ended."""

from collections import Counter
from dataclasses import dataclass, field

from tests.acceptance.chaos.crew import Ended
from tests.acceptance.chaos.deaths import OPERATIONS


@dataclass(kw_only=True)
class Ledger:
    """What was done to whom and how each worker ended."""

    #: Workers killed from outside, by what they were doing.
    workers: Counter[str] = field(default_factory=Counter)
    #: Trainers killed, by what their workers were doing.
    trainers: Counter[str] = field(default_factory=Counter)
    #: Workers killed inside an operation on slots, by operation.
    inside: Counter[str] = field(default_factory=Counter)
    #: The same, by operation and kind of statement.
    statements: Counter[str] = field(default_factory=Counter)
    #: Troubles other than kills, by name.
    others: Counter[str] = field(default_factory=Counter)
    #: Workers' ends, in words.
    ends: Counter[str] = field(default_factory=Counter)
    #: Ends that should not have been.
    surprises: Counter[str] = field(default_factory=Counter)
    #: Seconds from each SIGTERM to the worker's end.
    seconds_to_end: list[float] = field(default_factory=list)

    @property
    def n_kills(self) -> int:
        """Count the kills."""
        return self.workers.total() + self.trainers.total() + self.inside.total()

    @property
    def n_inside(self) -> int:
        """Count the kills inside the operations that matter."""
        return sum(self.inside[operation] for operation in OPERATIONS)

    def note(self, ended: Ended) -> None:
        """Write down how a worker ended."""
        self.ends[ended.how] += 1
        if not ended.is_expected:
            self.surprises[ended.how] += 1
        if ended.death is not None:
            self.inside[ended.death.operation] += 1
            self.statements[f"{ended.death.operation}: {ended.death.place}"] += 1
        elif ended.how == "killed from outside":
            self.workers[ended.worker.killed_while] += 1
        if ended.seconds_to_end is not None:
            self.seconds_to_end.append(ended.seconds_to_end)
