"""How long do explanations take, how many steps, and do they always add up?

Explains reviews with an artifact as `tuner explain` does, once it is loaded. Prints the seconds
from a review of some 400 words to its explanation, both the first one of a process and the median
of later ones, with the time of all processors beside it, which tells how busy the machine was else;
then, for many reviews, how many add up within the tolerance, the largest gap as a
share of what there was to explain (of those where that is more than 1), the steps that were used,
and how far integrated gradients and occlusion agree. ``--threads`` is for both.

Run it from the repository's root; it takes some minutes::

    python -m tests.benchmarks.explaining imdb.model reviews.jsonl.gz [--reviews 200] [--threads 2]
"""

import argparse
import statistics
import time
from collections import Counter
from pathlib import Path

from tests.benchmarks.reviews import read_reviews
from tuner.device import configure

#: Reviews of which the speed is told.
N_TIMED = 5
#: Words that these have, about.
TIMED_WORDS = 400


def main() -> None:
    """Print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("reviews_file", type=Path)
    parser.add_argument("--reviews", type=int, default=200)
    parser.add_argument("--threads", type=int, default=None)
    given = parser.parse_args()
    texts = read_reviews(given.reviews_file, max(2_000, given.reviews)).texts
    configure(given.threads)
    from tuner.deliver import Explainer, open_artifact

    artifact = open_artifact(given.artifact)
    began = time.perf_counter()
    explainer = Explainer(artifact)
    print(f"opened in {time.perf_counter() - began:.2f} s")
    seconds = []
    for text in sorted(texts, key=lambda text: abs(len(text.split()) - TIMED_WORDS))[:N_TIMED]:
        began, computed = time.perf_counter(), time.process_time()
        found = explainer.explain(text)
        seconds.append(time.perf_counter() - began)
        computed = time.process_time() - computed
        n_read = sum(word.is_read for word in found.words)
        print(
            f"{n_read} words: {seconds[-1]:.2f} s ({computed:.2f} s of processors), "
            f"{found.n_steps} steps",
            flush=True,
        )
    print(f"first {seconds[0]:.2f} s, median of later ones {statistics.median(seconds[1:]):.2f} s")

    explained = [explainer.explain(text) for text in texts[: given.reviews]]
    balances = [balance for found in explained for balance in (found.whole, *found.by_model)]
    complete = [
        all(b.gap <= b.tolerance for b in (found.whole, *found.by_model)) for found in explained
    ]
    shares = [b.gap / abs(b.log_odds - b.baseline) for b in balances if b.tolerance > 0.02]
    steps = Counter(found.n_steps for found in explained)
    agreements = sorted(found.agreement for found in explained if found.agreement is not None)
    print(f"{sum(complete)} of {len(explained)} add up; the largest gap is {max(shares):.2%}")
    print("steps: " + ", ".join(f"{n} in {steps[n]}" for n in sorted(steps)))
    low, middle, high = statistics.quantiles(agreements, n=4)
    print(f"rank agreement with occlusion: {low:.2f}, {middle:.2f}, {high:.2f} (quartiles)")


if __name__ == "__main__":
    main()
