"""Inside a network: feature maps of its first layers, and Grad-CAM beside a network with random weights.

Needs PyTorch and a run's checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .._utils.errors import TuningforkError
from ..images.preprocess import Preprocess
from ..training.network import MorphologyNetwork
from ..training.recipe import Recipe, RecipeError
from .runs import TrainingRun

__all__ = ["FeatureMap", "GradCamError", "Overlay", "feature_maps", "grad_cam", "load_network"]

Floats = NDArray[np.float32]
#: Grad-CAM takes the deepest layer whose map has at least this many cells a side: fewer show no place.
MIN_CELLS = 4


class GradCamError(TuningforkError, ValueError):
    """The network of a run cannot be loaded; the message says why."""


@dataclass(frozen=True)
class FeatureMap:
    """The first maps of one layer, (M, h, w) float32, of `channels` in all."""

    layer: str
    maps: Floats
    channels: int

    @property
    def side(self) -> int:
        """Cells of a map's side."""
        return self.maps.shape[-1]


@dataclass(frozen=True)
class Overlay:
    """Grad-CAM of one image: (h, w) float32 in [0, 1] of the trained network and of the random one.

    `image` is the network's input, (size, size, 3) uint8; `target` the output that is explained.
    """

    image: NDArray[np.uint8]
    trained: Floats
    random: Floats
    target: str
    cells: int


def load_network(run: TrainingRun) -> tuple[MorphologyNetwork, Preprocess]:
    """Load a run's network with the weights of its best epoch (averaged ones, if its recipe averages).

    Raises
    ------
    GradCamError
        If there is no checkpoint, or it does not fit the recipe.
    """
    checkpoint = run.folder / "best.ckpt"
    if not checkpoint.exists():
        raise GradCamError(f"{run.name} has no best.ckpt")
    network, preprocess = _untrained(run)
    try:
        # Lightning's averaging stores the averaged weights as `state_dict`.
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        network.load_state_dict(
            {key.removeprefix("network."): value for key, value in state.items() if key.startswith("network.")}
        )
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise GradCamError(f"{checkpoint} does not fit its recipe: {reason}") from None
    return network.eval(), preprocess


def _untrained(run: TrainingRun, seed: int = 0) -> tuple[MorphologyNetwork, Preprocess]:
    try:
        recipe = Recipe.from_dict(run.recipe)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = MorphologyNetwork(
                recipe.network, run.tree, task=recipe.task, hidden=recipe.hidden, options=recipe.network_options
            )
    except (RecipeError, ValueError, TypeError, RuntimeError) as error:
        raise GradCamError(f"{run.name}: its network cannot be built: {error}") from None
    return network.eval(), recipe.preprocess


def feature_maps(network: MorphologyNetwork, batch: Floats, layers: int = 4, channels: int = 16) -> list[FeatureMap]:
    """The last maps of each of the first resolutions of a network.

    Parameters
    ----------
    batch : (1, 3, S, S) float32
        One image as the network takes it.
    """
    with torch.inference_mode():
        activations = _activations(network.body, torch.from_numpy(batch))
    first = activations[:1]
    by_side = {maps.shape[-1]: (name, maps) for name, maps in activations if maps.shape[-1] > 1}
    chosen = [*first, *(entry for entry in by_side.values() if entry[0] != (first[0][0] if first else ""))][:layers]
    return [FeatureMap(name, maps[0, :channels].numpy(), maps.shape[1]) for name, maps in chosen]


def grad_cam(
    run: TrainingRun, network: MorphologyNetwork, preprocess: Preprocess, images: Sequence[NDArray[np.uint8]]
) -> list[Overlay]:
    """Grad-CAM (Selvaraju et al. 2017) of the most probable class, or of the first question's first answer.

    The control is a network of the same architecture with random weights (Adebayo et al. 2018), for the same output:
    where the two agree, the overlay shows the architecture and the image, not what was learned.
    """
    control, _ = _untrained(run, seed=1)
    # The layer's name, since the modules of the two networks differ.
    layer = _deepest(network, preprocess.size)
    overlays = []
    for image in images:
        resized = preprocess.resized(image)
        batch = torch.from_numpy(preprocess.scaled(resized)[None])
        with torch.inference_mode():
            logits = network(batch)[0]
        target, text = _target(logits, network.answers, run)
        trained, cells = _cam(network, layer, batch, target)
        random, _ = _cam(control, layer, batch, target)
        overlays.append(Overlay(resized, trained, random, text, cells))
    return overlays


def _target(logits: Tensor, answers: int, run: TrainingRun) -> tuple[int, str]:
    if len(logits) > answers:
        number = int(logits[answers:].argmax())
        return answers + number, run.tree.classes[number].name
    first = run.tree.questions[0]
    number = int(logits[: len(first.answers)].argmax())
    return number, first.answers[number].text


def _cam(network: MorphologyNetwork, layer: str, batch: Tensor, target: int) -> tuple[Floats, int]:
    outputs: list[Tensor] = []

    def hook(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        # A copy: a layer that works in place after this one would spoil it.
        outputs.append(output.clone().detach().requires_grad_())
        return outputs[-1].clone()

    handle = network.body.get_submodule(layer).register_forward_hook(hook)
    try:
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(network(batch)[0, target], outputs[-1])
    finally:
        handle.remove()
    maps = outputs[-1].detach()[0]
    cam = torch.relu((slope[0].mean((1, 2))[:, None, None] * maps).sum(0))
    top = cam.max()
    return (cam / top if top > 0 else cam).numpy(), cam.shape[-1]


def _deepest(network: MorphologyNetwork, size: int) -> str:
    with torch.inference_mode():
        activations = _activations(network.body, torch.zeros(1, 3, size, size))
    wide = [name for name, maps in activations if maps.shape[-1] >= MIN_CELLS]
    if not wide:
        raise GradCamError("no layer of the network has a map of at least four cells a side")
    return wide[-1]


def _activations(body: nn.Module, batch: Tensor) -> list[tuple[str, Tensor]]:
    """Maps (1, C, h, w) of the layers that follow one another, in the order in which they end."""
    activations: list[tuple[str, Tensor]] = []

    def hook(name: str) -> Any:
        def keep(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
                activations.append((name, output.detach().clone()))

        return keep

    handles = [module.register_forward_hook(hook(name)) for name, module in _layers(body)]
    try:
        body(batch)
    finally:
        for handle in handles:
            handle.remove()
    return activations


def _layers(body: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    # Only what stands in a sequence: the branches of a block each process a part.
    for name, module in body.named_children():
        if isinstance(module, nn.Sequential) and len(module):
            yield from ((f"{name}.{inner}", layer) for inner, layer in module.named_children())
        else:
            yield name, module
