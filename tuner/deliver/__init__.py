"""From the winner of a study to a model that can be trusted and shipped."""

from tuner.deliver.artifact import Artifact, Classifier, open_artifact

__all__ = ["Artifact", "Classifier", "open_artifact"]
