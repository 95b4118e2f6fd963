"""The float network that a bundle's ONNX came from: its tensors back under timm's names, to be trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from ...model.bundle import Bundle
from ...model.ensemble import INPUT, OUTPUT
from ..network import MorphologyNetwork
from .tflite import fold_into

__all__ = ["EXACT", "member", "recover_network"]

#: A recovered network's logits are those of the bundle's within this (of the largest, above 1), or it is not used.
EXACT = 1e-3
#: Operators whose second and third inputs are a module's weight and bias.
_WEIGHTED = ("Conv", "Gemm", "BatchNormalization", "LayerNormalization")


def member(bundle: Bundle) -> dict[str, Any]:
    """The recipe that a bundle's first network was trained by; empty if the bundle does not say."""
    recipe = bundle.training.get("recipe", {})
    return dict(recipe[0] if isinstance(recipe, list) and recipe else recipe or {})


@torch.no_grad()
def recover_network(bundle: Bundle) -> MorphologyNetwork:
    """The first network of a bundle that `train` has exported, in eval mode.

    The export folds a batch norm into the convolution before it; such a norm comes back as one that only
    adds the folded bias, which `unfold_batch_norm` makes trainable. The rest has kept its name.

    Raises
    ------
    ValueError
        If timm's network of that name does not give the bundle's logits within `EXACT`: a tensor has
        lost its name on the way, or timm has changed the network.
    """
    entry, recipe = bundle.networks[0], member(bundle)
    graph = onnx.load_from_string(entry.onnx).graph
    tensors = {tensor.name.removesuffix(".half"): tensor for tensor in graph.initializer}
    network = MorphologyNetwork(
        entry.architecture,
        bundle.tree,
        task=bundle.outputs.task,
        hidden=tensors["hidden.0.bias"].dims[0] if "hidden.0.bias" in tensors else 0,
        options=recipe.get("network_options"),
    ).eval()
    images = torch.from_numpy(_probes(entry.preprocess.size))
    values = {name: _value(tensor) for name, tensor in tensors.items()}
    # Equal tensors are stored once: where a bias is kept, its operator knows.
    biases = {
        node.input[1].removesuffix("weight"): values[node.input[2]]
        for node in graph.node
        if node.op_type in _WEIGHTED and len(node.input) > 2 and node.input[2] in values
    }
    for name, module in network.named_modules():
        for kind, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            value = values.get(f"{name}.{kind}", biases.get(f"{name}.") if kind == "bias" else None)
            if value is not None and value.shape == tensor.shape:
                tensor.copy_(value)
    for name, norm in _norms_of_convolutions(network, images).items():
        if f"{norm}.running_var" not in values and f"{name}." in biases:
            own = network.get_submodule(name).bias
            fold_into(network.get_submodule(norm), biases[f"{name}."] if own is None else torch.zeros_like(own))
    session = onnxruntime.InferenceSession(entry.onnx, providers=["CPUExecutionProvider"])
    (wanted,) = session.run([OUTPUT], {INPUT: images.numpy()})
    off = float(np.abs(network(images).numpy() - wanted).max()) / max(1.0, float(np.abs(wanted).max()))
    if not off <= EXACT:
        raise ValueError(
            f"{bundle.name}: its network {entry.architecture} cannot be recovered from the ONNX file (logits are off "
            f"by {off:.2g}); begin with a .safetensors file of weights instead"
        )
    return network


def _value(tensor: onnx.TensorProto) -> torch.Tensor:
    return torch.from_numpy(np.array(numpy_helper.to_array(tensor)))


def _norms_of_convolutions(network: nn.Module, images: torch.Tensor) -> dict[str, str]:
    """The batch norm that is given a convolution's very output: the names of both."""
    outputs: dict[int, str] = {}
    alive: list[torch.Tensor] = []  # referenced, so that no other tensor gets its number
    pairs: dict[str, str] = {}

    def after(name: str, output: torch.Tensor) -> None:
        outputs[id(output)] = name
        alive.append(output)

    def before(name: str, image: torch.Tensor) -> None:
        if id(image) in outputs:
            pairs[outputs[id(image)]] = name

    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(lambda _, args, output, name=name: after(name, output)))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(lambda _, args, name=name: before(name, args[0])))
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return pairs


def _probes(size: int) -> NDArray[np.float32]:
    """Two inputs (2, 3, size, size) in [-1, 1]: noise, and a round light on a dark ground."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    light = 2 * np.exp(-8 * (line[:, None] ** 2 + line**2)) - 1
    noise = np.random.default_rng(0).uniform(-1, 1, (3, size, size))
    return np.stack([noise, np.broadcast_to(light, noise.shape)]).astype(np.float32)
