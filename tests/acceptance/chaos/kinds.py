"""The two studies that chaos is made of, and what suits each."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.objectives import TOY_STUDY
from tuner.config import StudyConfig
from tuner.study_file import load_study_file
from tuner.worker.worker import GRU_OBJECTIVE

GRU_STUDY = """
metric = "val_accuracy"

[data]
source     = "demo"
examples   = 400
vocabulary = 500

[budget]
trials = 6
epochs = 3

[space]
learning_rate = { low = 1e-3, high = 1e-1, log = true }
units         = { low = 4, high = 8 }
dropout       = { low = 0.0, high = 0.5 }
embedding     = 8
bidirectional = false
pooling       = "max"
max_length    = 32
"""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of study."""

    #: Its study file.
    text: str
    #: What its trainers compute.
    objective: str
    #: Slots of one study at least, so that there is time for trouble.
    least_slots: int
    #: Kills a second that leave time for trials.
    rate: float
    #: Seconds of a lease that suit its trials.
    lease: float
    #: Seconds without a slot done after which the study counts as stuck.
    patience: float
    #: Trials that are trained again; None where a formula computes all of them.
    n_trained_again: int | None

    def config(self, name: str, n_slots: int, seed: int) -> StudyConfig:
        """Make one study of this kind."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "chaos.toml"
            path.write_text(self.text)
            settings = (f"name={name}", f"seed={seed}", f"budget.trials={n_slots}")
            return load_study_file(path, settings)[0]


KINDS = {
    "tiny": Kind(
        text=TOY_STUDY,
        objective="tests.acceptance.chaos.objectives:tiny",
        least_slots=40,
        rate=1.5,
        lease=4.0,
        patience=90.0,
        n_trained_again=None,
    ),
    "gru": Kind(
        text=GRU_STUDY,
        objective=GRU_OBJECTIVE,
        least_slots=10,
        rate=0.08,
        lease=30.0,
        patience=400.0,
        n_trained_again=5,
    ),
}
