"""What commands say about studies and trials, in plain text."""

import math

from tuner.results import Progress


def number(value: object) -> str:
    """Write a value shortly: four significant digits, no trailing noise."""
    if isinstance(value, float) and value.is_integer() and abs(value) >= 10_000:
        return f"{value:,.0f}"  # bytes, for example
    if isinstance(value, float):
        return f"{value:.4f}" if 0.01 <= abs(value) < 10_000 or value == 0 else f"{value:.3g}"
    return str(value)


def duration(seconds: float | None) -> str:
    """Write a duration as people say it."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def headline(progress: Progress) -> str:
    """Say in one line how far a study is."""
    states = ", ".join(
        f"{progress.trials[state]} {state}"
        for state in ("complete", "pruned", "failed", "running", "waiting")
        if progress.trials.get(state)
    )
    counts = f"{progress.slots.done} of {progress.slots.total} trials done"
    parts = [f"{progress.name}: {counts}{f' ({states})' if states else ''}"]
    if progress.hours is not None and progress.spent_hours is not None:
        parts.append(f"{progress.spent_hours:.2g} of {progress.hours:g} hours spent")
    if progress.ended is not None:
        parts.append(f"ended: {progress.ended}")
    elif progress.eta_seconds is not None and progress.slots.done < progress.slots.total:
        parts.append(f"about {duration(progress.eta_seconds)} to go")
    return ", ".join(parts)


def end_of(progress: Progress) -> str:
    """Say in one line why a study ended before its budget was used up."""
    return progress.message.partition("\n")[0]


def best_line(progress: Progress) -> str:
    """Say what is best so far."""
    if progress.best is None or progress.best.value is None:
        return f"best {progress.metric}: none yet"
    best = f"best {progress.metric}: {progress.best.value:.4f} (trial {progress.best.number})"
    if progress.n_front is None:
        return best
    n_trials = "1 trial" if progress.n_front == 1 else f"{progress.n_front} trials"
    return f"{best}, {n_trials} on the Pareto front"


def refusal_lines(progress: Progress) -> list[str]:
    """Say in one line for each machine why its standing workers do not serve a study."""
    return [
        f"not served on {refusal.host} ({duration(refusal.seconds_ago)} ago): "
        f"{refusal.reason.strip().splitlines()[0]}"
        for refusal in progress.refusals
    ]


def refused_mark(progress: Progress) -> str:
    """Say after a study's line that nobody is at it who could be; nothing where that is not so."""
    if progress.is_over or progress.slots.held or not progress.refusals:
        return ""
    hosts = ", ".join(refusal.host for refusal in progress.refusals[:3])
    more = "" if len(progress.refusals) <= 3 else f" and {len(progress.refusals) - 3} more"
    return f"; not served on {hosts}{more}, see `tuner status {progress.name}`"


def printable(text: str) -> str:
    """Leave out what steers a terminal; line breaks stay."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)
