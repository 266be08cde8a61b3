"""What other samplers, pruners and numbers of workers would have made of recorded trainings."""

from tuner.simulate.recording import Candidate, Recording
from tuner.simulate.regret import Row, rows, simulate
from tuner.simulate.replay import Replay, Replayed, replay
from tuner.simulate.study import read_recording
from tuner.simulate.tables import read_table, table_files

__all__ = [
    "Candidate",
    "Recording",
    "Replay",
    "Replayed",
    "Row",
    "read_recording",
    "read_table",
    "replay",
    "rows",
    "simulate",
    "table_files",
]
