"""What does the processor do in a gradient step of the article's net, trained by our `fit`?

One process with one thread trains some batches twice: first as always, then TensorFlow's profiler
records every operation of the same batches. Of an operation's time only that counts in which its
thread had the processor, so that other processes do little harm. "Between operations" is what the
same thread spent otherwise: the executor's way from one to the next, the bookkeeping of the loops
over time, the profiler. Printed are milliseconds of processor time a batch, the shares, the FLOP/s
within products of matrices beside those of a large product, and how many of the words that were
computed are real ones. Linux only.

Run it from the repository's root; it takes a minute on a machine that does nothing else::

    python -m tests.benchmarks.step_profile reviews.jsonl.gz [--params bidirectional=true units=64]
    python -m tests.benchmarks.step_profile --synthetic [--batches 12] [--kinds 15]
"""

import argparse
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.contestant import ARTICLE_WORDS, Job, Ours, Wish
from tests.benchmarks.machine_limit import flop_per_token, product_gflops
from tests.benchmarks.reviews import Reviews, make_up_reviews, read_reviews
from tests.benchmarks.thread_clock import ThreadClock
from tests.benchmarks.training_speed import parse_params

#: Batches that come before those that are measured.
N_BEFORE = 2
#: What moves numbers from one tensor to another.
MOVING = (
    "TensorList",
    "Transpose",
    "StridedSlice",
    "Slice",
    "ConcatV2",
    "Split",
    "GatherV2",
    "Pack",
    "Unpack",
    "Pad",
    "Tile",
)
#: Name of the thread that runs operations.
COMPUTES = "tf_Compute"
PRODUCTS = "products of matrices"


def group_of(node: str) -> str:
    """Say what a node of the graph is there for; its name ends with the operation's kind."""
    kind = node.rpartition(":")[2]
    is_in_loop = "while" in node
    if kind.endswith("MatMul"):
        return f"{PRODUCTS}, {'a step of the loop' if is_in_loop else 'all words at once'}"
    if kind.startswith("ResourceApply") or node.startswith("adam/"):
        return "the optimizer's update"
    if kind in ("ResourceGather", "UnsortedSegmentSum"):
        return "word vectors: look-up and gradient"
    if kind.startswith(MOVING):
        return f"moving numbers, {'in the loops' if is_in_loop else 'outside of them'}"
    return "gates and all other arithmetic"


def trained(
    ours: Ours, n_batches: int, begin: Callable[[], None], end: Callable[[], None]
) -> tuple[int, int]:
    """Train some batches; those after the first two lie between `begin` and `end`.

    Returns:
        Real and all words of the batches between.
    """
    import keras

    numbers: Iterator[int] = iter(range(1, n_batches + N_BEFORE + 1))

    def after_batch(batch: int, logs: Any) -> None:
        del batch, logs
        number = next(numbers)
        if number == N_BEFORE:
            begin()
        if number == n_batches + N_BEFORE:
            end()
            counting.model.stop_training = True

    counting = keras.callbacks.LambdaCallback(on_train_batch_end=after_batch)
    ours.train(Wish(epochs=1), [counting])
    return ours.words_of_batches(N_BEFORE, N_BEFORE + n_batches)


