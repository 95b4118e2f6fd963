"""What a network sees: feature maps of its first blocks, and where it looks, beside one that learned nothing.

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
from .runs import Run

__all__ = ["FeatureMap", "LookError", "Overlay", "feature_maps", "grad_cam", "network_of"]

Floats = NDArray[np.float32]
#: Grad-CAM takes the deepest layer whose map has at least this many cells a side: fewer show no place.
LEAST_CELLS = 4


class LookError(TuningforkError, ValueError):
    """There is no network to look into; the message says why."""


@dataclass(frozen=True)
class FeatureMap:
    """The first channels of one layer: (channels, h, w) float32, of `of` channels in all."""

    layer: str
    maps: Floats
    of: int


@dataclass(frozen=True)
class Overlay:
    """Grad-CAM of one picture: (h, w) float32 in [0, 1] of the trained network and of the random one.

    `picture` is what the network saw, (size, size, 3) uint8; `target` the output that is explained.
    """

    picture: NDArray[np.uint8]
    trained: Floats
    random: Floats
    target: str
    cells: int


def network_of(run: Run) -> tuple[MorphologyNetwork, Preprocess]:
    """A run's network with the weights of its best epoch (averaged ones, if its recipe averages). Raises LookError."""
    checkpoint = run.folder / "best.ckpt"
    if not checkpoint.exists():
        raise LookError(f"{run.name} has no best.ckpt")
    network, preprocess = _untrained(run)
    try:
        # Lightning's averaging stores the averaged weights as `state_dict`.
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        network.load_state_dict(
            {key.removeprefix("network."): value for key, value in state.items() if key.startswith("network.")}
        )
    except Exception as error:  # what is wrong with a file, torch tells in many kinds
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise LookError(f"{checkpoint} does not fit its recipe: {reason}") from None
    return network.eval(), preprocess


def _untrained(run: Run, seed: int = 0) -> tuple[MorphologyNetwork, Preprocess]:
    try:
        recipe = Recipe.from_dict(run.recipe)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = MorphologyNetwork(
                recipe.network, run.tree, task=recipe.task, hidden=recipe.hidden, options=recipe.network_options
            )
    except (RecipeError, ValueError, TypeError, RuntimeError) as error:
        raise LookError(f"{run.name}: its network cannot be built: {error}") from None
    return network.eval(), Preprocess(crop=recipe.crop, size=recipe.size)


def feature_maps(network: MorphologyNetwork, pictures: Floats, layers: int = 4, channels: int = 16) -> list[FeatureMap]:
    """The last maps of each of the first resolutions, as a picture (1, 3, S, S) goes through."""
    with torch.inference_mode():
        seen = _activations(network.body, torch.from_numpy(pictures))
    by_side: dict[int, tuple[str, Tensor]] = {}
    for name, maps in seen:
        if maps.shape[-1] > 1:
            by_side[maps.shape[-1]] = (name, maps)
    first = seen[:1]
    chosen = [*first, *(entry for entry in by_side.values() if entry[0] != (first[0][0] if first else ""))][:layers]
    return [FeatureMap(name, maps[0, :channels].numpy(), maps.shape[1]) for name, maps in chosen]


def grad_cam(
    run: Run, network: MorphologyNetwork, preprocess: Preprocess, pictures: Sequence[NDArray[np.uint8]]
) -> list[Overlay]:
    """Grad-CAM (Selvaraju et al. 2017) of the most probable class, or of the first question's first answer.

    The control, a network of the same form with random weights (Adebayo et al. 2018), is asked for the same
    output: where the two agree, the overlay tells of the form and the picture, not of what was learned.
    """
    control, _ = _untrained(run, seed=1)
    # The layer's name, since the modules of the two networks differ.
    layer = _deepest(network, preprocess.size)
    out = []
    for picture in pictures:
        small = preprocess.resized(picture)
        batch = torch.from_numpy(preprocess.scaled(small)[None])
        with torch.inference_mode():
            logits = network(batch)[0]
        target, text = _target(logits, network.answers, run)
        trained, cells = _cam(network, layer, batch, target)
        random, _ = _cam(control, layer, batch, target)
        out.append(Overlay(small, trained, random, text, cells))
    return out


def _target(logits: Tensor, answers: int, run: Run) -> tuple[int, str]:
    if len(logits) > answers:
        number = int(logits[answers:].argmax())
        return answers + number, run.tree.classes[number].name
    first = run.tree.questions[0]
    number = int(logits[: len(first.answers)].argmax())
    return number, first.answers[number].text


def _cam(network: MorphologyNetwork, layer: str, batch: Tensor, target: int) -> tuple[Floats, int]:
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        # A copy: a layer that works in place after this one would spoil it.
        output = output.clone().detach().requires_grad_()
        kept.append(output)
        return output.clone()

    handle = network.body.get_submodule(layer).register_forward_hook(keep)
    try:
        with torch.enable_grad():
            score = network(batch)[0, target]
            (slope,) = torch.autograd.grad(score, kept[-1])
    finally:
        handle.remove()
    maps = kept[-1].detach()[0]
    cam = torch.relu((slope[0].mean((1, 2))[:, None, None] * maps).sum(0))
    top = cam.max()
    return (cam / top if top > 0 else cam).numpy(), cam.shape[-1]


def _deepest(network: MorphologyNetwork, size: int) -> str:
    with torch.inference_mode():
        seen = _activations(network.body, torch.zeros(1, 3, size, size))
    wide = [name for name, maps in seen if maps.shape[-1] >= LEAST_CELLS]
    if not wide:
        raise LookError("no layer of the network has a map of at least four cells a side")
    return wide[-1]


def _activations(body: nn.Module, batch: Tensor) -> list[tuple[str, Tensor]]:
    """Maps (1, C, h, w) of the layers that follow one another, in the order in which they end."""
    seen: list[tuple[str, Tensor]] = []

    def keeper(name: str) -> Any:
        def keep(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
                seen.append((name, output.detach().clone()))

        return keep

    handles = [module.register_forward_hook(keeper(name)) for name, module in _layers(body)]
    try:
        body(batch)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _layers(body: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    # Only what stands in a sequence: the branches of a block each see a part.
    for name, module in body.named_children():
        if isinstance(module, nn.Sequential) and len(module):
            yield from ((f"{name}.{inner}", layer) for inner, layer in module.named_children())
        else:
            yield name, module
