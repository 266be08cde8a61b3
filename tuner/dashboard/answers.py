"""Answers that are worked out once for all who ask, and kept compressed for a while."""

import gzip
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field

#: An answer is kept so many times as long as it took: each question takes a twentieth of a core
#: at most, however many ask it.
KEPT_FACTOR = 20.0
#: Bytes of kept answers, compressed.
MAX_BYTES = 128 * 2**20
#: Level of compression: a tenth of the size for a hundredth of a second a megabyte; higher ones
#: take several times as long for a third less.
LEVEL = 1
#: Seconds that one waits for what somebody else is working out.
PATIENCE = 10.0


class BusyError(Exception):
    """What was asked for is being worked out, or others are."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is sent."""

    #: HTTP's number.
    status: int
    #: Compressed with gzip.
    packed: bytes
    #: Such as Content-Type.
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """What was compressed."""
        return gzip.decompress(self.packed)


def packed(
    body: bytes | str, mimetype: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> Answer:
    """Make an answer.

    Args:
        body: What is sent.
        mimetype: What it is.
        status: HTTP's number.
        headers: More of them.
    """
    data = body.encode() if isinstance(body, str) else body
    return Answer(
        status=status,
        packed=gzip.compress(data, LEVEL, mtime=0),
        headers={"Content-Type": mimetype, **(headers or {})},
    )


@dataclass(frozen=True, kw_only=True)
class _Kept:
    answer: Answer
    until: float


class Answers:
    """The answers that are kept.

    Args:
        clock: Seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._underway: dict[Hashable, Future[Answer]] = {}
        self._n_bytes = 0

    def get(
        self, key: Hashable, work_out: Callable[[], Answer], *, at_least: float = 0.0
    ) -> Answer:
        """Give the answer to a question.

        Args:
            key: The question.
            work_out: Called where no answer is kept and nobody is at it; what it raises is raised
                for all who wait.
            at_least: Seconds that the answer is kept, even where it took no time.

        Raises:
            BusyError: Somebody has been at it for long: later it will be there.
        """
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept.until > self._clock():
                return kept.answer
            others = self._underway.get(key)
            if others is None:
                mine: Future[Answer] = Future()
                self._underway[key] = mine
        if others is not None:
            try:
                return others.result(PATIENCE)
            except FutureTimeoutError:
                raise BusyError from None
        began = self._clock()
        try:
            answer = work_out()
        except BaseException as error:
            self._done(key, mine)
            mine.set_exception(error)
            raise
        now = self._clock()
        with self._lock:
            # Whoever changed something meanwhile has forgotten us.
            if self._underway.get(key) is mine and answer.status == 200:
                hold = max(at_least, KEPT_FACTOR * (now - began))
                self._keep(key, _Kept(answer=answer, until=now + hold))
        self._done(key, mine)
        mine.set_result(answer)
        return answer

    def _done(self, key: Hashable, mine: Future[Answer]) -> None:
        with self._lock:
            if self._underway.get(key) is mine:
                del self._underway[key]

    def _keep(self, key: Hashable, kept: _Kept) -> None:
        self._drop(key)
        self._kept[key] = kept
        self._n_bytes += len(kept.answer.packed)
        now = self._clock()
        for other in [key for key, old in self._kept.items() if old.until <= now]:
            self._drop(other)
        while self._n_bytes > MAX_BYTES:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Hashable) -> None:
        old = self._kept.pop(key, None)
        if old is not None:
            self._n_bytes -= len(old.answer.packed)

    def forget(self) -> None:
        """Forget all answers: something was changed."""
        with self._lock:
            self._kept.clear()
            self._underway.clear()
            self._n_bytes = 0
