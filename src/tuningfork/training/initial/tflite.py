"""ImageNet weights for timm's `mobilenetv2_100`, out of an int8 TensorFlow Lite file.

    model = timm.create_model("mobilenetv2_100", pad_type="same", num_classes=37)
    load_mobilenet_v2(model, "tf2_mobilenet_v2_1.0_224_ptq.tflite")
    unfold_batch_norm(model, batches)  # a few hundred training images, scaled with MEAN and STD

`pad_type="same"` matters: TensorFlow pads right and below at stride 2, timm's default on all sides.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from os import PathLike

import numpy as np
import torch
from flatbuffers import encode
from flatbuffers import number_types as fb
from flatbuffers.table import Table
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["MAX_BYTES", "MEAN", "STD", "fold_into", "load_mobilenet_v2", "read_tflite", "unfold_batch_norm"]

#: The network wants (x - MEAN) / STD of RGB x in [0, 1], that is [-1, 1]. (The file's own uint8 input q
#: stands for (q - 127) / 127.5, half a grey level brighter: a rounding of its zero point.)
MEAN = (0.5, 0.5, 0.5)
STD = (0.5, 0.5, 0.5)
#: A larger file is refused before it is parsed; MobileNetV2 1.0 in int8 has 4 MB.
MAX_BYTES = 64 * 1024**2

# TensorFlow Lite's numbers for the operators of this network, each with one letter.
_LETTERS = {0: "a", 3: "c", 4: "d", 22: "r", 25: "s", 40: "m", 114: "q"}  # add, conv, depthwise conv, …
# Seven stages of n blocks (expand, depthwise, project); all but a stage's first add their input. The stem
# stands where the first block, which does not expand, would have its expansion.
_LAYOUT = "q" + "".join("cdc" + (n - 1) * "cdca" for n in (1, 2, 3, 4, 3, 3, 1)) + "cmcrsq"
_INT32, _INT8 = 2, 9


class _Node(Table):
    """A flatbuffer table whose fields are read by their number in TensorFlow Lite's schema."""

    def at(self, field: int) -> int:
        """Where the field is, from the table's own position; 0 if it is absent."""
        return self.Offset(4 + 2 * field)

    def number(self, field: int, kind: type) -> int:
        return self.Get(kind, self.Pos + self.at(field)) if self.at(field) else 0

    def length(self, field: int) -> int:
        return self.VectorLen(self.at(field)) if self.at(field) else 0

    def array(self, field: int, dtype: str) -> NDArray:
        start = self.Vector(self.at(field)) if self.at(field) else 0
        return np.frombuffer(self.Bytes, dtype, count=self.length(field), offset=start)

    def child(self, field: int, index: int | None = None) -> _Node:
        """The field's table, or table number `index` of the field's vector."""
        if not self.at(field) or (index is not None and not 0 <= index < self.length(field)):
            raise ValueError(f"a table of field {field} is missing")
        start = self.Pos + self.at(field) if index is None else self.Vector(self.at(field)) + 4 * index
        return _Node(self.Bytes, self.Indirect(start))


def _constant(model: _Node, graph: _Node, index: int, kind: int) -> NDArray[np.float32]:
    """Tensor `index`, dequantised: (integer - zero point) * scale, each per slice of the quantised axis."""
    tensor = graph.child(0, index)
    if tensor.number(1, fb.Int8Flags) != kind:
        raise ValueError(f"tensor {index} is not quantised as int8 weights with int32 biases")
    shape = tensor.array(0, "<i4").tolist()
    raw = model.child(4, tensor.number(2, fb.Uint32Flags)).array(0, "u1")
    values = raw.view("<i4" if kind == _INT32 else "i1").reshape(shape)
    quantisation = tensor.child(4)
    scale, zero = quantisation.array(2, "<f4"), quantisation.array(3, "<i8")
    axis = quantisation.number(6, fb.Int32Flags)
    if not 0 <= axis < values.ndim or len(scale) != shape[axis] or len(zero) != len(scale):
        raise ValueError(f"tensor {index} has no scale for each channel")
    if not ((scale > 0) & (scale < 1e6)).all() or zero.any():  # False for NaN too
        raise ValueError(f"tensor {index} has a scale outside (0, 1e6), or a zero point")
    along = [1] * axis + [-1] + [1] * (values.ndim - axis - 1)
    return (values * scale.astype(np.float64).reshape(along)).astype(np.float32)


