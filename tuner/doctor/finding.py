"""What a check finds, and how checks run: each by itself, whatever becomes of the others."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tuner.errors import StorageUnavailableError, TunerError

#: Fine; fine with a drawback; something will not work; not checked, with the reason.
Status: TypeAlias = Literal["ok", "warn", "fail", "unchecked"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line about one thing."""

    #: What was looked at, in a word or two.
    name: str
    #: How it is.
    status: Status
    #: What was found.
    text: str
    #: What to do about it; empty where nothing is to be done.
    mend: str = ""
    #: Whether the storage does not answer, which later may be better.
    is_away: bool = False


#: Looks at something. What was found before an error counts.
Check: TypeAlias = Callable[[], Iterable[Finding]]


def ok(name: str, text: str) -> Finding:
    """Say that something is fine."""
    return Finding(name=name, status="ok", text=text)


def warn(name: str, text: str, mend: str) -> Finding:
    """Say that something works with a drawback."""
    return Finding(name=name, status="warn", text=text, mend=mend)


def fail(name: str, text: str, mend: str) -> Finding:
    """Say that something does not work."""
    return Finding(name=name, status="fail", text=text, mend=mend)


def unchecked(name: str, reason: str) -> Finding:
    """Say that something could not be looked at, or had not to be."""
    return Finding(name=name, status="unchecked", text=reason)


def examine(checks: Iterable[tuple[str, Check]]) -> Iterator[Finding]:
    """Run checks one after the other, giving each finding as soon as it is there.

    Args:
        checks: With the name under which a check is told that ends in an error.
    """
    for name, check in checks:
        try:
            yield from check()
        except StorageUnavailableError as error:
            yield Finding(name=name, status="fail", text=str(error), is_away=True)
        except TunerError as error:  # its message says what to do
            yield Finding(name=name, status="fail", text=str(error))
        except Exception as error:  # noqa: BLE001 - a machine is examined because it is strange: one thing that nobody thought of must not hide all others
            yield fail(
                name,
                f"the check itself ended with {type(error).__name__}: {error}.",
                "This is a bug of tuner doctor's, or something is very strange here: report it.",
            )


def exit_code(findings: Iterable[Finding]) -> int:
    """Give 0 where nothing failed, 3 where only the storage is away, else 2."""
    failed = [finding for finding in findings if finding.status == "fail"]
    if not failed:
        return 0
    return 3 if all(finding.is_away for finding in failed) else 2
