"""How long does it take to look at a large study, and how large is its report?

A made-up study is written into SQLite and into Postgres, where there is one. Printed are the
seconds of each command as a process of its own, those of them in which it computed, its largest
memory, and the size of what it wrote.
scikit-learn is hidden from them: only the tests install it, and Optuna imports all of it where it
is there, for three seconds.

Run it from the repository's root on a machine that does nothing else::

    python -m tests.benchmarks.large_report [--trials 10000] [--reports 10] [--repeats 3]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests import postgres

COMMANDS = (
    ("best", "big"),
    ("status", "big"),
    ("trials", "big", "--format", "csv"),
    ("importance", "big"),
    ("report", "big", "-o", "-"),
)
_START = "import sys; sys.modules['sklearn'] = None; from tuner.cli import main; main()"


def timed(words: Sequence[str], storage: str, output: Path) -> tuple[float, float, float]:
    """Run a command.

    Returns:
        Seconds, seconds of CPU, and MB of memory at most.
    """
    began = time.perf_counter()
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", _START, *words],
            stdout=stream,
            env=os.environ | {"TUNER_STORAGE": storage},
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    seconds = time.perf_counter() - began
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def measure(kind: str, storage: str, given: argparse.Namespace) -> None:
    """Fill a database and print what each command takes."""
    began = time.perf_counter()
    sizes = [f"--trials={given.trials}", f"--reports={given.reports}"]
    # A process of its own: memory of this one would count as that of those it starts.
    subprocess.run([sys.executable, "-m", "tests.large_study", storage, *sizes], check=True)
    filled = time.perf_counter() - began
    print(f"{kind}: {given.trials} trials x {given.reports} reports, filled in {filled:.0f} s")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        for words in COMMANDS:
            runs = [timed(words, storage, output) for _ in range(given.repeats)]
            seconds, computing, memory = min(runs)
            size = output.stat().st_size / 1e6
            print(
                f"  {words[0]:<11} {seconds:6.2f} s, CPU {computing:6.2f} s, "
                f"memory {memory:4.0f} MB, output {size:5.2f} MB"
            )


def main() -> None:
    """Measure each database."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.large_report")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--reports", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3, help="the quickest counts")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure("SQLite", f"sqlite:///{folder}/big.db", given)
    try:
        with postgres.server() as server:
            measure("Postgres", server, given)
    except LookupError as error:
        print(f"Postgres: {error}")


if __name__ == "__main__":
    main()
