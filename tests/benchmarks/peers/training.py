"""Whose code trains, and how what it trains comes into the journal."""

from collections.abc import Sequence
from typing import Any, Protocol

import keras

from tests.benchmarks.peers.protocol import VOCABULARY, Job, Journal, Params


class Training(Protocol):
    """Code that trains a network."""

    def train(
        self, params: Params, *, epochs: int, callbacks: Sequence[keras.callbacks.Callback]
    ) -> float:
        """Build and train a network, and give the validation accuracy of its best epoch."""

    def test(self, params: Params, *, epochs: int) -> float:
        """Train again, keep the best epoch's weights, and give the accuracy on the test reviews."""


def training_of(job: Job, *, vocabulary: int = VOCABULARY) -> Training:
    """Give the code that trains in the job's table."""
    # Each contestant imports what it needs: start-up counts.
    if job.table == 1:
        from tests.benchmarks.peers.stock import StockTraining

        return StockTraining(job, vocabulary=vocabulary)
    from tests.benchmarks.peers.shared import SharedTraining
    from tuner.device import configure

    configure(job.cores)
    return SharedTraining(job, vocabulary=vocabulary)


class Recorder(keras.callbacks.Callback):
    """Writes each epoch's validation accuracy into the journal; goes before those who prune.

    Args:
        journal: Where to write.
        trial: Which trial.
        params: Its hyperparameters.
    """

    def __init__(self, journal: Journal, trial: object, params: Params) -> None:
        super().__init__()
        self._journal = journal
        self._trial = trial
        self._params = params

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        value = (logs or {})["val_accuracy"]
        self._journal.evaluated(self._trial, epoch=epoch + 1, value=value, params=self._params)
