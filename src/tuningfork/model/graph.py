"""ONNX graphs: built operator by operator, with whole networks put in under names of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray
from onnx import helper, numpy_helper

from .._utils.text import one_line
from .onnx_check import NetworkError

__all__ = ["GraphBuilder"]


class GraphBuilder:
    """An ONNX graph in the making. Values are known by their names.

    Parameters
    ----------
    opset : int
        Version of the standard operators. Networks that are put in are brought to it.
    """

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def add(self, operator: str, *inputs: str | NDArray[Any], **attributes: Any) -> str:
        """Add an operator of one output, whose name is returned. Arrays among the inputs become constants."""
        name = self._new(operator.lower())
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        self._nodes.append(helper.make_node(operator, names, [name], name=name, **attributes))
        return name

    def constant(self, values: NDArray[Any]) -> str:
        """Add a constant."""
        name = self._new("constant")
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def cast(self, value: str, dtype: DTypeLike) -> str:
        """Convert to another type of numbers."""
        return self.add("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def part(self, value: str, axis: int, start: int, stop: int, step: int = 1) -> str:
        """Slice one axis, as Python does but for a negative `stop`, which is none."""
        ends = (np.array([each], np.int64) for each in (start, stop if stop >= 0 else -(2**31), axis, step))
        return self.add("Slice", value, *ends)

    def input(self, name: str, dtype: DTypeLike, shape: Sequence[int | str]) -> str:
        """Declare an input; texts stand for sides of any length."""
        self._inputs.append(helper.make_tensor_value_info(name, _kind(dtype), shape))
        return name

    def output(self, name: str, value: str, dtype: DTypeLike, shape: Sequence[int | str]) -> None:
        """Declare a value as an output under a name of its own."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name=name))
        self._outputs.append(helper.make_tensor_value_info(name, _kind(dtype), shape))

    def network(self, data: bytes, prefix: str, inputs: Mapping[str, str]) -> dict[str, str]:
        """Put in a whole network; every name of its own gets the prefix.

        Parameters
        ----------
        data : ONNX bytes
        inputs : name of each input → the value that it gets

        Returns
        -------
        Name of each output → its value.

        Raises
        ------
        NetworkError
            If it needs operators that this opset does not have.
        """
        model = _at_opset(onnx.load_from_string(data), self.opset)
        graph, known = model.graph, {"": "", **inputs}

        def renamed(name: str) -> str:
            return known.get(name) or known.setdefault(name, f"{prefix}/{name}" if name else "")

        for tensor in graph.initializer:
            tensor.name = renamed(tensor.name)
            self._constants.append(tensor)
        for number, node in enumerate(graph.node):
            node.name = f"{prefix}/{node.name or f'{node.op_type}_{number}'}"
            node.input[:] = [renamed(name) for name in node.input]
            node.output[:] = [renamed(name) for name in node.output]
            self._nodes.append(node)
        return {output.name: renamed(output.name) for output in graph.output}

    def finish(self, name: str, metadata: Mapping[str, str]) -> bytes:
        """Return the file's bytes, checked.

        Raises
        ------
        NetworkError
            If the graph is not valid in this opset.
        """
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8, producer_name="tuningfork"
        )
        helper.set_model_props(model, dict(metadata))
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise NetworkError(f"no valid graph of opset {self.opset}: {one_line(error, 300)}") from None
        return model.SerializeToString()

    def _new(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"


def _kind(dtype: DTypeLike) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _at_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The same network in another opset.

    Older ones are converted. Of newer ones only operators are taken whose definition `opset` has, too: an attribute
    that came later may stand there with the value that is meant without it.
    """
    (version,) = (each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    if version < opset:
        try:
            return onnx.version_converter.convert_version(model, opset)
        except Exception as error:  # the converter raises several kinds
            raise NetworkError(f"cannot be brought to opset {opset}: {one_line(error, 300)}") from None
    for node in model.graph.node:
        try:
            schema = onnx.defs.get_schema(node.op_type, opset)
        except onnx.defs.SchemaError:
            raise NetworkError(f"operator {node.op_type} is not in opset {opset}") from None
        for attribute in [each for each in node.attribute if each.name not in schema.attributes]:
            newer = onnx.defs.get_schema(node.op_type, version).attributes[attribute.name].default_value
            if helper.get_attribute_value(attribute) != helper.get_attribute_value(newer):
                raise NetworkError(f"{node.op_type} with {attribute.name} is not in opset {opset}")
            node.attribute.remove(attribute)
    return model
