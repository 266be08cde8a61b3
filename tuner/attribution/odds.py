"""Log-odds of a class, of single models and of what they say together."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]


def log_odds(logits: Floats, targets: Numbers) -> Floats:
    r"""Give a class's log-odds against all others.

    .. math:: \log \frac{p_c}{1 - p_c} = z_c - \log \sum_{j \neq c} e^{z_j}

    It comes from the logits :math:`z`, not from the probabilities, of which one near 1 has lost
    the digits that tell how near.

    Args:
        logits: What the softmax gets: (..., n, n_classes).
        targets: Which class of each row; (n,).

    Returns:
        Natural logarithms, (..., n).
    """
    is_target = np.arange(logits.shape[-1]) == targets[:, None]  # (n, n_classes)
    own: Floats = np.where(is_target, logits, 0.0).sum(axis=-1)
    others: Floats = np.logaddexp.reduce(np.where(is_target, -np.inf, logits), axis=-1)
    return own - others


def average(each: Floats) -> tuple[Floats, Floats]:
    r"""Give the log-odds of the mean of several models' probabilities, and how it hangs on each.

    With :math:`l_k` a model's log-odds, :math:`p_k` its probability and :math:`q_k = 1 - p_k`, the
    mean has :math:`l = \log \sum_k p_k - \log \sum_k q_k` and

    .. math:: \frac{\partial l}{\partial l_k} =
        q_k \frac{p_k}{\sum_j p_j} + p_k \frac{q_k}{\sum_j q_j}.

    Args:
        each: Log-odds of each model; (n_models, n).

    Returns:
        Log-odds, (n,), and the derivatives, (n_models, n).
    """
    log_p, log_q = -np.logaddexp(0.0, -each), -np.logaddexp(0.0, each)
    sum_p, sum_q = np.logaddexp.reduce(log_p, axis=0), np.logaddexp.reduce(log_q, axis=0)
    derivatives: Floats = np.exp(log_q + log_p - sum_p) + np.exp(log_p + log_q - sum_q)
    return sum_p - sum_q, derivatives


def with_average(each: Floats) -> Floats:
    """Put the log-odds of the mean before those of the models: (1 + n_models, n)."""
    return np.concatenate([average(each)[0][None], each])
