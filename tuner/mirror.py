"""Checkpoints on this machine with a copy in an object store, from where other machines go on."""

import contextlib
import hashlib
import logging
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from tuner.bucket import Bucket, BucketFiles
from tuner.checkpoint_store import CheckpointStore, remove_folder
from tuner.checkpoints import FILE_NAME, N_KEPT
from tuner.errors import InputError, TunerError
from tuner.host import cache_folder

#: Earlier holders of a slot whose newest checkpoint is fetched; more only tell of other devices.
MAX_HOLDERS = 3
#: Bytes that a fetched checkpoint has to leave free on the disk.
RESERVE = 512 * 2**20
#: Seconds after which checkpoints here that no study on this machine asked for are removed.
MAX_AGE = 7 * 24 * 3600.0
_IN_STUDY = re.compile(r"slot-(\d{6,})/.+")
_IN_SLOT = re.compile(r"(\d{1,19})/([^/]+)")

_log = logging.getLogger(__name__)


def open_store(artifacts: Path | Bucket, study_key: str) -> CheckpointStore:
    """Give the checkpoints of a study, wherever they lie.

    Args:
        artifacts: A folder, or one in an object store, which then has a folder here as well: in
            this machine's cache, shared by its workers.
        study_key: The study's folder in it.

    Raises:
        InputError: Nothing that is installed can talk to the object store.
    """
    if isinstance(artifacts, Path):
        return CheckpointStore(artifacts, study_key)
    return MirroredStore(_folder_here(artifacts), study_key, BucketFiles(artifacts))


def check_artifacts(artifacts: Path | Bucket) -> None:
    """See before any training whether an object store takes checkpoints.

    Raises:
        InputError: It refuses them, or nothing that is installed can talk to it.
        StorageUnavailableError: It does not answer.
    """
    if isinstance(artifacts, Path):
        return
    BucketFiles(artifacts).check()
    folder = _folder_here(artifacts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: this machine's copies of checkpoints cannot be kept there: "
            f"{error.strerror}. Let TUNER_CACHE name a folder that can be written."
        ) from error


def _folder_here(bucket: Bucket) -> Path:
    name = hashlib.sha256(bucket.url.encode()).hexdigest()[:16]
    return cache_folder() / "checkpoints" / name


