"""Kill workers and trainers by the thousand, and certify that their studies came out right.

Run it from the repository's root; a thousand kills of the tiny objective take about ten minutes on
two cores::

    python -m tests.acceptance.chaos --storage postgres --kills 1000 --restarts 20

Exit codes: 0 the certificate is clean, 1 it is not, 2 there is no Postgres here.
"""

import argparse
import json
import logging
import sys
from pathlib import Path

from tests.acceptance.chaos.kinds import KINDS
from tests.acceptance.chaos.plan import Plan
from tests.acceptance.chaos.show import run
from tests.acceptance.chaos.stage import NoPostgresError


def parse() -> tuple[Plan, bool]:
    """Read the command line: the plan, and whether the answer is JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.chaos", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--storage", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--objective", choices=list(KINDS), default="tiny")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--restarts", type=int, default=0, help="hard restarts of Postgres")
    parser.add_argument("--tear-checkpoints", action="store_true")
    parser.add_argument("--fill-disk", action="store_true", help="needs the right to mount")
    parser.add_argument(
        "--lease", type=float, help="seconds; a GRU's trainer takes several to be ready"
    )
    parser.add_argument("--rate", type=float, help="kills a second from outside")
    parser.add_argument("--die-probability", type=float, default=0.02)
    parser.add_argument("--folder", type=Path, help="leave everything there")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    plan = Plan(
        storage=given.storage,
        objective=given.objective,
        kills=given.kills,
        workers=given.workers,
        seed=given.seed,
        restarts=given.restarts,
        tear_checkpoints=given.tear_checkpoints,
        fill_disk=given.fill_disk,
        lease=given.lease or KINDS[given.objective].lease,
        rate=given.rate or KINDS[given.objective].rate,
        die_probability=given.die_probability,
        folder=given.folder,
    )
    return plan, given.json


def main() -> int:
    """Run and print."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    plan, as_json = parse()
    try:
        certificate = run(plan)
    except NoPostgresError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(certificate.to_json()) if as_json else certificate.to_text())
    return 0 if certificate.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
