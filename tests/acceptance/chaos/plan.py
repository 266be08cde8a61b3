"""What a run of chaos is asked to do."""

from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.chaos.kinds import KINDS, Kind

#: Slots of one study at most: a sampler reads all of its trials.
MOST_SLOTS = 150


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run of chaos is asked to do."""

    #: ``sqlite`` or ``postgres``.
    storage: str
    #: ``tiny`` or ``gru``.
    objective: str
    #: Processes to kill, at least.
    kills: int
    #: Workers at a time.
    workers: int
    #: Decides when which trouble comes to whom, as far as processes are repeatable.
    seed: int
    #: Hard restarts of Postgres.
    restarts: int
    #: Whether checkpoint files are damaged.
    tear_checkpoints: bool
    #: Whether the disk with the artifacts, and with the SQLite file, is filled now and then.
    fill_disk: bool
    #: Seconds of a lease.
    lease: float
    #: Kills a second from outside.
    rate: float
    #: With which a doomed worker dies at each statement, commit and end of a transaction.
    die_probability: float
    #: Where to work and leave everything behind; None for a temporary folder.
    folder: Path | None

    @property
    def kind(self) -> Kind:
        """What is studied."""
        return KINDS[self.objective]

    @property
    def n_slots(self) -> int:
        """Slots of each study; studies follow each other until the kills are used up."""
        return max(self.kind.least_slots, min(self.kills, MOST_SLOTS))
