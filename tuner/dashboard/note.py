"""The note of a study, written anew at every look; nothing of it is stored."""

from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from tuner.dashboard.shelf import OurStudy

_WORDS = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def study_note(
    ours: OurStudy | None,
    counts: Mapping[TrialState, int],
    best: Sequence[FrozenTrial],
    written: str,
) -> str:
    """Write how far a study is, what is best, and where to read more.

    Args:
        ours: What tuner knows of it; None for a study that tuner did not make.
        counts: How many trials are in each state.
        best: The best of them; several with several objectives.
        written: A note that somebody wrote with optuna-dashboard itself; it comes beneath.

    Returns:
        Markdown.
    """
    states = ", ".join(f"{counts[s]} {word}" for s, word in _WORDS.items() if counts.get(s))
    if ours is not None:
        progress = f"**{ours.slots.done} of {ours.slots.total} trials done**"
    else:
        progress = f"**{sum(counts.values())} trials**"
    parts = [f"{progress} ({states})" if states else progress]
    if ours is not None and ours.ended is not None:
        parts.append(f"ended early ({ours.ended})")
    links = "[Sign out](/tuner/sign-out)"
    if ours is not None:
        links = f"[Report](/tuner/studies/{ours.name}/report) | {links}"
    note = f"{', '.join(parts)}. {_best(ours, best)}\n\n{links}"
    return f"{note}\n\n---\n\n{written}" if written.strip() else note


def _best(ours: OurStudy | None, best: Sequence[FrozenTrial]) -> str:
    name = ours.objectives[0] if ours is not None else "value"
    if not best:
        return f"No best {name} yet."
    if len(best) > 1 or len(best[0].values) > 1:
        return f"{len(best)} best trials: none is outdone in all objectives."
    return f"Best {name}: **{best[0].values[0]:.4f}** (trial {best[0].number})."
