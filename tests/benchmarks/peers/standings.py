"""The table: who found what, and when."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from tests.benchmarks.peers.field import Contestant
from tests.benchmarks.peers.measured import Measurement, Setting
from tests.benchmarks.peers.protocol import Table
from tests.benchmarks.training_speed import spread

TITLES: Mapping[Table, str] = {
    1: "Everyone as its users write it",
    2: "Everyone with tuner's training code, one training at a time",
}
#: When the best accuracy so far is told, as shares of the time.
MOMENTS = (1 / 8, 1 / 4, 1 / 2)

BySeed = Mapping[int, Measurement]


def best_peer(field: Sequence[Contestant], measured: Mapping[str, BySeed]) -> str | None:
    """Name the peer with the highest median of its final validation accuracies."""
    finals = {
        each.name: statistics.median(one.final for one in measured[each.name].values())
        for each in field
        if each.is_peer and each.name in measured
    }
    return max(finals, key=finals.__getitem__, default=None)


def seconds_to_peer(mine: BySeed, peers: BySeed) -> list[float]:
    """Give the seconds until the peer's final accuracy with the same seed was reached.

    Infinite where it was not. Each seed has a split of its own, so that accuracies of different
    seeds are not compared.
    """
    return [mine[seed].seconds_to(peers[seed].final) for seed in sorted(mine.keys() & peers.keys())]


def standings(
    table: Table, field: Sequence[Contestant], measurements: Iterable[Measurement], setting: Setting
) -> list[str]:
    """Draw up a table.

    Args:
        table: Which.
        field: Contestants, in the order of the lines.
        measurements: All of the table and the setting.
        setting: What was measured on.
    """
    measured: dict[str, dict[int, Measurement]] = {}
    for one in measurements:
        measured.setdefault(one.contestant, {})[one.seed] = one
    field = [each for each in field if each.name in measured]
    peer = best_peer(field, measured)
    seconds = 60 * setting.minutes
    heads = ["", *(f"{_minutes(share * setting.minutes)} min" for share in MOMENTS)]
    heads += [f"{_minutes(setting.minutes)} min", "test", "trials", "pruned"]
    heads += ["s to best peer's end", "of its time", "seeds"]
    lines = [heads]
    for each in field:
        mine = measured[each.name]
        all_of = list(mine.values())
        tested = [one.test_accuracy for one in all_of if one.test_accuracy is not None]
        lines.append(
            [
                each.title,
                *(_accuracy([one.best_at(share * seconds) for one in all_of]) for share in MOMENTS),
                spread([one.final for one in all_of], 3),
                spread(tested, 3) if tested else "-",
                _median(all_of, lambda one: sum(one.trials.values())),
                _median(all_of, lambda one: one.trials["pruned"]),
                *(_reaching(mine, measured[peer]) if peer else ("-", "-")),
                str(len(all_of)),
            ]
        )
    best = next((each.title for each in field if each.name == peer), "none measured")
    about = (
        f"{setting.n_reviews} reviews, {setting.words} words, {_minutes(setting.minutes)} minutes; "
        f"medians over seeds (least-most). Best peer: {best}."
    )
    packages = _packages([one for each in measured.values() for one in each.values()])
    title = f"{TITLES[table]}: best validation accuracy so far"
    return [title, about, packages, "", *_aligned(lines)]


def _packages(measurements: Sequence[Measurement]) -> str:
    """Tell what was measured with, and where not all were measured with the same."""
    versions: dict[str, set[str]] = {}
    for one in measurements:
        for name, version in one.versions.items():
            versions.setdefault(name, set()).add(version)
    told = (f"{name} {' and '.join(sorted(each))}" for name, each in sorted(versions.items()))
    mixed = any(len(each) > 1 for each in versions.values())
    return ", ".join(told) + (" (not the same for all: measure again)" if mixed else "")


def _reaching(mine: BySeed, peers: BySeed) -> tuple[str, str]:
    """Tell the median of the seconds, and of their share of the peer's own."""
    reached = seconds_to_peer(mine, peers)
    if not reached:
        return "-", "-"
    own = seconds_to_peer(peers, {seed: peers[seed] for seed in mine.keys() & peers.keys()})
    shares = [one / other for one, other in zip(reached, own, strict=True)]
    seconds, share = statistics.median(reached), statistics.median(shares)
    if math.isinf(seconds):
        n = sum(map(math.isfinite, reached))
        return f"never (but {n} of {len(reached)})" if n else "never", "-"
    return f"{seconds:.0f}", f"{share:.2f}"


def _accuracy(values: Sequence[float]) -> str:
    """Tell the median; a dash where one half or more have none yet."""
    middle = statistics.median(-math.inf if math.isnan(value) else value for value in values)
    return f"{middle:.3f}" if math.isfinite(middle) else "-"


def _median(all_of: Sequence[Measurement], count: Callable[[Measurement], int]) -> str:
    return f"{statistics.median(map(count, all_of)):g}"


def _minutes(minutes: float) -> str:
    return f"{minutes:.3g}"


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
