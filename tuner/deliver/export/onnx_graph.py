"""Puts an ONNX graph together, node by node."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Of ONNX's operators: old enough for the runtimes that are in use, new enough for what we need.
OPSET = 17
#: Of the file's structure, the one that came with that.
IR_VERSION = 8


class Graph:
    """A graph that grows.

    Tensors go by their names; an operator's inputs are those of earlier nodes.
    """

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Append a node.

        Args:
            operator: Of ONNX, such as ``MatMul``.
            *inputs: Names of tensors; an empty one for an optional input that is left out.
            output: Name of its first output; empty to have one made up.
            **attributes: Of the operator.

        Returns:
            Name of its first output.
        """
        name = output or f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def integers(self, *values: int) -> str:
        """Give integers as a tensor: int64, (n,)."""
        name = f"integers_{'_'.join(map(str, values))}"
        return self.constant(name, np.array(values, np.int64))

    def number(self, value: int) -> str:
        """Give an integer as a tensor: int64, ()."""
        return self.constant(f"integer_{value}", np.array(value, np.int64))

    def real(self, value: float) -> str:
        """Give a real number as a tensor: float32, ()."""
        return self.constant(f"real_{value:g}", np.array(value, np.float32))

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """Give an array a name.

        Args:
            name: Any; the same array may come again under the same name.
            value: The array.

        Returns:
            The name.
        """
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def finish(
        self,
        *,
        given: tuple[str, tuple[int | str, ...]],
        result: tuple[str, tuple[int | str, ...]],
        name: str,
    ) -> onnx.ModelProto:
        """Make a model of it.

        Args:
            given: Name and shape of its int32 input.
            result: Name and shape of its float32 output.
            name: Of the graph.

        Returns:
            A model that ONNX's own checker found to be well formed.
        """
        model = helper.make_model(
            helper.make_graph(
                self._nodes,
                name,
                [helper.make_tensor_value_info(given[0], TensorProto.INT32, given[1])],
                [helper.make_tensor_value_info(result[0], TensorProto.FLOAT, result[1])],
                initializer=list(self._constants.values()),
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="tuner",
        )
        onnx.checker.check_model(model, full_check=True)
        return model
