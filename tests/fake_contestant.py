"""A contestant that trains nothing: it tells what it was told to, by the protocol.

``python -m tests.fake_contestant WORD JOB``: ``quick`` tells its evaluations and ends; ``endless``
tells one, starts a process in a session of its own, writes half a line and stays; ``broken`` fails
after its first evaluation; ``silent`` ends without one.
"""

import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.peers.protocol import Journal, read_job


def main() -> None:
    """Play a part."""
    part, job = sys.argv[-2], read_job()
    journal = Journal(job)
    if part == "silent":
        return
    params = {"units": 64, "layers": 1}
    journal.evaluated(0, epoch=1, value=0.6 + job.seed / 100, params=params)
    if part == "broken":
        print("the roof is on fire", flush=True)
        sys.exit(3)
    if part == "quick":
        journal.evaluated(0, epoch=2, value=0.75 + job.seed / 100, params=params)
        journal.ended(0, "complete")
        journal.evaluated(1, epoch=1, value=0.5, params=params | {"units": 32})
        journal.ended(1, "pruned")
        return
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path(job.journal).with_name("child").write_text(str(child.pid))
    with Path(job.journal).open("a") as file:
        file.write('{"seconds": 1.0, "trial"')
    time.sleep(600)


if __name__ == "__main__":
    main()
