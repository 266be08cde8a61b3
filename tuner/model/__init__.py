"""The network: from hyperparameters to a Keras model."""

from tuner.model.build import NET, build_model, uses_cudnn
from tuner.model.pieces import piece_length
from tuner.model.restart import reinitialise, set_rates, structure_of, variables_of

__all__ = [
    "NET",
    "build_model",
    "piece_length",
    "reinitialise",
    "set_rates",
    "structure_of",
    "uses_cudnn",
    "variables_of",
]
