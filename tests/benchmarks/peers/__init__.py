"""The benchmark against peers: other ways to find hyperparameters, at equal data and time."""
