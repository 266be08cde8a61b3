"""What a run of chaos has shown: checks that passed or failed, with their numbers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: Problems of one check that are told one by one.
MOST_PROBLEMS = 10


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that must hold."""

    #: What, as a sentence.
    name: str
    #: Of how many it was checked.
    n_checked: int
    #: Where it does not hold.
    problems: tuple[str, ...]
    #: What else there is to know.
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether it holds."""
        return not self.problems


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a run of chaos has shown."""

    #: What must hold.
    checks: tuple[Check, ...]
    #: What was done and seen: name to number, or to numbers by kind.
    facts: Mapping[str, float | str | Mapping[str, int]]
    #: Troubles that could not be made here, and why.
    skipped: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Whether everything holds."""
        return all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, object]:
        """Give it as JSON types."""
        return {
            "clean": self.is_clean,
            "checks": [
                {
                    "name": check.name,
                    "passed": check.passed,
                    "checked": check.n_checked,
                    "problems": list(check.problems),
                    "note": check.note,
                }
                for check in self.checks
            ],
            "facts": dict(self.facts),
            "skipped": list(self.skipped),
        }

    def to_text(self) -> str:
        """Give it as lines for people."""
        lines = ["CLEAN" if self.is_clean else "NOT CLEAN"]
        for check in self.checks:
            note = f" ({check.note})" if check.note else ""
            mark = "ok    " if check.passed else "FAILED"
            lines.append(f"  {mark} {check.name}: {check.n_checked} checked{note}")
            lines += [f"           {problem}" for problem in check.problems[:MOST_PROBLEMS]]
            if len(check.problems) > MOST_PROBLEMS:
                lines.append(f"           ... {len(check.problems)} problems in all")
        lines += [f"  skipped {reason}" for reason in self.skipped]
        for name, fact in self.facts.items():
            if isinstance(fact, Mapping):
                lines.append(f"  {name}:")
                lines += [f"    {n:6d}  {kind}" for kind, n in sorted(fact.items())]
            else:
                lines.append(f"  {name}: {fact}")
        return "\n".join(lines)


def merged(checks: Iterable[Check]) -> list[Check]:
    """Make one check of all that have the same name."""
    by_name: dict[str, list[Check]] = {}
    for check in checks:
        by_name.setdefault(check.name, []).append(check)
    return [
        Check(
            name=name,
            n_checked=sum(check.n_checked for check in same),
            problems=tuple(problem for check in same for problem in check.problems),
            note="; ".join(sorted({check.note for check in same if check.note})),
        )
        for name, same in by_name.items()
    ]
