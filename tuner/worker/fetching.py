"""A study's data from where it lies, though what serves it may be away for a while."""

import logging
import time

from tuner.config import StudyConfig
from tuner.data.download import localized
from tuner.errors import DataAwayError
from tuner.worker.interruption import Interruption
from tuner.worker.pauses import Pauses

log = logging.getLogger(__name__)

#: Seconds of the first pause between tries, and of the longest.
FIRST_SECONDS, LONGEST_SECONDS = 1.0, 30.0


def fetched(config: StudyConfig, *, patience: float, interruption: Interruption) -> StudyConfig:
    """Give a study with its data at hand; see `localized`.

    Args:
        config: The study.
        patience: Seconds to wait for a server that does not answer; 0 for none.
        interruption: May end the waiting.

    Raises:
        DataAwayError: The server was away for too long.
        DataError: The data cannot be had.
        InterruptedWorkerError: Somebody asked for the end.
    """
    ends = time.monotonic() + patience
    pauses = Pauses(first=FIRST_SECONDS, longest=LONGEST_SECONDS)
    while True:
        try:
            return localized(config, interruption.check)
        except DataAwayError as error:
            left = ends - time.monotonic()
            if left <= 0:
                raise
            log.warning("%s Waiting for it, up to %.0f min.", error, left / 60)
            interruption.pause(min(left, pauses.next()))
