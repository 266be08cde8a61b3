"""How long a text takes on one thread: measured in a process of its own, which has no other.

TensorFlow's threads are decided once a process.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tuner.data.encoded import Encoded
from tuner.deliver.artifact import Artifact, open_artifact
from tuner.device import configure
from tuner.errors import TunerError
from tuner.host import own_module
from tuner.worker.process import trainer_environment

#: Texts that are read together where many are.
BATCH = 32
#: Texts that are read one by one, and as many batches, at most ...
N_TIMES = 200
#: ... and so long at most, unless there are fewer readings than ...
SECONDS = 15.0
#: ... these.
N_LEAST = 20
#: Readings of which 99 in 100 can be told.
N_FOR_P99 = 100
#: Readings before those that count: the first ones set things up.
N_BEFORE = 3


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Milliseconds a text, from its ids to its probabilities, on one thread of the processor."""

    #: One by one, in the middle of all ...
    alone_p50: float
    #: ... and what 99 of 100 do not exceed; None where fewer than 100 were read.
    alone_p99: float | None
    #: In batches of 32 random texts, in the middle ...
    together_p50: float
    #: ... and what 99 of 100 batches do not exceed; None likewise.
    together_p99: float | None


def measure_latencies(
    folders: Sequence[Path], texts: Encoded, *, seed: int, scratch: Path
) -> tuple[Latency, ...]:
    """Measure artifacts, one after the other.

    Args:
        folders: Theirs.
        texts: What they read, as the artifact with most ids numbers words.
        seed: Decides which.
        scratch: A folder for what this process and the other one tell each other.

    Raises:
        TunerError: The other process failed.
    """
    rows = np.random.default_rng(seed).integers(len(texts), size=N_TIMES * BATCH)
    chosen = texts.subset(rows)
    given, answer = scratch / "texts.npz", scratch / "latencies.json"
    np.savez(given, ids=chosen.ids, offsets=chosen.offsets)
    words = [*own_module(__name__), str(given), str(answer), *map(str, folders)]
    # Libraries write to stdout: the answer is a file.
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        words,
        env=trainer_environment(os.environ, threads=1),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise TunerError(
            f"The process that measures latency ended with exit code {done.returncode}. Its last "
            f"words:\n{done.stderr[-2_000:]}"
        )
    return tuple(Latency(**each) for each in json.loads(answer.read_text()))


def main(given: str, answer: str, *folders: str) -> None:
    """Be the other process.

    Args:
        given: File of the texts.
        answer: File for what was measured.
        folders: Of the artifacts.
    """
    configure(threads=1)
    with np.load(given, allow_pickle=False) as arrays:
        ids, offsets = arrays["ids"], arrays["offsets"]
    texts = Encoded(ids=ids, offsets=offsets, labels=np.zeros(len(offsets) - 1, np.int32))
    found = [asdict(_measure(open_artifact(folder), texts)) for folder in folders]
    Path(answer).write_text(json.dumps(found))


def _measure(artifact: Artifact, texts: Encoded) -> Latency:
    # Which word it is takes no time: those that the artifact does not know are unknown ones.
    ids = np.where(texts.ids < artifact.manifest.n_ids, texts.ids, 1)
    known = Encoded(ids=ids, offsets=texts.offsets, labels=texts.labels)
    alone, together = (_percentiles(artifact, known, size) for size in (1, BATCH))
    return Latency(
        alone_p50=alone[0],
        alone_p99=alone[1],
        together_p50=together[0],
        together_p99=together[1],
    )


def _percentiles(artifact: Artifact, texts: Encoded, size: int) -> tuple[float, float | None]:
    batches = [texts.subset(np.arange(size) + number * size) for number in range(N_TIMES)]
    for batch in batches[:N_BEFORE]:
        artifact.predict_encoded(batch)
    milliseconds: list[float] = []
    end = time.perf_counter() + SECONDS
    for batch in batches:
        begin = time.perf_counter()
        if begin > end and len(milliseconds) >= N_LEAST:
            break
        artifact.predict_encoded(batch)
        milliseconds.append((time.perf_counter() - begin) * 1_000 / size)
    p50, p99 = np.percentile(milliseconds, (50, 99)).tolist()
    return p50, p99 if len(milliseconds) >= N_FOR_P99 else None


if __name__ == "__main__":
    main(*sys.argv[1:])
