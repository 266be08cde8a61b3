"""Use a net again for other hyperparameters, when nothing but numbers in its graph change."""

from collections.abc import Hashable

import keras
import numpy as np

from tuner.model.dropout import AdjustableDropout
from tuner.model.pieces import piece_length
from tuner.params import GRUParams

#: Hyperparameters that are not about the net.
ELSEWHERE = frozenset(
    {
        "learning_rate",
        "schedule",
        "warmup",
        "batch_size",
        "weight_decay",
        "clip_norm",
        "label_smoothing",
        "ema_decay",
        "adversarial",
        "max_length",
        "truncate",
        "class_weights",
    }
)
#: Rates of which the graph knows only whether they are 0.
RATES = ("word_dropout", "embedding_dropout", "layer_dropout", "dropout")

INITIALIZERS = {
    "embeddings": keras.initializers.RandomUniform,
    "kernel": keras.initializers.GlorotUniform,
    "recurrent_kernel": keras.initializers.Orthogonal,
}


def structure_of(params: GRUParams) -> Hashable:
    """Sum up what decides a net's graph.

    Returns:
        Equal for hyperparameters between which `set_rates` can change a net.
    """
    graph = params.model_dump(exclude={*ELSEWHERE, *RATES})
    graph["chunk_length"] = piece_length(params)
    dropped = {rate for rate in RATES if getattr(params, rate)}
    if params.layers == 1:
        dropped.discard("layer_dropout")
    return tuple(sorted(graph.items())), frozenset(dropped)


def set_rates(model: keras.Model, params: GRUParams) -> None:
    """Change the shares that a net drops; functions that were traced with it follow.

    Args:
        model: From ``build_model(..., adjustable=True)``, of the same structure.
        params: Where the rates are taken from.
    """
    for layer in model.layers:
        if isinstance(layer, AdjustableDropout):
            between_layers = layer.name.startswith("layer_dropout")
            layer.adjust(getattr(params, "layer_dropout" if between_layers else layer.name))


def variables_of(model: keras.Model) -> list[keras.Variable]:
    """List a net's weights and random states, in an order that depends on its structure alone.

    Keras's own order follows the graph, which is another one for an adjustable net.
    """
    layers = sorted((layer for layer in model.layers if layer.variables), key=lambda x: x.name)
    return [variable for layer in layers for variable in layer.variables]


def reinitialise(model: keras.Model, *, seed: int) -> None:
    """Give a net the weights and the random states of one that was built with this seed.

    Args:
        model: From `build_model`; optimizers and metrics are left alone.
        seed: Fixes the weights and every dropout mask to come.
    """
    variables = variables_of(model)
    # An independent seed below 2**31 for each variable, used or not.
    for variable, child in zip(
        variables, np.random.SeedSequence(seed).spawn(len(variables)), strict=True
    ):
        number = int(child.generate_state(1)[0] >> 1)
        if variable.name in INITIALIZERS:
            initializer = INITIALIZERS[variable.name](seed=number)
            variable.assign(initializer(variable.shape, variable.dtype))
        elif variable.name == "seed_generator_state":
            variable.assign([number, 0])  # as a `keras.random.SeedGenerator` begins
        else:
            variable.assign(np.zeros(variable.shape, variable.dtype))  # a bias