class MirroredStore(CheckpointStore):
    """A study's checkpoints here, and their copies in an object store.

    A thread copies and removes there, one thing after the other; trouble with the store is logged
    once and never raised, as training goes on without it. Names and files from the store are
    believed only when they are those of whole checkpoints.

    Args:
        root: Folder of all studies' checkpoints on this machine.
        study_key: The study's folder in it, and in the store.
        files: What the store has.
    """

    def __init__(self, root: Path, study_key: str, files: BucketFiles) -> None:
        super().__init__(root, study_key)
        self._key = study_key
        self._files = files
        self._background = _Background()
        self._uploaded: list[str] = []
        self._lock = threading.Lock()
        self._due: tuple[int, int] | None = None  # whose newest checkpoint waits to be copied
        self._forgotten: set[int] = set()  # slots whose checkpoints wait to be removed
        self._has_warned = False

    def bring(self, slot: int) -> None:
        """Begin to fetch other machines' checkpoints of a slot."""
        self._background.do(partial(self._attempt, partial(self._bring, slot)))

    def saved(self, slot: int, token: int) -> None:
        """Begin to copy a holder's newest checkpoint into the store."""
        with self._lock:
            if self._due == (slot, token):
                return  # the copy that is due will be of this newer one
            self._due = slot, token
        self._background.do(partial(self._attempt, partial(self._upload, slot, token)))

    def settle(self, seconds: float) -> bool:
        """Wait so long at most for what was begun; say whether all of it is done."""
        return self._background.wait(seconds)

    def close(self, seconds: float) -> None:
        """Wait so long at most for what was begun, and begin nothing more."""
        if not self.settle(seconds):
            _log.warning("%s has not answered for %.0f s; what waits is dropped.", self, seconds)
        self._background.close()

    def forget(self, slot: int) -> None:
        """Remove the checkpoints of a slot, here at once and soon in the store."""
        super().forget(slot)
        with self._lock:
            self._forgotten.add(slot)
            if len(self._forgotten) > 1:
                return  # with those that wait: a store that is slow gets no queue
        self._background.do(partial(self._attempt, self._forget))

    def sweep(self, open_slots: Collection[int]) -> None:
        """Remove the checkpoints of all other slots, here at once and soon in the store."""
        super().sweep(open_slots)
        self._forget_old_studies()
        self._background.do(partial(self._attempt, partial(self._sweep, frozenset(open_slots))))

    def _forget_old_studies(self) -> None:
        """Remove what is left here of studies that ended, or were deleted, on other machines."""
        for folder in self._folder.parent.glob("*"):
            with contextlib.suppress(OSError):  # another worker removes it as well
                newest = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
                if folder != self._folder and time.time() - newest > MAX_AGE:
                    remove_folder(folder)

    def remove(self) -> None:
        """Remove all checkpoints of the study, here and in the store."""
        super().remove()
        self._attempt(lambda: self._remove(self._key))

    def __str__(self) -> str:
        return str(self._files)

    # --- in the thread ----------------------------------------------------------------------------

    def _attempt(self, job: Callable[[], None]) -> None:
        try:
            job()
        except (TunerError, OSError) as error:
            if not self._has_warned:
                _log.warning(
                    "Checkpoints cannot be kept in %s: %s Training goes on; other machines go on "
                    "from an older checkpoint or from the start.",
                    *(self, error),
                )
            self._has_warned = True

    def _upload(self, slot: int, token: int) -> None:
        with self._lock:
            self._due = None  # from here on a newer checkpoint has to ask again
        folder = self.folder(slot, token)
        newest = max(folder.glob("*.ckpt"), default=None, key=lambda path: path.name)
        if newest is None:  # the trial has ended meanwhile
            return
        name = f"{self._slot_name(slot)}/{token}/{newest.name}"
        if name in self._uploaded:
            return
        try:
            self._files.put(newest, name)
        except TunerError:
            if newest.exists():
                raise
            self.saved(slot, token)  # the trainer has written newer ones and removed this one
            return
        self._has_warned = False  # the store is back, if it was away
        mine = f"{self._slot_name(slot)}/{token}/"
        self._uploaded = [*(old for old in self._uploaded if old.startswith(mine)), name]
        self._files.remove(self._uploaded[:-N_KEPT])
        self._uploaded = self._uploaded[-N_KEPT:]

    def _bring(self, slot: int) -> None:
        found = []
        for name, size in self._files.list(self._slot_name(slot)).items():
            match = _IN_SLOT.fullmatch(name)
            if match and FILE_NAME.fullmatch(match[2]):
                found.append((match[2], int(match[1]), size))
        holders: set[int] = set()
        for file_name, token, size in sorted(found, reverse=True):
            if token not in holders and self._fetch(slot, token, file_name, size):
                holders.add(token)
            if len(holders) == MAX_HOLDERS:
                return

    def _fetch(self, slot: int, token: int, file_name: str, size: int) -> bool:
        """Put a checkpoint here; say whether it, or a newer one of its holder, is here now."""
        folder = self.folder(slot, token)
        if any(path.name >= file_name for path in folder.glob("*.ckpt")):
            return True
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free - size < RESERVE:
            _log.warning("Checkpoint %s is not fetched: the disk of %s is full", file_name, folder)
            return False
        unfinished = folder / f"{file_name}.tmp"
        try:
            self._files.get(f"{self._slot_name(slot)}/{token}/{file_name}", unfinished)
            with unfinished.open("rb") as file:
                checksum = hashlib.file_digest(file, "sha256").hexdigest()
            if not file_name.endswith(f"-{checksum}.ckpt"):
                _log.warning("Checkpoint %s in %s is damaged and skipped", file_name, self)
                return False
            unfinished.replace(folder / file_name)
        finally:
            unfinished.unlink(missing_ok=True)
        return True

    def _forget(self) -> None:
        with self._lock:
            slots, self._forgotten = self._forgotten, set()
        for slot in slots:  # what fails here is left to the next sweep
            self._remove(self._slot_name(slot))

    def _remove(self, folder: str) -> None:
        self._files.remove([f"{folder}/{name}" for name in self._files.list(folder)])

    def _sweep(self, open_slots: Collection[int]) -> None:
        found = ((name, _IN_STUDY.fullmatch(name)) for name in self._files.list(self._key))
        slots = {name: int(match[1]) for name, match in found if match}
        unneeded = [name for name, slot in slots.items() if slot not in open_slots]
        self._files.remove([f"{self._key}/{name}" for name in unneeded])

    def _slot_name(self, slot: int) -> str:
        return f"{self._key}/slot-{slot:06d}"


class _Background:
    """Does one thing after the other in a thread that ends with the process, whatever it is at."""

    def __init__(self) -> None:
        self._jobs: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._is_busy = False
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def do(self, job: Callable[[], None]) -> None:
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()

    def wait(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs and not self._is_busy, seconds)

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._jobs.clear()
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._is_busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._jobs or self._is_closed)
                if self._is_closed:
                    return
                job = self._jobs.popleft()
                self._is_busy = True
            job()
