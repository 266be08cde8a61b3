"""What the peers tune, said once; each contestant says it in the words of its library.

Ranges as KerasTuner's "Getting started" has them (units in steps of 32, learning rate from 1e-4 to
1e-2 by magnitude, https://keras.io/keras_tuner/getting_started/), batch sizes as the article has
them, and one layer or two with some dropout before the last one.
"""

from typing import Any

#: GRU units a layer: lowest, highest, step.
UNITS = (32, 256, 32)
#: Step size of Adam: lowest, highest; magnitudes are equally likely.
LEARNING_RATE = (1e-4, 1e-2)
#: Reviews a gradient step.
BATCH_SIZE = (32, 64, 128)
#: GRU layers.
LAYERS = (1, 2)
#: Share dropped before the last layer: lowest, highest.
DROPOUT = (0.0, 0.5)
#: Width of the word vectors; not tuned. As in Keras's example of IMDB and in the article.
EMBEDDING = 128

#: What `tuner` must fix to train the net that the peers train: Embedding, GRUs that read forward,
#: the last state, dropout, Dense.
PLAIN_NET: dict[str, Any] = {
    "embedding": EMBEDDING,
    "bidirectional": False,
    "pooling": "last",
    "embedding_dropout": 0.0,
    "layer_dropout": 0.0,
    "truncate": "start",
}
