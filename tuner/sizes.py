"""How large a model is, computed from its hyperparameters without building it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tuner.params import GRUParams

#: Bytes of a weight as it is shipped, in float32.
BYTES_PER_WEIGHT = 4


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the data decides of every model of a study."""

    #: Token ids, padding and out-of-vocabulary included.
    n_ids: int
    #: Classes, at least 2.
    n_classes: int


def count_parameters(params: GRUParams, shape: Shape) -> int:
    """Count the numbers that training adjusts."""
    n = shape.n_ids * params.embedding
    n += sum(width for _, width in _recurrent(params)) * _biases(params)
    n += _kernels(params) + _attention(params)
    n += params.units if params.pooling == "attention" else 0  # its hidden layer's biases
    return n + (_pooled(params) + 1) * shape.n_classes


def count_bytes(params: GRUParams, shape: Shape) -> int:
    """Count the bytes of all weights as float32."""
    return BYTES_PER_WEIGHT * count_parameters(params, shape)


def count_multiply_adds(params: GRUParams, _shape: Shape) -> int:
    """Count the multiplications with an addition that reading one more word takes.

    Those of matrices: of the GRU layers and of attention. The classifier is left out, as it is
    computed once a text, and the look-up of a word's vector, which multiplies nothing.
    """
    return _kernels(params) + _attention(params)


#: Every size that a study may be judged by or limit, all of them the smaller the better.
SIZES: dict[str, Callable[[GRUParams, Shape], int]] = {
    "bytes": count_bytes,
    "parameters": count_parameters,
    "multiply_adds": count_multiply_adds,
}


#: Hyperparameters that decide a size; no other one does.
SIZING = frozenset({"units", "layers", "bidirectional", "pooling", "embedding", "reset_after"})


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What sizes the models of a study may have at most."""

    #: Size to its largest value; may be empty.
    largest: Mapping[str, float]
    #: Of the data.
    shape: Shape

    def excess(self, params: GRUParams) -> dict[str, float]:
        """Say by what share a model is larger than each limit, below 0 where it is smaller.

        This is Optuna's convention for constraints: what is above 0 is violated.
        """
        return {
            name: SIZES[name](params, self.shape) / limit - 1
            for name, limit in self.largest.items()
        }

    def allow(self, params: GRUParams) -> bool:
        """Say whether a model keeps to all limits."""
        return all(excess <= 0 for excess in self.excess(params).values())

    def describe(self, params: GRUParams) -> str:
        """Say in words which limits a model exceeds, such as ``bytes 3,000,000 > 2,000,000``."""
        return ", ".join(
            f"{name} {SIZES[name](params, self.shape):,} > {self.largest[name]:,}"
            for name, excess in self.excess(params).items()
            if excess > 0
        )


def _recurrent(params: GRUParams) -> list[tuple[int, int]]:
    """List each direction of each GRU layer: features that it reads, and those of its gates."""
    n_directions = 1 + params.bidirectional
    inputs = [params.embedding] + [params.units * n_directions] * (params.layers - 1)
    return [(features, 3 * params.units) for features in inputs for _ in range(n_directions)]


def _kernels(params: GRUParams) -> int:
    return sum((features + params.units) * width for features, width in _recurrent(params))


def _biases(params: GRUParams) -> int:
    """Count the biases of a gate's feature: cuDNN's GRU has one for each of two products."""
    return 2 if params.reset_after else 1


def _attention(params: GRUParams) -> int:
    """Count the weights of attention over words, without biases."""
    if params.pooling != "attention":
        return 0
    return (_outputs(params) + 1) * params.units


def _outputs(params: GRUParams) -> int:
    """Count the features of a word's outputs."""
    return params.units * (1 + params.bidirectional)


def _pooled(params: GRUParams) -> int:
    """Count the features of a text's vector."""
    return _outputs(params) * (2 if params.pooling == "mean_max" else 1)
