"""Tests of tuner, with real processes, databases and browsers."""

import os
from pathlib import Path

_ROOT = str(Path(__file__).parents[1])
# Child processes make the objectives of tests, and do not look into the current folder for them.
_FOLDERS = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
if _ROOT not in _FOLDERS:
    os.environ["PYTHONPATH"] = os.pathsep.join([_ROOT, *_FOLDERS])
