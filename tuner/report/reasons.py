"""Why trials were pruned or failed, counted by what the reasons have in common."""

import re
from dataclasses import dataclass

from tuner.metrics import STEPS_PER_EPOCH
from tuner.report.material import Material
from tuner.report.work import kind_of
from tuner.results import TrialRow

#: Kinds of reasons in the table; beyond, they are counted together.
MAX_REASONS = 20
_STEP = re.compile(r"^pruned: step (\d+): .* is rank ")
_MEDIAN = re.compile(r"^pruned: step \d+: .* is worse than the median ")
_NUMBERS = re.compile(r"[-+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Trials that ended for the same reason."""

    #: How they ended.
    kind: str
    #: What they have in common.
    summary: str
    #: How many they are.
    n_trials: int
    #: One of them.
    example: int
    #: What that one says, where it says more.
    words: str


def count_reasons(material: Material) -> tuple[Reason, ...]:
    """Count the reasons of pruned and failed trials, the most frequent first."""
    groups: dict[tuple[str, str], list[TrialRow]] = {}
    texts: dict[int, str] = {}
    for row in material.rows:
        if row.state in {"pruned", "failed"}:
            fact = material.facts.get(row.number, {}).get("reason")
            text = str(fact).strip().partition("\n")[0] if fact else ""
            texts[row.number] = text
            groups.setdefault((kind_of(row), _summary(text)), []).append(row)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    found = []
    for (kind, summary), rows in ordered[:MAX_REASONS]:
        words = texts[rows[0].number]
        found.append(
            Reason(
                kind=kind,
                summary=summary,
                n_trials=len(rows),
                example=rows[0].number,
                words="" if words == summary else words,
            )
        )
    if rest := [row for _, rows in ordered[MAX_REASONS:] for row in rows]:
        found.append(
            Reason(
                kind="others",
                summary=f"{len(ordered) - MAX_REASONS} rarer reasons",
                n_trials=len(rest),
                example=rest[0].number,
                words=texts[rest[0].number],
            )
        )
    return tuple(found)


def _summary(text: str) -> str:
    """Say what a reason has in common with others: all but its numbers."""
    if not text:
        return "no reason is stored"
    if rung := _STEP.match(text):
        return f"not among the best at epoch {int(rung[1]) / STEPS_PER_EPOCH:g}"
    if _MEDIAN.match(text):
        return "worse than the median, and not getting better"
    return _NUMBERS.sub("#", text)
