"""Keep the trials of a study."""

import argparse
from pathlib import Path

from tests.recorded import write_recorded
from tuner.simulate import read_recording
from tuner.storage import Database, find_study

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("study")
parser.add_argument("path", type=Path)
parser.add_argument("--storage", default="sqlite:///studies/tuner.db")
given = parser.parse_args()
with Database.open(given.storage) as database:
    write_recorded(read_recording(database, find_study(database, given.study)), given.path)
