"""Why the models of an artifact say what they say of texts."""

from tuner.deliver.explaining.explainer import Explainer
from tuner.deliver.explaining.summarise import Wish, summarise

__all__ = ["Explainer", "Wish", "summarise"]
