"""Why the models of an artifact say what they say of texts."""

from tuner.deliver.explaining.explainer import Explainer, IncompleteError
from tuner.deliver.explaining.summarise import Wish, summarise

__all__ = ["Explainer", "IncompleteError", "Wish", "summarise"]
