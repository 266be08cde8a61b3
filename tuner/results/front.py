"""Which trials no other one outdoes, where there are several objectives."""

from collections.abc import Sequence

from tuner.metrics import Direction


def pareto_front(values: Sequence[Sequence[float]], directions: Sequence[Direction]) -> list[int]:
    """Choose what is not outdone: nothing else is as good in all objectives and better in one.

    Args:
        values: Of each trial, one finite number an objective.
        directions: Which way is better, for each objective.

    Returns:
        Places in `values`, the best by the first objective first, of equals by the next ones, then
        the earlier. Equal trials do not outdo each other.
    """
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in directions]
    losses = [tuple(s * v for s, v in zip(signs, each, strict=True)) for each in values]
    ranked = sorted(range(len(losses)), key=lambda place: (losses[place], place))
    front: list[int] = []
    for place in ranked:  # only what comes before can outdo it
        if not any(_outdoes(losses[other], losses[place]) for other in front):
            front.append(place)
    return front


def _outdoes(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
