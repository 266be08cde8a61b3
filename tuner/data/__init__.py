"""From a study's examples to batches of token ids.

`tuner.data.prepare.prepare` does everything up to the ids, and `tuner.data.batches` cuts them
into batches. None of these modules imports TensorFlow before it has text to turn into ids, which
`tuner.data.text` alone does.
"""

from tuner.data.corpus import Corpus
from tuner.data.encoded import Encoded
from tuner.data.prepare import Prepared
from tuner.data.sources import read, read_test
from tuner.data.summary import Summary, describe

__all__ = ["Corpus", "Encoded", "Prepared", "Summary", "describe", "read", "read_test"]
