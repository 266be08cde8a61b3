"""Training as users of Keras write it: reviews padded to one length, stock layers, stock `fit`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from tests.benchmarks.peers.protocol import VOCABULARY, Job, Params
from tests.benchmarks.peers.space import EMBEDDING


class StockTraining:
    """Reads reviews, builds networks and trains them.

    The steps are those of Keras's example of IMDB,
    https://keras.io/examples/nlp/bidirectional_lstm_imdb/: `pad_sequences`, which pads and cuts at
    the start, Embedding, recurrent layers, Dense with a sigmoid, Adam, `fit`.

    Args:
        job: Says where the reviews are.
        vocabulary: Words that are told apart.
    """

    def __init__(self, job: Job, *, vocabulary: int = VOCABULARY) -> None:
        keras.utils.set_random_seed(job.seed)
        self._words = job.words
        self._vocabulary = vocabulary
        self._folder = Path(job.data)
        texts, self.y_train = self._read("training")
        self._vectorize = layers.TextVectorization(max_tokens=vocabulary, ragged=True)
        self._vectorize.adapt(texts)
        self.x_train = self._pad(texts)
        texts, self.y_validation = self._read("validation")
        self.x_validation = self._pad(texts)

    def _read(self, name: str) -> tuple[list[str], Any]:
        lines = (self._folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        return [row["text"] for row in rows], np.array([row["label"] for row in rows], "float32")

    def _pad(self, texts: Sequence[str]) -> Any:
        ids = self._vectorize(np.array(texts, object)).to_list()
        return keras.utils.pad_sequences(ids, maxlen=self._words)  # (reviews, words)

    def build(self, params: Params) -> keras.Model:
        """Build and compile a network."""
        keras.backend.clear_session()  # as Optuna's example and KerasTuner do before each trial
        model = keras.Sequential([layers.Embedding(self._vocabulary, EMBEDDING)])
        for number in range(1, params["layers"] + 1):
            model.add(layers.GRU(params["units"], return_sequences=number < params["layers"]))
        model.add(layers.Dropout(params["dropout"]))
        model.add(layers.Dense(1, activation="sigmoid"))
        model.compile(
            optimizer=keras.optimizers.Adam(params["learning_rate"]),
            loss="binary_crossentropy",
            metrics=["accuracy"],
        )
        return model

    def fit(self, model: keras.Model, params: Params, **options: Any) -> Any:
        """Train, and give what Keras's `fit` gives."""
        return model.fit(
            self.x_train,
            self.y_train,
            batch_size=params["batch_size"],
            validation_data=(self.x_validation, self.y_validation),
            **options,
        )

    def train(
        self, params: Params, *, epochs: int, callbacks: Sequence[keras.callbacks.Callback]
    ) -> float:
        """Build and train a network, and give the validation accuracy of its best epoch."""
        model = self.build(params)
        history = self.fit(model, params, epochs=epochs, callbacks=callbacks, verbose=0)
        return float(max(history.history["val_accuracy"]))

    def test(self, params: Params, *, epochs: int) -> float:
        """Train again, keep the best epoch's weights, and give the accuracy on the test reviews."""
        model = self.build(params)
        # Its patience never ends: it is there for the weights.
        keep_best = keras.callbacks.EarlyStopping(
            "val_accuracy", mode="max", patience=epochs, restore_best_weights=True
        )
        self.fit(model, params, epochs=epochs, callbacks=[keep_best], verbose=0)
        texts, labels = self._read("test")
        _, accuracy = model.evaluate(self._pad(texts), labels, verbose=0)
        return float(accuracy)
