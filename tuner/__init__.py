"""Find good hyperparameters for GRU text classifiers and take home a model measured honestly."""

__version__ = "0.1.0"
