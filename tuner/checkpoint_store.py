"""The folders of a study's checkpoints, one a slot and in that one a holder."""

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

#: Times that a folder is removed while another process still puts files into it.
N_ATTEMPTS = 3
_SLOT = re.compile(r"slot-(\d{6,})")

_log = logging.getLogger(__name__)


class CheckpointStore:
    """The folders of a study's checkpoints; the disk's errors are logged and never raised.

    Args:
        root: Folder of all studies' checkpoints.
        study_key: The study's folder in it, one plain name.

    Raises:
        ValueError: The key is no plain name.
    """

    def __init__(self, root: Path, study_key: str) -> None:
        if study_key in ("", ".", "..") or Path(study_key).name != study_key:
            raise ValueError(f"Expected a name for a folder. Received {study_key!r}.")
        self._folder = root / study_key

    def folder(self, slot: int, token: int) -> Path:
        """Say where one holder of a slot writes; nothing is created yet."""
        return self._slot(slot) / str(token)

    def bring(self, slot: int) -> None:
        """Begin to put other machines' checkpoints of a slot here; a shared folder has them."""

    def saved(self, slot: int, token: int) -> None:
        """Begin to show others a holder's newest checkpoint; in a shared folder they see it."""

    def settle(self, seconds: float) -> bool:
        """Wait so long at most for what was begun; say whether all of it is done."""
        del seconds
        return True

    def close(self, seconds: float) -> None:
        """Wait so long at most for what was begun, and begin nothing more."""

    def forget(self, slot: int) -> None:
        """Remove the checkpoints of a slot, whoever wrote them."""
        remove_folder(self._slot(slot))

    def sweep(self, open_slots: Collection[int]) -> None:
        """Remove the checkpoints of all other slots, and the study's folder if it is empty then."""
        for slot in self._slots():
            if slot not in open_slots:
                remove_folder(self._slot(slot))
        with contextlib.suppress(OSError):  # it is not empty, or not there
            self._folder.rmdir()

    def copy_slots(self, slots: Collection[int], other: "CheckpointStore") -> int:
        """Copy the checkpoints of some slots to those of another study.

        Returns:
            How many of the slots had any.
        """
        n_copied = 0
        for slot in slots:
            try:
                shutil.copytree(self._slot(slot), other._slot(slot))
            except FileNotFoundError:
                continue  # there are none
            except OSError as error:  # shutil's, of all that it could not copy
                _log.warning("Checkpoints in %s cannot be copied: %s", self._slot(slot), error)
                continue
            n_copied += 1
        return n_copied

    def remove(self) -> None:
        """Remove all checkpoints of the study."""
        remove_folder(self._folder)

    def _slot(self, slot: int) -> Path:
        return self._folder / f"slot-{slot:06d}"

    def _slots(self) -> Iterator[int]:
        try:
            names = [path.name for path in self._folder.iterdir()]
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("Checkpoints in %s cannot be listed: %s", self._folder, error)
            return
        for name in names:
            if match := _SLOT.fullmatch(name):
                yield int(match[1])


def remove_folder(folder: Path) -> None:
    """Remove a folder, even while others remove it too or a last file appears in it."""
    trouble: OSError | None = None
    for _ in range(N_ATTEMPTS):
        try:
            shutil.rmtree(folder)
        except OSError as error:
            trouble = error
        if not os.path.lexists(folder):
            return
    _log.warning("Checkpoints in %s cannot be removed: %s", folder, trouble)
