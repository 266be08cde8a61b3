"""A standing worker: it serves every open study of a database in turn, and waits for new ones."""

import logging
import random
import socket
import time
from collections.abc import Mapping, Sequence
from typing import NoReturn

from tuner.errors import InputError, StudyNotFoundError, StudyStoppedError, TrainerError
from tuner.host import this_process
from tuner.storage import Database
from tuner.storage.adoption import Watch
from tuner.storage.openings import Opening, find_opened, read_openings
from tuner.storage.refusals import REFUSED_SECONDS, accept, refuse
from tuner.worker.interruption import Interruption
from tuner.worker.outage import Outage
from tuner.worker.worker import Turn, Worker, WorkerOptions

log = logging.getLogger(__name__)

#: Seconds of a turn after which other studies are looked at, between two trials.
TURN_SECONDS = 600.0
#: Least and most time between looks for something to do, as shares of a lease: 5 to 15 s.
LOOK_SHARES = 1 / 12, 1 / 4


def choose(openings: Sequence[Opening], served: Mapping[str, float]) -> Opening | None:
    """Choose the study to serve next: the one with the fewest workers.

    Of equals it is the one that was not served here for longest. Workers that look at the same
    moment draw between those that they never served, so that they do not all take the same.

    Args:
        openings: Studies with a slot to claim.
        served: When each study was last served here, by its key; seconds.

    Returns:
        The chosen one; None where there is none.
    """
    drawn = random.sample(openings, len(openings))
    never = float("-inf")
    return min(drawn, key=lambda o: (o.n_held, served.get(o.key, never)), default=None)


def chance_to_leave(key: str, openings: Sequence[Opening]) -> float:
    """Say how likely a worker shall leave its study for one with fewer workers.

    Each worker decides for itself, and what it decides shows only once its trainer is ready: if all
    left, the studies would just change places. So as many leave, on average, as make two studies
    equal.

    Args:
        key: The study that the worker is at; it holds no slot at the moment.
        openings: Studies with a slot to claim.

    Returns:
        From 0 to 1; 0 where no study has fewer workers.
    """
    here = 1 + sum(opening.n_held for opening in openings if opening.key == key)
    least = min((opening.n_held for opening in openings if opening.key != key), default=here)
    return max(0.0, (here - least) / (2 * here))


class Pool:
    """Serves one study after the other, each by a `Worker` with a trainer of its own.

    A study that cannot be served here, for lack of its data for example, is passed over for some
    time, and the database told why. Nothing that is wrong with one study keeps it from the others.

    Args:
        database: Where the studies are.
        options: How to work.
        environment: What the trainers' environment is chosen from.
        interruption: Whether this process has been asked to end.
        turn_seconds: After them other studies are looked at.
        refused_seconds: A study that cannot be served here is left alone so long, or a quarter
            more or less.
    """

    def __init__(
        self,
        database: Database,
        *,
        options: WorkerOptions,
        environment: Mapping[str, str],
        interruption: Interruption,
        turn_seconds: float = TURN_SECONDS,
        refused_seconds: float = REFUSED_SECONDS,
    ) -> None:
        self._database = database
        self._options = options
        self._environment = environment
        self._interruption = interruption
        self._turn_seconds = turn_seconds
        self._refused_seconds = refused_seconds
        self._holder = this_process()
        self._host = socket.gethostname()
        self._served: dict[str, float] = {}  # key of a study: when its last turn ended
        self._refused: dict[str, float] = {}  # key of a study: when it may be tried again
        self._watches: dict[str, Watch] = {}
        self._outage = Outage(
            patience=options.patience,
            lease=options.lease,
            when_lost=self._database_was_away,
            pause=interruption.pause,
        )

    def run(self) -> NoReturn:
        """Work until somebody ends it.

        Raises:
            InterruptedWorkerError: A signal came; a trial that ran was handed back.
            InputError: The database is not what this tuner expects, or does not let us work.
            StorageUnavailableError: The database was away for too long.
        """
        log.info("serving every study in %s", self._database.name)
        while True:
            self._interruption.check()
            opening = choose(self._openings(), self._served)
            # Where others were faster than our trainer, the next look is not at once either.
            if opening is None or not self._serve(opening):
                shortest, longest = (share * self._options.lease for share in LOOK_SHARES)
                self._interruption.pause(random.uniform(shortest, longest))  # noqa: S311 - jitter

    def _openings(self) -> list[Opening]:
        """List the studies that have a slot to claim and were not refused a short time ago."""
        found = self._outage.bridge(lambda: read_openings(self._database, self._holder))
        keys, now = {opening.key for opening in found}, time.monotonic()
        self._served = {key: at for key, at in self._served.items() if key in keys}
        self._refused = {
            key: until for key, until in self._refused.items() if key in keys and until > now
        }
        self._watches = {key: watch for key, watch in self._watches.items() if key in keys}
        return [
            opening
            for opening in found
            if opening.key not in self._refused and opening.has_something(self._watch(opening.key))
        ]

    def _watch(self, key: str) -> Watch:
        return self._watches.setdefault(key, Watch(self._holder, lease=self._options.lease))

    def _database_was_away(self) -> None:
        self._forget_leases()
        # What a server refused to an old connection, it may allow a new one.
        self._database.engine.dispose()

    def _forget_leases(self) -> None:
        """Give other workers time to renew what they hold, before any of it is taken over."""
        for watch in self._watches.values():
            watch.forget()

    def _serve(self, opening: Opening) -> bool:
        """Take a turn at a study, unless something is wrong with that; say whether it had a trial.

        Only what is wrong with the worker itself is raised.
        """
        try:
            return self._take_turn(opening)
        except StudyNotFoundError:
            log.info("study %r was deleted", opening.name)
        except StudyStoppedError as error:
            log.error("study %r was stopped: %s", opening.name, error)  # noqa: TRY400 - told fully
        except (InputError, TrainerError) as error:
            self._refuse(opening, str(error))
        finally:
            self._served[opening.key] = time.monotonic()
            self._forget_leases()  # what was seen before the turn is old
        return False

    def _take_turn(self, opening: Opening) -> bool:
        study = self._outage.bridge(lambda: find_opened(self._database, opening))
        log.info(
            "at study %r: %d slots are free, %d held",
            *(study.config.name, opening.n_free, opening.n_held),
        )
        until = time.monotonic() + self._turn_seconds
        had_trial = False

        def begins() -> None:
            self._outage.bridge(lambda: accept(self._database, opening, host=self._host))

        def goes_on() -> bool:
            nonlocal had_trial
            had_trial = True
            if time.monotonic() < until:
                return True
            return random.random() >= chance_to_leave(opening.key, self._openings())  # noqa: S311

        worker = Worker(
            self._database,
            study,
            options=self._options,
            environment=self._environment,
            interruption=self._interruption,
            watch=self._watch(opening.key),
        )
        worker.run(Turn(begins=begins, goes_on=goes_on))
        return had_trial

    def _refuse(self, opening: Opening, reason: str) -> None:
        seconds = self._refused_seconds * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
        log.warning(
            "study %r cannot be served here; it is tried again in %.0f s: %s",
            *(opening.name, seconds, reason),
        )
        self._refused[opening.key] = time.monotonic() + seconds
        self._outage.bridge(lambda: refuse(self._database, opening, host=self._host, reason=reason))
