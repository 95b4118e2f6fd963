"""ONNX networks in PyTorch: operator by operator, so that any bundle runs where PyTorch knows the device.

Definitions: https://onnx.ai/onnx/operators. Only what exported image networks consist of is known; anything else is
refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper

from .onnx_check import NetworkError

__all__ = ["OPERATORS", "TorchNetwork"]

Tensor = Any
#: Of a node: inputs (None where one is left out; constants that are whole numbers as lists) and attributes → outputs.
Operation = Callable[[Sequence[Any], dict[str, Any]], Any]


class TorchNetwork(torch.nn.Module):
    """An ONNX network as a module: images (N, 3, size, size) → its outputs by name.

    Raises
    ------
    NetworkError
        If it has an operator, or a use of one, that is not known here.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__()
        graph = onnx.load_from_string(data).graph
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.inputs = tuple(each.name for each in graph.input if each.name not in constants)
        self.outputs = {
            each.name: tuple(side.dim_value if side.HasField("dim_value") else None for side in _sides(each))
            for each in graph.output
        }
        self._steps: list[tuple[Operation, list[str], list[str], dict[str, Any]]] = []
        self._lists: dict[str, Any] = {"": None}
        self._buffers_of: dict[str, str] = {}
        for node in graph.node:
            attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            if not _fold_constant(node, attributes, constants):
                if node.op_type not in OPERATORS:
                    raise NetworkError(f"operator {node.op_type} is not known to the PyTorch runtime")
                self._steps.append((OPERATORS[node.op_type], list(node.input), list(node.output), attributes))
        for name, values in constants.items():
            if values.dtype.kind == "f":
                self._buffers_of[name] = f"constant_{len(self._buffers_of)}"
                self.register_buffer(self._buffers_of[name], torch.from_numpy(np.array(values, np.float32)))
            else:
                self._lists[name] = values.tolist()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Run it."""
        values: dict[str, Any] = {**self._lists, self.inputs[0]: images}
        values.update((name, getattr(self, buffer)) for name, buffer in self._buffers_of.items())
        for operation, inputs, outputs, attributes in self._steps:
            result = operation([values[name] for name in inputs], attributes)
            values.update(zip(outputs, result if len(outputs) > 1 else (result,), strict=False))
        return {name: values[name] for name in self.outputs}


def _sides(value: onnx.ValueInfoProto) -> Any:
    return value.type.tensor_type.shape.dim


def _fold_constant(node: onnx.NodeProto, attributes: dict[str, Any], constants: dict[str, Any]) -> bool:
    """Whether it only makes one constant of another, which is then done here, once."""
    if node.op_type == "Constant":
        ((kind, value),) = attributes.items()
        constants[node.output[0]] = numpy_helper.to_array(value) if kind == "value" else np.array(value)
        return True
    if not node.input or node.input[0] not in constants or node.op_type not in ("Cast", "Identity"):
        return False
    value = constants[node.input[0]]
    if node.op_type == "Cast":
        value = value.astype(helper.tensor_dtype_to_np_dtype(attributes["to"]))
    constants[node.output[0]] = value
    return True


def _pads(attributes: dict[str, Any], dimensions: int) -> tuple[list[int], list[int] | None]:
    """Symmetric padding for PyTorch, and what `pad` has to add before where it is not symmetric."""
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise NetworkError(f"padding {attributes['auto_pad'].decode()} is not known to the PyTorch runtime")
    pads = list(attributes.get("pads", [0] * 2 * dimensions))
    before, after = pads[:dimensions], pads[dimensions:]
    if before == after:
        return before, None
    return [0] * dimensions, [each for pair in zip(reversed(before), reversed(after), strict=True) for each in pair]


def _conv(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    images, weight, bias = (*inputs, None)[:3]
    ranks = weight.dim() - 2
    padding, beside = _pads(attributes, ranks)
    if beside:
        images = F.pad(images, beside)
    convolution = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[ranks]
    ones = [1] * ranks
    strides, dilations = attributes.get("strides", ones), attributes.get("dilations", ones)
    return convolution(images, weight, bias, strides, padding, dilations, attributes.get("group", 1))


def _pool(inputs: Sequence[Any], attributes: dict[str, Any], pool: Callable[..., Tensor], **options: Any) -> Tensor:
    padding, beside = _pads(attributes, 2)
    if beside:
        raise NetworkError("pooling with unequal padding is not known to the PyTorch runtime")
    strides = attributes.get("strides", [1, 1])
    ceil = bool(attributes.get("ceil_mode", 0))
    return pool(inputs[0], attributes["kernel_shape"], strides, padding, ceil_mode=ceil, **options)


def _max_pool(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    return _pool(inputs, attributes, F.max_pool2d, dilation=attributes.get("dilations", 1))


def _average_pool(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    return _pool(inputs, attributes, F.avg_pool2d, count_include_pad=bool(attributes.get("count_include_pad", 0)))


def _gemm(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    left, right, bias = (*inputs, None)[:3]
    left = left.T if attributes.get("transA", 0) else left
    right = right.T if attributes.get("transB", 0) else right
    product = attributes.get("alpha", 1.0) * (left @ right)
    return product if bias is None else product + attributes.get("beta", 1.0) * bias


def _clip(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    values, low, high = (*inputs, None, None)[:3]
    low, high = attributes.get("min", low), attributes.get("max", high)
    return torch.clamp(values, *(each.to(values.dtype) if torch.is_tensor(each) else each for each in (low, high)))


def _axes(inputs: Sequence[Any], attributes: dict[str, Any]) -> list[int] | None:
    axes = inputs[1] if len(inputs) > 1 else attributes.get("axes")
    return None if axes is None else list(axes)


def _reduced(reduce: Callable[..., Tensor]) -> Operation:
    def operation(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
        axes = _axes(inputs, attributes)
        axes = list(range(inputs[0].dim())) if axes is None else axes
        return reduce(inputs[0], axes, keepdim=bool(attributes.get("keepdims", 1)))

    return operation


def _reshape(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    values, shape = inputs[0], list(inputs[1])
    if not attributes.get("allowzero", 0):
        shape = [values.shape[place] if side == 0 else side for place, side in enumerate(shape)]
    if -1 in shape and values.numel() == 0:
        # What is left is the batch, of which there is none.
        shape[shape.index(-1)] = 0
    return values.reshape(shape)


def _flatten(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    values, axis = inputs[0], attributes.get("axis", 1)
    rows = int(np.prod(values.shape[:axis]))
    return values.reshape(rows, int(np.prod(values.shape[axis:])))


def _squeeze(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    axes = _axes(inputs, attributes)
    return inputs[0].squeeze() if axes is None else inputs[0].squeeze(tuple(axes))


def _unsqueeze(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    values = inputs[0]
    axes = _axes(inputs, attributes) or []
    for axis in sorted(each % (values.dim() + len(axes)) for each in axes):
        values = values.unsqueeze(axis)
    return values


def _layer_norm(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    values, scale, bias = (*inputs, None)[:3]
    axis = attributes.get("axis", -1) % values.dim()
    return F.layer_norm(values, values.shape[axis:], scale, bias, attributes.get("epsilon", 1e-5))


def _batch_norm(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    values, scale, bias, mean, variance = inputs
    return F.batch_norm(values, mean, variance, scale, bias, eps=attributes.get("epsilon", 1e-5))


def _cast(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    # Floats stay in the arithmetic that was chosen.
    kind = helper.tensor_dtype_to_np_dtype(attributes["to"]).kind
    if kind == "f" and inputs[0].is_floating_point():
        return inputs[0]
    raise NetworkError("a Cast between kinds of numbers is not known to the PyTorch runtime")


def _slice(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    values, starts, ends, axes, steps = (*inputs, None, None)[:5]
    axes = range(len(starts)) if axes is None else axes
    for axis, start, end, step in zip(axes, starts, ends, steps or [1] * len(starts), strict=True):
        side = values.shape[axis]
        if step < 0:
            raise NetworkError("a Slice with a negative step is not known to the PyTorch runtime")
        places = range(*slice(start, end, step).indices(side))
        values = (
            values.narrow(axis, places.start, max(places.stop - places.start, 0))
            if step == 1
            else (values.index_select(axis, torch.tensor(list(places), device=values.device)))
        )
    return values


def _split(inputs: Sequence[Any], attributes: dict[str, Any]) -> Any:
    axis, sizes = attributes.get("axis", 0), inputs[1] if len(inputs) > 1 else None
    if sizes is None:
        sizes = -(-inputs[0].shape[axis] // attributes["num_outputs"])
    return torch.split(inputs[0], sizes, axis)


def _gather(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    values, places = inputs
    axis = attributes.get("axis", 0)
    if isinstance(places, int):
        return values.select(axis, places)
    if any(isinstance(each, list) for each in places):
        raise NetworkError("a Gather by a matrix is not known to the PyTorch runtime")
    side = values.shape[axis]
    return values.index_select(axis, torch.tensor([each % side for each in places], device=values.device))


def _hard_sigmoid(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    return torch.clamp(attributes.get("alpha", 0.2) * inputs[0] + attributes.get("beta", 0.5), 0, 1)


def _pad(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    values, pads = inputs[0], list(inputs[1])
    mode = attributes.get("mode", b"constant").decode()
    if mode not in ("constant", "reflect"):
        raise NetworkError(f"Pad with {mode} is not known to the PyTorch runtime")
    if len(inputs) > 3 and inputs[3] is not None:
        raise NetworkError("Pad of chosen axes is not known to the PyTorch runtime")
    half = len(pads) // 2
    sides = [each for place in reversed(range(half)) for each in (pads[place], pads[half + place])]
    if mode == "reflect":
        if any(sides[4:]):
            raise NetworkError("Pad with reflect of more than two axes is not known to the PyTorch runtime")
        return F.pad(values, sides[:4], mode)
    value = inputs[2] if len(inputs) > 2 and inputs[2] is not None else 0.0
    return F.pad(values, sides, value=float(value))


def _simple(function: Callable[..., Tensor]) -> Operation:
    return lambda inputs, attributes: function(*inputs)


#: What is known: the operators of timm's image networks as they are exported.
OPERATORS: dict[str, Operation] = {
    "Add": _simple(torch.add),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda inputs, attributes: torch.cat(list(inputs), attributes["axis"]),
    "Conv": _conv,
    "Div": _simple(torch.div),
    "Dropout": lambda inputs, attributes: inputs[0],
    "Erf": _simple(torch.erf),
    "Exp": _simple(torch.exp),
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": lambda inputs, attributes: F.gelu(inputs[0], approximate=attributes.get("approximate", b"none").decode()),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda inputs, attributes: inputs[0].mean(tuple(range(2, inputs[0].dim())), keepdim=True),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _simple(F.hardswish),
    "Identity": _simple(lambda values: values),
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda inputs, attributes: F.leaky_relu(inputs[0], attributes.get("alpha", 0.01)),
    "MatMul": _simple(torch.matmul),
    "MaxPool": _max_pool,
    "Mul": _simple(torch.mul),
    "Neg": _simple(torch.neg),
    "Pad": _pad,
    "Pow": _simple(torch.pow),
    "Reciprocal": _simple(torch.reciprocal),
    "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean),
    "ReduceMin": _reduced(torch.amin),
    "ReduceSum": _reduced(torch.sum),
    "Relu": _simple(F.relu),
    "Reshape": _reshape,
    "Sigmoid": _simple(torch.sigmoid),
    "Slice": _slice,
    "Softmax": lambda inputs, attributes: torch.softmax(inputs[0], attributes.get("axis", -1)),
    "Split": _split,
    "Sqrt": _simple(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _simple(torch.sub),
    "Tanh": _simple(torch.tanh),
    "Transpose": lambda inputs, attributes: inputs[0].permute(attributes["perm"]),
    "Unsqueeze": _unsqueeze,
}
