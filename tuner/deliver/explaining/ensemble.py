"""An artifact's models side by side, each reading its own part of the same texts."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tuner.attribution.odds import Floats, Numbers, average, log_odds, with_average
from tuner.data.batches import padded, read_part
from tuner.data.encoded import Encoded
from tuner.deliver.artifact import Artifact
from tuner.deliver.explaining.probe import Probe

#: Words whose slopes are computed at a time. A layer keeps some ten numbers a unit for each of
#: them: with 128 units they take about 100 MB.
SLOPES_AT_ONCE = 16_384
#: Words that are only read at a time: 128 texts of 400, as many as are predicted at a time.
WORDS_AT_ONCE = 51_200


class Ensemble:
    """Computes for all models what `Probe` does for one.

    What it gives has 1 + n_models rows: first the models together, whose probabilities are
    averaged, then each by itself.

    Args:
        artifact: The models.
    """

    def __init__(self, artifact: Artifact) -> None:
        self._probes = [
            Probe(classifier, n_ids=artifact.manifest.n_ids) for classifier in artifact.classifiers
        ]
        #: How many there are.
        self.n_models = len(self._probes)
        self._params = [classifier.member.params for classifier in artifact.classifiers]

    def is_read(self, n_words: int) -> npt.NDArray[np.bool_]:
        """Say which words of a text are read by any model; (n_words,)."""
        result = np.zeros(n_words, bool)
        for params in self._params:
            first, kept = read_part(np.array([n_words]), params.max_length, params.truncate)
            result[int(first[0]) : int(first[0] + kept[0])] = True
        return result

    def batches(self, lengths: Numbers, n_words: int = WORDS_AT_ONCE) -> Iterator[slice]:
        """Cut rows into batches that fit the memory.

        Args:
            lengths: Words of each row's text, the longest first; (n,).
            n_words: Words a batch, about.
        """
        longest = max(params.max_length for params in self._params)
        begin = 0
        while begin < len(lengths):
            size = max(1, n_words // min(int(lengths[begin]), longest))
            yield slice(begin, begin + size)
            begin += size

    def probabilities(self, data: Encoded, rows: Numbers) -> Floats:
        """Predict the classes of some texts; (1 + n_models, n, n_classes)."""
        logits = self._logits(data, rows, np.ones(len(rows)))
        each = np.exp(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))
        return np.concatenate([each.mean(axis=0, keepdims=True), each])

    def log_odds(self, data: Encoded, rows: Numbers, shares: Floats, targets: Numbers) -> Floats:
        """Compute log-odds of some texts.

        Args:
            data: Texts.
            rows: Which of them, any number of times; (n,).
            shares: What the word vectors are multiplied by; (n,).
            targets: Which class; (n,).

        Returns:
            (1 + n_models, n).
        """
        return with_average(log_odds(self._logits(data, rows, shares), targets))

    def slopes(self, data: Encoded, rows: Numbers, shares: Floats, targets: Numbers) -> Floats:
        """Compute how the log-odds grow as each word's vector does.

        Args:
            data: Texts.
            rows: Which of them, any number of times; (n,).
            shares: Where on the path from 0 to 1; (n,).
            targets: Which class; (n,).

        Returns:
            (1 + n_models, n, words of the longest text); 0 for words that a model does not read,
            and behind a text's end.
        """
        lengths = data.lengths[rows]
        each = np.zeros((len(self._probes), len(rows), int(lengths.max())))
        logits = []
        for slopes, probe, params in zip(each, self._probes, self._params, strict=True):
            ids = padded(data, rows, params.max_length, params.truncate, pad_to=1)
            found, products = probe.slopes(ids, shares, targets)
            logits.append(found)
            firsts, kept = read_part(lengths, params.max_length, params.truncate)
            row, place = np.nonzero(np.arange(ids.shape[1]) < kept[:, None])
            slopes[row, firsts[row] + place] = products[row, place]
        _, derivatives = average(log_odds(np.stack(logits), targets))
        together = (derivatives[:, :, None] * each).sum(axis=0)
        return np.concatenate([together[None], each])

    def _logits(self, data: Encoded, rows: Numbers, shares: Floats) -> Floats:
        return np.stack(
            [
                probe.logits(padded(data, rows, p.max_length, p.truncate, pad_to=1), shares)
                for probe, p in zip(self._probes, self._params, strict=True)
            ]
        )