def node_seconds(folder: Path, clock: ThreadClock) -> dict[str, float]:
    """Read what the profiler recorded: processor time by node of the graph."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    (path,) = folder.rglob("*.xplane.pb")
    space = xplane_pb2.XSpace()
    space.ParseFromString(path.read_bytes())
    # All times count from when the profiler was started, which stands in a plane of its own.
    (started,) = (
        stat.uint64_value
        for plane in space.planes
        for stat in plane.stats
        if plane.stat_metadata[stat.metadata_id].name == "profile_start_time"
    )
    calls: list[tuple[str, int, int]] = []
    for plane in space.planes:
        names = {number: data.name for number, data in plane.event_metadata.items()}
        for line in plane.lines:
            if not line.name.startswith(COMPUTES):
                continue
            for event in line.events:
                name = names[event.metadata_id]
                # The others are the executor's own, around those of operations.
                if ":" in name and "::" not in name:
                    began = started + line.timestamp_ns + event.offset_ps // 1000
                    calls.append((name, began, began + event.duration_ps // 1000))
    begins, ends = (np.array([call[i] for call in calls], np.int64) for i in (1, 2))
    seconds: defaultdict[str, float] = defaultdict(float)
    for (name, _, _), run in zip(calls, clock.between(begins, ends), strict=True):
        seconds[name] += float(run)
    return seconds


def profile(ours: Ours, *, n_batches: int, n_kinds: int) -> None:
    """Measure and print."""
    import tensorflow as tf

    cpu: list[float] = []
    clock = ThreadClock(COMPUTES)

    def begin() -> None:
        tf.profiler.experimental.start(folder)
        clock.start()
        cpu.append(time.process_time())

    def end() -> None:
        cpu.append(time.process_time())
        clock.stop()
        tf.profiler.experimental.stop()

    with tempfile.TemporaryDirectory() as folder:

        def look() -> None:
            cpu.append(time.process_time())

        trained(ours, n_batches, look, look)
        n_real, n_all = trained(ours, n_batches, begin, end)
        nodes = node_seconds(Path(folder), clock)
    plain, total = cpu[1] - cpu[0], cpu[3] - cpu[2]
    groups: defaultdict[str, float] = defaultdict(float)
    kinds: defaultdict[str, float] = defaultdict(float)
    for node, seconds in nodes.items():
        groups[group_of(node)] += seconds
        kinds[node.rpartition(":")[2]] += seconds
    groups["between operations"] = clock.seconds - sum(groups.values())
    groups["Keras, Python, making batches"] = total - clock.seconds

    def line(what: str, seconds: float) -> None:
        print(f"{what:42}  {seconds / n_batches * 1e3:10.1f}  {seconds / total:6.1%}")

    print(f"{n_batches} batches, {n_real / n_all:.0%} of their words are real ones")
    print(f"{'':42}  ms a batch   share")
    for group, seconds in sorted(groups.items(), key=lambda item: -item[1]):
        line(group, seconds)
    line("all processor time", total)
    line("without the profiler", plain)
    flop = flop_per_token(ours.params) * n_all
    in_products = sum(seconds for group, seconds in groups.items() if group.startswith(PRODUCTS))
    print(
        f"within products {flop / in_products / 1e9:.0f} GFLOP/s, in all {flop / plain / 1e9:.0f} "
        f"(of real words {flop / plain / 1e9 * n_real / n_all:.0f}), in a large product "
        f"{product_gflops(time.process_time):.0f} on one thread, by processor time"
    )
    if n_kinds:
        print("\nthe operations that take longest")
    for kind, seconds in sorted(kinds.items(), key=lambda item: -item[1])[:n_kinds]:
        line(kind, seconds)


def main() -> None:
    """Measure and print."""
    words, _, _ = (__doc__ or "").partition("Run it from")
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.step_profile",
        description=words,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", nargs="?", type=Path, help="a .jsonl[.gz] with text and label")
    parser.add_argument("--synthetic", action="store_true", help="make reviews up instead")
    parser.add_argument("--reviews", type=int, default=4_000, help="to choose batches from")
    parser.add_argument("--batches", type=int, default=12, help="to measure")
    parser.add_argument("--kinds", type=int, default=0, help="of operations to list as well")
    parser.add_argument("--params", nargs="+", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    if (given.path is None) != given.synthetic:
        parser.error("give either a file with reviews, or --synthetic")
    reviews = (
        make_up_reviews(given.reviews)
        if given.synthetic
        else read_reviews(given.path, given.reviews)
    )
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    from tuner.device import configure

    configure(threads=1)
    n_training = len(reviews.texts)
    job = Job(
        kind="tuner",
        threads=1,
        path="",
        n_training=n_training,
        params=parse_params(given.params),
        vocabulary=ARTICLE_WORDS,
    )
    # The training ends before it is judged, by two texts that nobody reads.
    judges = Reviews(texts=(*reviews.texts, "good", "bad"), labels=(*reviews.labels, "pos", "neg"))
    ours = Ours(judges, job)
    ours.warm_up()
    profile(ours, n_batches=given.batches, n_kinds=given.kinds)


if __name__ == "__main__":
    main()
