"""How much parameters matter, as frozen values and in words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["decides", "matters", "may matter", "noise"]

#: With fewer trials the numbers are rough: the best tenth of them is too small a group.
STABLE_TRIALS = 50


@dataclass(frozen=True, kw_only=True)
class Importance:
    """How much one parameter matters."""

    #: The hyperparameter.
    name: str
    #: Its part of all parameters' importance, from 0 to 1.
    share: float
    #: Low end of the share's 90 % interval.
    low: float
    #: High end of it.
    high: float
    #: What 19 in 20 shuffles of the values stay below, on the scale of the shares.
    noise: float
    #: decides: beyond noise, and more than all others beyond it together; matters: the interval
    #: is beyond noise; may matter: the share is, its interval is not; noise: nothing to be seen.
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Importances:
    """How much each tuned parameter of a study matters."""

    #: What is judged.
    metric: str
    #: Trials with a value.
    n_complete: int
    #: Pruned trials, which count as worse than those.
    n_pruned: int
    #: Trials that were looked at, of these.
    n_used: int
    #: The parameters, the most important first.
    parameters: tuple[Importance, ...]

    @property
    def reading(self) -> str:
        """What the numbers say, in words."""
        if not self.parameters:
            return "This study tunes no parameter: there is nothing to compare."
        groups: dict[Verdict, list[Importance]] = {}
        for parameter in self.parameters:
            groups.setdefault(parameter.verdict, []).append(parameter)
        sentences = [
            f"{p.name} {verdict} (share {p.share:.2f}, {p.low:.2f} to {p.high:.2f})."
            for verdict in ("decides", "matters", "may matter")
            for p in groups.get(verdict, [])
        ]
        if names := [p.name for p in groups.get("noise", [])]:
            verb = "does" if len(names) == 1 else "do"
            sentences.append(f"{_listed(names)} {verb} not matter within noise.")
        return " ".join([*sentences, *self.notes])

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the numbers."""
        notes = []
        n_trials = self.n_complete + self.n_pruned
        if self.n_used < n_trials:
            notes.append(f"From {self.n_used} of {n_trials} trials, evenly taken.")
        if self.parameters and self.n_used < STABLE_TRIALS:
            notes.append(f"Rough: from {self.n_used} trials, {STABLE_TRIALS} would be stable.")
        return tuple(notes)

    def to_json(self) -> dict[str, Any]:
        """Give JSON types."""
        return asdict(self) | {"reading": self.reading}


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
