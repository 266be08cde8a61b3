"""Every error that `tuner` raises on purpose, each with the exit code of the command line.

Two families: `TrialFailedError` means that this trial is bad and the study goes on;
everything else stops the process that meets it.
"""

import difflib
from collections.abc import Iterable


class TunerError(Exception):
    """Base of all errors raised on purpose; the message says received, expected, what to do."""

    exit_code = 1
    #: Whether anything went wrong: only then the command line calls it an error.
    is_trouble = True


class InputError(TunerError):
    """A study file, a flag, data or a name is unusable; trying again does not help."""

    exit_code = 2


class ConfigError(InputError):
    """A study file or a `--set` does not hold what it should."""


class DataError(InputError):
    """The reviews cannot be read or cannot be learned from."""


class DataAwayError(DataError):
    """What serves the data does not answer: trying again may help."""

    exit_code = 3


class StudyNotFoundError(InputError):
    """No study of that name is stored where we looked."""


class EmptyStorageError(InputError):
    """There is no database where we looked, or it holds none of our tables: no study came yet."""


class FrozenStudyError(InputError):
    """A stored study was asked to become another study under the same name."""


class NoPointLeftError(InputError):
    """Every point of a finite space is a trial already, or planned."""


class StorageUnavailableError(TunerError):
    """The database cannot be reached, opened or written."""

    exit_code = 3


class NoUsableTrialError(TunerError):
    """The study ended (or stands) without a trial that has a value."""

    exit_code = 4


class LostSlotError(TunerError):
    """Another worker holds the slot now; nothing of what was tried has been written."""


class TrainerError(TunerError):
    """The trainer process ended or answered in a way that it never should."""


class StudyStoppedError(TrainerError):
    """Different trials of the study fail in the same way: it was stopped for all workers."""


class TrialFailedError(TunerError):
    """This trial cannot give a value; the study goes on with the next one.

    Args:
        message: What happened, for a person.
        reason: One word that is stored with the trial, such as ``"diverged"``.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def suggestion(word: str, known: Iterable[str]) -> str:
    """Give " Did you mean `...`?" for a near miss, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean `{close[0]}`?" if close else ""
