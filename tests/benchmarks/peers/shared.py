"""Training with `tuner`'s code, for everyone: the second table compares the search alone."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tests.benchmarks.peers.protocol import EPOCHS, VALIDATION, VOCABULARY, Job, Params
from tests.benchmarks.peers.space import PLAIN_NET
from tuner.checkpoints import Checkpoints
from tuner.config import DataConfig
from tuner.data.encoded import Encoded
from tuner.data.prepare import prepare
from tuner.data.text import encode, tokenize
from tuner.evaluation import Predictor
from tuner.metrics import STEPS_PER_EPOCH, accuracy
from tuner.network import Networks
from tuner.params import GRUParams
from tuner.training import FitResult, fit


class AtEndsOfEpochs(keras.callbacks.Callback):
    """Shows callbacks a training of `tuner`'s as they know it from Keras's `fit`.

    They are told of each epoch's end, and of nothing between; of those before the first epoch that
    counts, of which a training that goes on tells again, they have heard already.

    Args:
        callbacks: Whom to tell.
        first_epoch: Number of the first epoch that counts, from 0.
    """

    def __init__(
        self, callbacks: Sequence[keras.callbacks.Callback], *, first_epoch: int = 0
    ) -> None:
        super().__init__()
        self._callbacks = callbacks
        self._first_epoch = first_epoch

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        for callback in self._callbacks:
            callback.set_model(model)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        del epoch  # a quarter of one
        n_epochs, part = divmod((logs or {}).get("step", 1), STEPS_PER_EPOCH)
        if part == 0 and n_epochs > self._first_epoch:
            for callback in self._callbacks:
                callback.on_epoch_end(n_epochs - 1, logs)


class StopAfter(keras.callbacks.Callback):
    """Ends a training after so many epochs, whatever it was planned for.

    Args:
        epochs: In all.
    """

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs = epochs

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        del logs
        if epoch + 1 >= self._epochs:
            self.model.stop_training = True


class SharedTraining:
    """Reads reviews, builds networks and trains them; the process is configured before.

    Args:
        job: Says where the reviews are.
        vocabulary: Words that are told apart.
    """

    def __init__(self, job: Job, *, vocabulary: int = VOCABULARY) -> None:
        data = DataConfig(source="reviews.jsonl", vocabulary=vocabulary, validation=VALIDATION)
        self._data = prepare(data, seed=job.seed, folder=Path(job.data))
        self._job = job
        self._networks = Networks()

    def train(
        self,
        params: Params,
        *,
        epochs: int,
        callbacks: Sequence[keras.callbacks.Callback],
        first_epoch: int = 0,
        max_epochs: int | None = None,
        folder: Path | None = None,
    ) -> float:
        """Build and train a network, and give the validation accuracy of its best epoch.

        Args:
            params: Hyperparameters.
            epochs: In all.
            callbacks: Told of each epoch's end, from `first_epoch` on.
            first_epoch: Epochs that an earlier training in the same folder has done.
            max_epochs: That a training may take which begins with this one.
            folder: Where this training leaves what another needs to go on.
        """
        return self._fit(
            params,
            epochs=max_epochs or epochs,
            callbacks=[
                AtEndsOfEpochs([*callbacks, StopAfter(epochs)], first_epoch=first_epoch),
            ],
            checkpoints=None if folder is None else _only_when_stopped(folder),
        ).value

    def test(self, params: Params, *, epochs: int) -> float:
        """Train again, keep the best epoch's weights, and give the accuracy on the test reviews."""
        result = self._fit(
            params,
            epochs=max(EPOCHS, epochs),  # a schedule would reach for the last of them
            callbacks=[AtEndsOfEpochs([StopAfter(epochs)])],
        )
        lines = (Path(self._job.data) / "test.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        ids, offsets = encode(tokenize([row["text"] for row in rows]), self._data.words or ())
        labels = np.array([row["label"] for row in rows], np.int32)
        texts = Encoded(ids=ids, offsets=offsets, labels=labels)
        return accuracy(labels, Predictor(result.model).probabilities(texts, result.params))

    def _fit(
        self,
        params: Params,
        *,
        epochs: int,
        callbacks: Sequence[keras.callbacks.Callback],
        checkpoints: Checkpoints | None = None,
    ) -> FitResult:
        known = PLAIN_NET | {"max_length": self._job.words} | dict(params)
        return fit(
            GRUParams(**known),
            self._data.train,
            self._data.validation,
            vocabulary=len(self._data.words or ()) + 2,
            n_classes=len(self._data.classes),
            epochs=epochs,
            seed=self._job.seed,
            metric="val_accuracy",
            callbacks=callbacks,
            checkpoints=checkpoints,
            networks=self._networks,
        )


def _only_when_stopped(folder: Path) -> Checkpoints:
    checkpoints = Checkpoints(folder / "all", every=math.inf)
    checkpoints.keep_when_stopped.set()
    return checkpoints
