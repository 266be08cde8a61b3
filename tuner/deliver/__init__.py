"""From the winner of a study to a model that can be trusted and shipped."""

from tuner.deliver.artifact import Artifact, Classifier, open_artifact
from tuner.deliver.explaining import Explainer, IncompleteError, Wish, summarise

__all__ = [
    "Artifact",
    "Classifier",
    "open_artifact",
    "Explainer",
    "IncompleteError",
    "Wish",
    "summarise",
]
