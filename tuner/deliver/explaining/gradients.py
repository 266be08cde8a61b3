"""How much each word adds to a class's log-odds: by integrated gradients, and by leaving it out."""

from collections.abc import Sequence

import numpy as np

from tuner.attribution.integration import Integral, integrate, midpoints
from tuner.attribution.odds import Floats, Numbers
from tuner.data.encoded import Encoded
from tuner.data.text import UNKNOWN_ID
from tuner.deliver.explaining.ensemble import SLOPES_AT_ONCE, Ensemble


def attribute(models: Ensemble, data: Encoded, targets: Numbers) -> list[Integral]:
    r"""Integrate gradients on the word vectors, from the zero vector to each word's own.

    Of :math:`l` the log-odds and :math:`v_t` the vector of a text's word t, that is

    .. math:: a_t = \int_0^1 v_t \cdot \frac{\partial l}{\partial v_t}(\alpha v) \, d\alpha

    for the models together, whose :math:`l` is that of their mean probability, and for each by
    itself. All walk along the same path, so that one pass serves both.

    Args:
        models: What is explained.
        data: Texts.
        targets: Which class of each text; (n,).

    Returns:
        For each text, with 1 + n_models sums; `Integral.is_complete` says whether to trust it.

    References:
        Sundararajan et al. 2017, arXiv:1703.01365.
    """
    longest_first = np.argsort(-data.lengths, kind="stable")
    n_sums = 1 + models.n_models
    odds = np.empty((2, len(data), n_sums))  # where the paths begin, and where they end
    for batch in models.batches(data.lengths[longest_first]):
        rows = longest_first[batch]
        for end in (0, 1):
            shares = np.full(len(rows), float(end))
            odds[end, rows] = models.log_odds(data, rows, shares, targets[rows]).T

    def mean_slopes(pending: Numbers, n_steps: int) -> Sequence[Floats]:
        sums = {row: np.zeros((n_sums, int(data.lengths[row]))) for row in pending.tolist()}
        order = longest_first[np.isin(longest_first, pending)]
        rows, shares = np.repeat(order, n_steps), np.tile(midpoints(n_steps), len(order))
        for batch in models.batches(data.lengths[rows], SLOPES_AT_ONCE):
            here = rows[batch]
            slopes = models.slopes(data, here, shares[batch], targets[here])
            firsts = np.flatnonzero(np.diff(here, prepend=-1))  # a text's rows lie together
            by_text = np.add.reduceat(slopes, firsts, axis=1).swapaxes(0, 1)
            for row, added in zip(here[firsts].tolist(), by_text, strict=True):
                sums[row] += added[:, : sums[row].shape[1]] / n_steps
        return [sums[row] for row in pending.tolist()]

    return integrate(mean_slopes, odds[0], odds[1])


def occlude(models: Ensemble, data: Encoded, target: int) -> Floats:
    """Say by how much a text's log-odds fall when each word, one at a time, is an unknown one.

    A word is replaced, not removed: without it all later ones would move, other pieces would be
    cut, and a mean would be one of fewer words, so that not the word alone would be gone. An
    unknown word is something that the models have met while training. One that was unknown
    before is replaced by itself, and tells nothing: 0.

    Args:
        models: What is explained.
        data: One text.
        target: Which class.

    Returns:
        For the models together; (n_words,), 0 for words that are not read.
    """
    n_words = len(data.ids)
    whole = models.log_odds(data, np.array([0]), np.ones(1), np.array([target]))[0, 0]
    falls = np.zeros(n_words)
    places = np.flatnonzero(models.is_read(n_words) & (data.ids != UNKNOWN_ID))
    for batch in models.batches(np.full(len(places), n_words)):
        here = places[batch]
        without = np.tile(data.ids, (len(here), 1))
        without[np.arange(len(here)), here] = UNKNOWN_ID
        variants = Encoded(
            ids=without.reshape(-1),
            offsets=np.arange(len(here) + 1, dtype=np.int64) * n_words,
            labels=np.zeros(len(here), np.int32),
        )
        rows, targets = np.arange(len(here)), np.full(len(here), target)
        falls[here] = whole - models.log_odds(variants, rows, np.ones(len(here)), targets)[0]
    return falls
