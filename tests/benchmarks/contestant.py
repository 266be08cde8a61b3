"""A process that trains when it is told to: the article's code, or `tuner.training.fit`.

`training_speed` starts it as ``python -m tests.benchmarks.contestant JOB``, with a `Job` as JSON,
and speaks with it in lines of JSON: it says that it is ready, hears a `Wish`, answers with a
`Turn`, and ends with its input. Each contestant imports TensorFlow and prepares its data first.
"""

import itertools
import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from tests.benchmarks.machine_limit import product_gflops
from tests.benchmarks.reviews import Reviews, read_reviews
from tuner.params import GRUParams

#: The article's words, words a review, and reviews a gradient step.
ARTICLE_WORDS, ARTICLE_LENGTH, ARTICLE_BATCH = 10_000, 500, 64
#: The article's net in our words.
ARTICLE_PARAMS: dict[str, Any] = {
    "layers": 2,
    "bidirectional": False,
    "pooling": "last",
    "embedding": 128,
    "units": 128,
    "embedding_dropout": 0.0,
    "dropout": 0.0,
    "max_length": ARTICLE_LENGTH,
    "truncate": "start",
    "batch_size": ARTICLE_BATCH,
    "learning_rate": 1e-3,
}
#: Reviews that are trained on first, so that no turn counts what is done once in a process.
N_WARM_UP = 128


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a contestant is."""

    #: ``"article"`` or ``"tuner"``.
    kind: str
    #: Threads; None for what TensorFlow takes by itself.
    threads: int | None
    #: File with the reviews.
    path: str
    #: The first so many of them are learned from, the others judge.
    n_training: int
    #: Hyperparameters besides the article's; for ``"tuner"`` alone.
    params: dict[str, Any]
    #: Number of token ids; for ``"tuner"`` alone.
    vocabulary: int


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a contestant is to do in a turn."""

    #: Epochs of the training; 0 for large products of matrices.
    epochs: int
    #: Of weights and order.
    seed: int = 0
    #: Whether the article's code evaluates after each epoch, too; ours always does.
    evaluates: bool = False


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What came of it."""

    #: Wall-clock time.
    seconds: float
    #: Processor time of all threads, in seconds.
    cpu_seconds: float
    #: Best validation accuracy at the end of an epoch; not a number where nothing was judged.
    accuracy: float
    #: Of large products, in GFLOP/s; 0 where none were asked for.
    gflops: float
    #: Most memory of the process so far, in MiB.
    peak_mib: float


class Contestant(Protocol):
    """A way to train."""

    def train(self, wish: Wish) -> float:
        """Train, and give the best validation accuracy."""

    def warm_up(self) -> None:
        """Train on a few reviews."""


class Article:
    """The article's code as written: stock `fit`, each review padded to 500 words.

    Args:
        reviews: All.
        n_training: How many of them are learned from.
    """

    def __init__(self, reviews: Reviews, n_training: int) -> None:
        import keras

        words = [text.lower().split() for text in reviews.texts]
        counts = Counter(word for text in words[:n_training] for word in text)
        frequent = counts.most_common(ARTICLE_WORDS - 3)
        ids = {word: number for number, (word, _) in enumerate(frequent, start=3)}
        self._x = keras.utils.pad_sequences(
            [[ids.get(word, 2) for word in text] for text in words], maxlen=ARTICLE_LENGTH
        )
        self._y = np.array([label == "pos" for label in reviews.labels], "float32")
        self._n = n_training
        self._model = self._build()

    def _build(self) -> Any:
        import keras
        from keras.layers import GRU, Dense, Embedding

        model = keras.Sequential(
            [
                Embedding(ARTICLE_WORDS, 128),
                GRU(128, return_sequences=True),
                GRU(128),
                Dense(1, activation="sigmoid"),
            ]
        )
        model.compile(
            optimizer=keras.optimizers.Adam(1e-3), loss="binary_crossentropy", metrics=["accuracy"]
        )
        return model

    def warm_up(self) -> None:
        self._fit(self._x[:N_WARM_UP], self._y[:N_WARM_UP])

    def _fit(self, x: Any, y: Any, **options: Any) -> Any:
        return self._model.fit(x, y, batch_size=ARTICLE_BATCH, verbose=0, **options)

    def train(self, wish: Wish) -> float:
        x, y, n = self._x, self._y, self._n
        if not wish.evaluates:  # it trains on: what the weights are does not change the speed
            self._fit(x[:n], y[:n], epochs=wish.epochs)
            return float("nan")
        import keras

        keras.utils.set_random_seed(wish.seed)
        self._model = self._build()
        history = self._fit(x[:n], y[:n], epochs=wish.epochs, validation_data=(x[n:], y[n:]))
        return float(max(history.history["val_accuracy"]))


class Ours:
    """`tuner.training.fit`, evaluations included, with a network that was compiled before.

    Args:
        reviews: All.
        job: Says how.
    """

    def __init__(self, reviews: Reviews, job: Job) -> None:
        from tuner.data.encoded import Encoded
        from tuner.data.text import encode, learn_words, tokenize
        from tuner.network import Networks

        tokens = tokenize(reviews.texts)
        rows = np.arange(len(reviews.texts))
        words = learn_words(tokens, rows[: job.n_training], job.vocabulary)
        ids, offsets = encode(tokens, words)
        labels = np.array([label == "pos" for label in reviews.labels], np.int32)
        examples = Encoded(ids=ids, offsets=offsets, labels=labels)
        self._train = examples.subset(rows[: job.n_training])
        self._validation = examples.subset(rows[job.n_training :])
        self._warm_up = examples.subset(rows[:N_WARM_UP])
        #: With the article's where the job names no others.
        self.params = GRUParams(**(ARTICLE_PARAMS | job.params))
        self._vocabulary = job.vocabulary
        self._networks = Networks()

    def warm_up(self) -> None:
        self._fit(self._warm_up, self._warm_up, Wish(epochs=1))

    def train(self, wish: Wish, callbacks: Sequence[Any] = ()) -> float:
        return self._fit(self._train, self._validation, wish, callbacks)

    def words_of_batches(self, start: int, stop: int) -> tuple[int, int]:
        """Count the real and all words of some batches that a training with seed 0 begins with."""
        from tuner.data.batches import training_batches

        batches = training_batches(
            self._train,
            batch_size=self.params.batch_size,
            max_length=self.params.max_length,
            truncate=self.params.truncate,
            seed=0,
            epoch=0,
        )
        some = [ids for ids, _ in itertools.islice(batches, start, stop)]
        return sum(int((ids != 0).sum()) for ids in some), sum(ids.size for ids in some)

    def _fit(self, train: Any, validation: Any, wish: Wish, callbacks: Sequence[Any] = ()) -> float:
        from tuner.training import fit

        return fit(
            self.params,
            train,
            validation,
            vocabulary=self._vocabulary,
            n_classes=2,
            epochs=wish.epochs,
            seed=wish.seed,
            metric="val_accuracy",
            callbacks=callbacks,
            networks=self._networks,
        ).value


def take_turn(contestant: Contestant, wish: Wish) -> Turn:
    """Do what is wished, and measure it."""
    began, cpu = time.perf_counter(), time.process_time()
    accuracy = contestant.train(wish) if wish.epochs else float("nan")
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Turn(
        seconds=seconds,
        cpu_seconds=cpu,
        accuracy=accuracy,
        gflops=0.0 if wish.epochs else product_gflops(),
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def serve(job: Job, reading: IO[str], writing: IO[str]) -> None:
    """Take turns until the input ends."""
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    if job.threads is not None:
        from tuner.device import configure

        configure(job.threads)
    import keras

    keras.utils.set_random_seed(0)
    reviews = read_reviews(Path(job.path), sys.maxsize)
    contestant: Contestant = (
        Article(reviews, job.n_training) if job.kind == "article" else Ours(reviews, job)
    )
    contestant.warm_up()
    print("ready", file=writing, flush=True)
    for line in reading:
        turn = take_turn(contestant, Wish(**json.loads(line)))
        print(json.dumps(asdict(turn)), file=writing, flush=True)


def main(arguments: Sequence[str]) -> None:
    """Serve on what was the standard output; TensorFlow's own words go elsewhere."""
    with os.fdopen(os.dup(1), "w") as writing:
        os.dup2(2, 1)
        serve(Job(**json.loads(arguments[0])), sys.stdin, writing)


if __name__ == "__main__":
    main(sys.argv[1:])
