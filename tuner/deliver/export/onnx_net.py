"""The network of `tuner.model` in ONNX's operators.

A general converter makes a loop of the recurrence, a dozen operators a word. ONNX has a GRU of its
own, that reads each row as far as it goes and, backward, from the row's own end, as our nets do:
nothing has to be reversed, and runtimes have a quick kernel for it.
"""

import numpy as np
import numpy.typing as npt

from tuner.data.text import PADDING_ID, UNKNOWN_ID
from tuner.deliver.artifact import Classifier
from tuner.deliver.export.onnx_graph import Graph
from tuner.errors import InputError
from tuner.model import piece_length
from tuner.model.pieces import LOWEST

Weights = npt.NDArray[np.float32]

#: What `onnx.TensorProto` calls these types.
_FLOAT, _INT32, _INT64 = 1, 6, 7


class OnnxNet:
    """One of an artifact's models, ready to be written into a graph.

    Args:
        classifier: The model, in float32.
        name: What sets its weights apart from those of others.

    Raises:
        InputError: It has layers that are not written here.
    """

    def __init__(self, classifier: Classifier, name: str) -> None:
        self._params = params = classifier.member.params
        self._name = name
        self._directions = ("forward", "backward")[: 1 + params.bidirectional]
        self._weights: dict[str, list[Weights]] = {
            layer.name: layer.get_weights() for layer in classifier.net.layers if layer.weights
        }
        known = {"embedding", "probabilities"}
        known |= {f"gru_{n + 1}_{way}" for n in range(params.layers) for way in self._directions}
        if params.pooling == "attention":
            known |= {"attention", "attention_scores"}
        if strange := self._weights.keys() ^ known:
            raise InputError(
                f"{classifier.member.file} is not the net that its hyperparameters describe: "
                f"expected the layers {', '.join(sorted(known))}; these differ: "
                f"{', '.join(sorted(strange))}. Export to saved_model."
            )

    def write(self, graph: Graph, ids: str) -> str:
        """Add the net's nodes.

        Args:
            graph: To be added to.
            ids: Its input: ids padded on the right with 0, int64, (batch, time).

        Returns:
            The probabilities: float32, (batch, n_classes).
        """
        words = self._cut(graph, ids)
        rows, length = words, piece_length(self._params)
        if length:
            words = self._full_pieces(graph, words, length)
            rows = graph.add("Reshape", words, graph.integers(-1, length))
        outputs = self._read(graph, rows)  # (pieces, length, directions, units)
        if length:  # a text's pieces lie side by side
            sizes = graph.integers(len(self._directions), self._params.units)
            shape = graph.add("Concat", graph.add("Shape", words), sizes, axis=0)
            outputs = graph.add("Reshape", outputs, shape)  # (batch, time, directions, units)
        pool = self._attend if self._params.pooling == "attention" else self._pool
        logits = self._dense(graph, pool(graph, outputs, words), "probabilities")
        return graph.add("Softmax", logits, axis=-1)

    def _cut(self, graph: Graph, ids: str) -> str:
        """Keep at most so many words of a text, and at least one: (batch, time)."""
        zero, most = graph.number(0), graph.number(self._params.max_length)
        # Room for an unknown word where no text has any.
        ids = graph.add("Pad", ids, graph.integers(0, 0, 0, 1))
        size = graph.add("Gather", graph.add("Shape", ids), graph.number(1), axis=0)
        positions = graph.add("Range", zero, graph.add("Min", size, most), graph.number(1))
        if self._params.truncate == "end":
            begin, end = graph.integers(0), graph.integers(self._params.max_length)
            kept = graph.add("Slice", ids, begin, end, graph.integers(1))
        else:
            surplus = graph.add("Sub", _lengths(graph, ids), most)
            starts = graph.add("Max", surplus, zero)  # (batch, 1)
            places = graph.add("Add", starts, positions)  # (batch, time)
            kept = graph.add("GatherElements", ids, places, axis=1)
        is_first = graph.add("Equal", positions, zero)
        is_empty = graph.add("And", graph.add("Equal", kept, graph.number(PADDING_ID)), is_first)
        return graph.add("Where", is_empty, graph.number(UNKNOWN_ID), kept)

    def _full_pieces(self, graph: Graph, words: str, length: int) -> str:
        """Pad to a multiple of the length, by as little as possible."""
        size = graph.add("Gather", graph.add("Shape", words), graph.integers(1), axis=0)
        missing = graph.add("Mod", graph.add("Neg", size), graph.integers(length))
        pads = graph.add("Concat", graph.integers(0, 0, 0), missing, axis=0)
        return graph.add("Pad", words, pads)

    def _read(self, graph: Graph, rows: str) -> str:
        """Run the GRU layers: (rows, time) to (rows, time, directions, units)."""
        n_directions, units = len(self._directions), self._params.units
        # A piece behind its text's end reads a word of padding, at which nobody looks.
        lengths = graph.add("Max", _lengths(graph, rows), graph.number(1))
        lengths = graph.add("Squeeze", lengths, graph.integers(1))
        lengths = graph.add("Cast", lengths, to=_INT32)
        (table,) = self._weights["embedding"]
        vectors = graph.add("Gather", self._constant(graph, "embedding", table), rows)
        hidden = graph.add("Transpose", vectors, perm=(1, 0, 2))  # (time, rows, embedding)
        states = ""
        for number in range(1, self._params.layers + 1):
            if number > 1:
                by_row = graph.add("Transpose", states, perm=(0, 2, 1, 3))
                features = graph.integers(0, 0, n_directions * units)
                hidden = graph.add("Reshape", by_row, features)  # (time, rows, features)
            states = graph.add(  # (time, directions, rows, units)
                "GRU",
                hidden,
                *self._gru_weights(graph, number),
                lengths,
                hidden_size=units,
                direction="bidirectional" if self._params.bidirectional else "forward",
                linear_before_reset=int(self._params.reset_after),
            )
        return graph.add("Transpose", states, perm=(2, 0, 1, 3))

    def _gru_weights(self, graph: Graph, number: int) -> list[str]:
        """Give kernels and biases of a layer, of all directions, gates in Keras's own order."""
        kernels, recurrent, biases = [], [], []
        for direction in self._directions:
            kernel, own, bias = self._weights[f"gru_{number}_{direction}"]
            kernels.append(kernel.T)  # (3 * units, features)
            recurrent.append(own.T)
            # Two biases, of which Keras has only the first where the reset gate comes before.
            biases.append(bias.ravel() if bias.ndim == 2 else np.append(bias, np.zeros_like(bias)))
        return [
            self._constant(graph, f"gru_{number}_{name}", np.stack(values))
            for name, values in (("kernel", kernels), ("own", recurrent), ("bias", biases))
        ]

    def _pool(self, graph: Graph, outputs: str, words: str) -> str:
        """Pool each direction by itself: (batch, time, directions, units) to (batch, features)."""
        pooling = self._params.pooling
        lengths = _lengths(graph, words)  # (batch, 1)
        real = graph.add("Unsqueeze", _real(graph, words), graph.integers(2, 3))
        parts = []  # each (batch, directions, units)
        if pooling == "last":
            ends = graph.add("Sub", lengths, graph.number(1))
            last = graph.add("GatherND", outputs, ends, batch_dims=1)
            parts.append(last)
            if self._params.bidirectional:  # which has read all at the first word
                first = graph.add("Gather", outputs, graph.number(0), axis=1)
                halves = [
                    graph.add("Gather", states, graph.integers(number), axis=1)
                    for number, states in enumerate((last, first))
                ]
                parts = [graph.add("Concat", *halves, axis=1)]
        if pooling in ("mean", "mean_max"):
            kept = graph.add("Where", real, outputs, graph.real(0.0))
            total = graph.add("ReduceSum", kept, graph.integers(1), keepdims=0)
            counts = graph.add("Cast", lengths, to=_FLOAT)
            counts = graph.add("Unsqueeze", counts, graph.integers(2))
            parts.append(graph.add("Div", total, counts))
        if pooling in ("max", "mean_max"):
            # A GRU's outputs lie between -1 and 1, so that padding at -2 is never the largest.
            kept = graph.add("Where", real, outputs, graph.real(-2.0))
            parts.append(graph.add("ReduceMax", kept, axes=[1], keepdims=0))
        features = graph.add("Concat", *parts, axis=2)
        return graph.add("Reshape", features, graph.integers(0, -1))

    def _attend(self, graph: Graph, outputs: str, words: str) -> str:
        """Sum the outputs, weighted by what a small net thinks of each: (batch, features)."""
        n_features = len(self._directions) * self._params.units
        features = graph.add("Reshape", outputs, graph.integers(0, 0, n_features))
        hidden = graph.add("Tanh", self._dense(graph, features, "attention"))
        scores = self._dense(graph, hidden, "attention_scores")  # (batch, time, 1)
        real = graph.add("Unsqueeze", _real(graph, words), graph.integers(2))
        scores = graph.add("Where", real, scores, graph.real(LOWEST))
        weighted = graph.add("Mul", graph.add("Softmax", scores, axis=1), features)
        return graph.add("ReduceSum", weighted, graph.integers(1), keepdims=0)

    def _dense(self, graph: Graph, inputs: str, layer: str) -> str:
        kernel, *bias = self._weights[layer]
        result = graph.add("MatMul", inputs, self._constant(graph, f"{layer}_kernel", kernel))
        for one in bias:
            result = graph.add("Add", result, self._constant(graph, f"{layer}_bias", one))
        return result

    def _constant(self, graph: Graph, name: str, value: Weights) -> str:
        return graph.constant(f"{self._name}/{name}", value)


def as_int64(graph: Graph, ids: str) -> str:
    """Give ids of another type as ONNX counts and indexes: int64."""
    return graph.add("Cast", ids, to=_INT64)


def _real(graph: Graph, words: str) -> str:
    """Say where a word is: bool, of the same shape."""
    return graph.add("Not", graph.add("Equal", words, graph.number(PADDING_ID)))


def _lengths(graph: Graph, words: str) -> str:
    """Count the words of a row: int64, (rows, 1)."""
    real = graph.add("Cast", _real(graph, words), to=_INT64)
    return graph.add("ReduceSum", real, graph.integers(1), keepdims=1)
