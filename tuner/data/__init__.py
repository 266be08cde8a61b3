"""From a study's examples to batches of token ids.

`tuner.data.prepare.prepare` does everything up to the ids, once a machine (`tuner.data.cache`),
and `tuner.data.batches` cuts them into batches. None of it needs TensorFlow; only the layer that
`tuner.data.text.build_vectorizer` makes does.
"""

from tuner.data.corpus import Corpus
from tuner.data.encoded import Encoded
from tuner.data.prepared import Prepared
from tuner.data.sources import has_test, locate_test, read, read_test
from tuner.data.summary import Summary, describe

__all__ = [
    "Corpus",
    "Encoded",
    "Prepared",
    "Summary",
    "describe",
    "has_test",
    "read",
    "locate_test",
    "read_test",
]
