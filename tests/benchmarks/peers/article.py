"""The article's grid: a hand-written loop over its 27 points.

Its net (Embedding, GRU, GRU, Dense), its 10,000 words, its ten epochs, its points in its order. The
loop is as its author meant it: a new network for each point, chosen on validation reviews.
"""

import itertools

from tests.benchmarks.peers.protocol import ARTICLE_VOCABULARY, Journal, read_job
from tests.benchmarks.peers.training import Recorder, training_of
from tuner.errors import TrialFailedError

UNITS = (64, 128, 256)
LEARNING_RATES = (0.001, 0.01, 0.1)
BATCH_SIZES = (32, 64, 128)
EPOCHS = 10


def main() -> None:
    """Go through the grid."""
    job = read_job()
    journal = Journal(job)
    training = training_of(job, vocabulary=ARTICLE_VOCABULARY)
    grid = itertools.product(UNITS, LEARNING_RATES, BATCH_SIZES)
    for number, (units, learning_rate, batch_size) in enumerate(grid):
        params = {
            "units": units,
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "layers": 2,
            "dropout": 0.0,
        }
        try:
            training.train(params, epochs=EPOCHS, callbacks=[Recorder(journal, number, params)])
            journal.ended(number, "complete")
        except TrialFailedError:  # of ours alone: stock `fit` goes on with what is not a number
            journal.ended(number, "failed")


if __name__ == "__main__":
    main()
