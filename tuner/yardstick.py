"""What a simple model makes of the same data: a linear one that sees single words and pairs.

It gets the very ids that the GRU gets, at full length, so that what differs is the model.
"""

import importlib.util
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.encoded import Encoded
from tuner.errors import InputError
from tuner.metrics import Probabilities

#: What the model is called in tables and cards.
NAME = "bag of bigrams (TF-IDF, logistic regression)"
#: Inverse strength of the penalty: a common choice, not tuned.
INVERSE_PENALTY = 10.0
#: Texts that a word or pair must occur in.
MIN_TEXTS = 2
#: Passes of the solver, at most.
MAX_PASSES = 1_000


class Yardstick:
    """A linear model that has been trained.

    Args:
        features: The words and pairs that it knows, as `_occurrences` numbers them, ascending;
            int64, (n_features,).
        weights: A `TfidfTransformer` that has seen the training texts.
        model: A `LogisticRegression` that has learned.
        n_ids: Number of token ids.
        n_classes: Number of classes.

    References:
        Wang and Manning 2012, "Baselines and bigrams" (how far bigrams get).
    """

    def __init__(
        self,
        features: npt.NDArray[np.int64],
        weights: Any,
        model: Any,
        *,
        n_ids: int,
        n_classes: int,
    ) -> None:
        self._features = features
        self._weights = weights
        self._model = model
        self._n_ids = n_ids
        self._n_classes = n_classes

    def predict(self, data: Encoded) -> Probabilities:
        """Predict.

        Args:
            data: The texts; the labels are not looked at.

        Returns:
            float32, ``(n, n_classes)``.
        """
        counts = _counts(data, self._features, self._n_ids)
        result = np.zeros((len(data), self._n_classes), np.float32)
        result[:, self._model.classes_] = self._model.predict_proba(self._weights.transform(counts))
        return result


def is_available() -> bool:
    """Say whether scikit-learn is installed."""
    return importlib.util.find_spec("sklearn") is not None


def fit_yardstick(train: Encoded, *, n_ids: int, n_classes: int) -> Yardstick:
    """Train the linear model.

    Args:
        train: What is learned from.
        n_ids: Number of token ids.
        n_classes: Number of classes.

    Raises:
        InputError: scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfTransformer
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise InputError(
            "The yardstick needs scikit-learn, which is not installed. "
            "Run in tuner's folder: pip install '.[yardsticks]'"
        ) from error
    codes, texts = _occurrences(train, n_ids)
    once = np.unique(codes * len(train) + texts) // len(train)
    features, n_texts = np.unique(once, return_counts=True)
    features = features[n_texts >= min(MIN_TEXTS, n_texts.max())]
    weights = TfidfTransformer(sublinear_tf=True)
    inputs = weights.fit_transform(_counts(train, features, n_ids))
    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=MAX_PASSES)
    model.fit(inputs, train.labels)
    return Yardstick(features, weights, model, n_ids=n_ids, n_classes=n_classes)


def _occurrences(data: Encoded, n_ids: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """List every word and every pair of neighbours.

    Returns:
        What each is, words below ``n_ids`` and pairs above; and its text: int64, (m,) each.
    """
    ids = data.ids.astype(np.int64)
    texts = np.repeat(np.arange(len(data)), data.lengths)
    inside = texts[1:] == texts[:-1]  # no pair reaches into the next text
    pairs = (ids[:-1] + 1) * n_ids + ids[1:]
    return np.concatenate([ids, pairs[inside]]), np.concatenate([texts, texts[1:][inside]])


def _counts(data: Encoded, features: npt.NDArray[np.int64], n_ids: int) -> Any:
    """Count known words and pairs: sparse float64, (n, n_features)."""
    from scipy import sparse

    codes, texts = _occurrences(data, n_ids)
    places = np.minimum(np.searchsorted(features, codes), len(features) - 1)
    known = features[places] == codes
    ones = np.ones(int(known.sum()))
    # What occurs twice is summed up.
    table = sparse.coo_matrix(
        (ones, (texts[known], places[known])), shape=(len(data), len(features))
    )
    return table.tocsr()