def _layers(data: bytes) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    model = _Node(data, encode.Get(fb.UOffsetTFlags.packer_type, data, 0))
    graph = model.child(2, 0)
    if graph.length(3) != len(_LAYOUT):
        raise ValueError(f"{graph.length(3)} operators, not {len(_LAYOUT)}")
    layout, layers = "", []
    for operator in (graph.child(3, i) for i in range(len(_LAYOUT))):
        code = model.child(1, operator.number(0, fb.Uint32Flags))
        # Small numbers stand in the old int8 field, and since schema 3a also in the int32 one.
        letter = _LETTERS.get(max(code.number(0, fb.Int8Flags), code.number(3, fb.Int32Flags)), "?")
        layout += letter
        if letter not in "cd":
            continue
        inputs = operator.array(1, "<i4").tolist()
        if len(inputs) != 3:
            raise ValueError("a convolution has no bias")
        weight = _constant(model, graph, inputs[1], _INT8)
        bias = _constant(model, graph, inputs[2], _INT32)
        if weight.ndim != 4:
            raise ValueError(f"a convolution's weight has the shape {weight.shape}")
        # (out, h, w, in) and, depthwise, (1, h, w, channels): both become PyTorch's (out, in / groups, h, w).
        weight = np.ascontiguousarray(weight.transpose((0, 3, 1, 2) if letter == "c" else (3, 0, 1, 2)))
        if bias.shape != weight.shape[:1]:
            raise ValueError(f"weight {weight.shape} and bias {bias.shape} do not fit")
        layers.append((weight, bias))
    if layout != _LAYOUT:
        raise ValueError("the operators come in another order")
    if layers[-1][0].shape != (1001, 1280, 1, 1):
        raise ValueError(f"a classifier of the shape {layers[-1][0].shape}")
    return layers


def read_tflite(path: str | PathLike[str]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """The 53 layers of an int8 MobileNetV2 with batch norm folded in, as (weight, bias), in network order.

    52 convolutions with weight (out, in / groups, h, w) and bias (out,), then the classifier: 1001 classes,
    number 0 is "background". ValueError: not such a file, its tables damaged, or over `MAX_BYTES`.
    """
    with open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path}: larger than {MAX_BYTES // 1024**2} MiB, so no MobileNetV2")
    if data[4:8] != b"TFL3":
        raise ValueError(f"{path}: not a TensorFlow Lite file")
    try:
        return _layers(data)
    # flatbuffers does not verify what it reads: a false offset ends in any of these.
    except (ValueError, TypeError, IndexError, OverflowError, MemoryError, struct.error) as error:
        raise ValueError(f"{path}: damaged, or not an int8 MobileNetV2 ({error})") from error


@torch.no_grad()
def load_mobilenet_v2(model: nn.Module, path: str | PathLike[str]) -> None:
    """Puts the file's weights into a timm `mobilenetv2_100` with 3 input channels, in place.

    Batch norm becomes "add the bias" in eval mode, which is the folded network; for training call
    `unfold_batch_norm` next. A classifier of 1000 (no background) or 1001 classes is filled too, any other
    is left alone. ValueError: a bad file, or another network; the model is then unchanged.
    """
    *layers, (top_weight, top_bias) = read_tflite(path)
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    if not [tuple(c.weight.shape) for c in convs] == [w.shape for w, _ in layers] or len(norms) != len(convs):
        raise ValueError(f"{path}: its convolutions are not those of the model; is that mobilenetv2_100?")
    for conv, norm, (weight, bias) in zip(convs, norms, layers, strict=True):
        conv.weight.copy_(torch.from_numpy(weight))
        fold_into(norm, torch.from_numpy(bias))
    top = getattr(model, "classifier", None)
    if isinstance(top, nn.Linear) and top.out_features in (1000, 1001):
        first = len(top_bias) - top.out_features
        top.weight.copy_(torch.from_numpy(top_weight[first:, :, 0, 0]))
        top.bias.copy_(torch.from_numpy(top_bias[first:]))


@torch.no_grad()
def fold_into(norm: nn.BatchNorm2d, bias: Tensor) -> None:
    """Makes a norm "add `bias` (channels,)" in eval mode, as one that is folded into its convolution does; in place."""
    norm.reset_parameters()
    norm.running_var.fill_(1 - norm.eps)
    norm.bias.copy_(bias)


@torch.no_grad()
def unfold_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Gives every BatchNorm2d the statistics of its input over `batches`; in place, the function stays.

    `batches`: images (B, 3, H, W) as the network wants them, all of one kind with the later training.
    With mean m and variance v of a channel over all images and pixels, and the norm being a*x + b:
    running_mean = m, running_var = v, weight = a * sqrt(v + eps), bias = b + a * m. Eval mode gives what it
    gave, and train mode nearly that. A dead channel (v = 0) needs no floor, since eps stands under both
    roots and cancels. ValueError: no images, or values that are not finite; the model is then unchanged.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    sums = {norm: torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in norms}

    def record(norm: nn.Module, args: tuple[Tensor]) -> None:
        x = args[0].float()
        var, mean = (t.cpu().double() for t in torch.var_mean(x, (0, 2, 3), correction=0))
        pixels = x.numel() // x.shape[1]
        sums[norm] += pixels * torch.stack([torch.ones_like(mean), mean, var + mean**2])

    modes = [(m, m.training) for m in model.modules()]
    hooks = [norm.register_forward_pre_hook(record) for norm in norms]
    device = next(model.parameters()).device
    try:
        model.eval()
        for batch in batches:
            model(batch.to(device))
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
    if not all(s[0].all() and s.isfinite().all() for s in sums.values()):
        raise ValueError("batch norm cannot be estimated: no images, or values that are not finite")
    for norm, (pixels, mean, square) in sums.items():
        mean, var = mean / pixels, (square / pixels - (mean / pixels) ** 2).clamp(min=0)
        a = norm.weight.cpu().double() / (norm.running_var.cpu().double() + norm.eps).sqrt()
        norm.bias.copy_(norm.bias.cpu() + a * (mean - norm.running_mean.cpu()))
        norm.weight.copy_(a * (var + norm.eps).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)
