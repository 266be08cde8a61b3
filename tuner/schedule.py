"""How the step size changes over a training."""

import math

from tuner.params import GRUParams


def learning_rate(params: GRUParams, *, n_done: int, n_all: int) -> float:
    r"""Give the step size of one gradient step.

    It grows evenly over the first steps, where `warmup` says so, up to `learning_rate`, and falls
    to 0 by the end of the training, unless it is constant. It is tied to the whole trial's steps:
    one that is pruned has only seen the beginning, as all others at that step have.

    .. math:: \eta_t = \eta \cdot \tfrac12 (1 + \cos(\pi t / T))
        \quad\text{or}\quad \eta (1 - t / T)

    Args:
        params: The hyperparameters.
        n_done: Gradient steps before this one.
        n_all: Gradient steps of the whole training.

    Example:
        >>> learning_rate(GRUParams(learning_rate=0.1, schedule="linear"), n_done=5, n_all=10)
        0.05

    References:
        Loshchilov and Hutter 2017, arXiv:1608.03983 (cosine).
    """
    n_warmup = int(params.warmup * n_all)
    if n_done < n_warmup:
        return params.learning_rate * (n_done + 1) / n_warmup
    share = (n_done - n_warmup) / max(1, n_all - n_warmup)
    match params.schedule:
        case "constant":
            return params.learning_rate
        case "linear":
            return params.learning_rate * (1 - share)
        case "cosine":
            return params.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
