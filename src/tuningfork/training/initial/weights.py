"""Initial weights of a training (transfer learning): a trained model's, a file's, timm's ImageNet weights, or none."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from ...images.preprocess import Preprocess
from ...model.bundle import Outputs, builtin_models, open_bundle
from ...votes.tree import DecisionTree
from ..join import TrainError
from ..network import MorphologyNetwork
from ..recipe import Recipe
from .from_onnx import member, recover_network
from .pretrained import hub_config, is_hub, pretrained_state
from .tflite import load_mobilenet_v2, unfold_batch_norm

__all__ = ["adapt_recipe", "check_init", "credit", "digest", "is_model", "load_initial_weights", "names_recipe_init"]

logger = logging.getLogger(__name__)

#: In a recipe: begin with a trained model, whichever is named.
MODEL = "model"
#: On the command line: begin without weights.
SCRATCH = "scratch"

#: Enough images for the statistics of every channel.
_UNFOLDING_BATCHES = 16


def names_recipe_init(init: str | Path | None) -> bool:
    """Whether that replaces the recipe's own `init` (see `adapt_recipe`): scratch, imagenet or a network on the hub."""
    return str(init) in (SCRATCH, "imagenet") or is_hub(init)


def is_model(init: str | Path | None) -> bool:
    """Whether that names a trained model: one that comes with the package, or a bundle's folder."""
    return init is not None and (str(init) in builtin_models() or Path(init).is_dir())


def adapt_recipe(recipe: Recipe, init: str | Path | None) -> Recipe:
    """Adapt the recipe to what it begins with.

    A model's network, crop, size and scaling; those of a network in timm's hub format; "imagenet" or "scratch" instead
    of the recipe's own; any other recipe as it is.

    Raises
    ------
    BundleError
        If the model cannot be opened.
    TrainError
        If it resizes images in a way that no training does, or the hub has no such network.
    """
    if str(init) == SCRATCH:
        return recipe.changed(init="", weights="")
    if str(init) == "imagenet":
        return recipe.changed(init="imagenet")
    if is_hub(init):
        config = hub_config(str(init))
        pretrained = config.get("pretrained_cfg") or {}
        size = (pretrained.get("input_size") or (3, recipe.size, recipe.size))[-1]
        return recipe.changed(
            init=str(init),
            weights="",
            network=config["architecture"],
            network_options={k: v for k, v in (config.get("model_args") or {}).items() if k != "num_classes"},
            size=int(size),
            mean=tuple(pretrained["mean"]) if pretrained.get("mean") else None,
            std=tuple(pretrained["std"]) if pretrained.get("std") else None,
        )
    if recipe.init != MODEL or not is_model(init):
        return recipe
    bundle = open_bundle(str(init))
    network, before = bundle.networks[0], member(bundle)
    preprocess = network.preprocess
    if preprocess.filter != Preprocess().filter:
        raise TrainError(f"{init}: it resizes images with the filter {preprocess.filter}, which no training does")
    return recipe.changed(
        network=network.architecture,
        network_options=dict(before.get("network_options", {})),
        hidden=before.get("hidden", 0),
        min_size=before.get("min_size", recipe.min_size),
        crop=preprocess.crop,
        size=preprocess.size,
        mean=preprocess.mean,
        std=preprocess.std,
    )


def digest(init: str | Path | None) -> str:
    """SHA-256 of what a training begins with: of a model, its own; of a file, its bytes; "" of nothing."""
    if init is None:
        return ""
    return open_bundle(str(init)).sha256 if is_model(init) else hashlib.sha256(Path(init).read_bytes()).hexdigest()


def credit(recipe: Recipe, init: str | Path | None) -> dict[str, Any]:
    """Licence and attribution of what a training begins with: its own model owes them too."""
    if is_hub(recipe.init):
        licence = (hub_config(recipe.init).get("pretrained_cfg") or {}).get("license")
        return {"licence": licence or "unknown", "attribution": [f"initial weights: {recipe.init}"]}
    if not is_model(init):
        return {}
    bundle = open_bundle(str(init))
    return {"licence": bundle.licence, "attribution": list(bundle.attribution)}


def check_init(recipe: Recipe, init: str | Path | None) -> None:
    """Say before the images are read if `init` is not what the recipe begins with. Raises TrainError."""
    if init is None:
        if recipe.init == MODEL:
            raise TrainError(
                "the recipe begins with a trained model; name it with --init default, or a bundle's folder"
            )
        if recipe.init and recipe.init != "imagenet" and not is_hub(recipe.init):
            raise TrainError(f"the recipe begins with the weights of {recipe.init}; give that file with --init")
        return
    path = Path(init)
    if is_model(init):
        if recipe.init != MODEL:
            begins = f"with the weights of {recipe.init}" if recipe.init else "from scratch"
            raise TrainError(f"{init}: the recipe begins {begins}; to begin with a model take --recipe finetune")
        if recipe.network != open_bundle(str(init)).networks[0].architecture:
            raise TrainError(f"{init}: its network is not {recipe.network}; a model is adapted as it is")
        return
    if path.suffix not in (".safetensors", ".tflite"):
        raise TrainError(
            f"{init}: neither a model ({', '.join(builtin_models())}, a bundle's folder) nor a file of weights; "
            "those are read from .safetensors and .tflite files, never from pickles"
        )
    if recipe.init not in ("imagenet", path.name):
        begins = f"begins with {recipe.init}" if recipe.init else "begins from scratch"
        raise TrainError(f"{init}: the recipe {begins}; other weights are another recipe")


def load_initial_weights(
    network: MorphologyNetwork,
    recipe: Recipe,
    init: str | Path | None,
    batches: Iterable[tuple[torch.Tensor, ...]],
    tree: DecisionTree | None = None,
) -> str:
    """Put first weights into a new network; its head stays random, except a model's of the same `tree`.

    A model's batch norms, which its export folded, are unfolded on some of the training's `batches`. A .tflite
    file is read as MobileNetV2 with folded batch norms, unfolded likewise; a .safetensors file with timm's
    names. Without a file, "imagenet" is searched as `pretrained_state` says; nothing begins from scratch unless the
    recipe says so.

    Returns
    -------
    str
        What it begins with: the model's or file's name, "imagenet", or "scratch".

    Raises
    ------
    TrainError
        If the file does not hold this network's weights, or the model's cannot be recovered.
    """
    if not recipe.init:
        return "scratch"
    if is_model(init):
        return _from_model(network, recipe, str(init), batches, tree)
    if init is not None:
        _from_file(network, recipe, Path(init), batches)
        logger.info("%s begins with the weights of %s", recipe.network, Path(init).name)
        return Path(init).name
    name, state = pretrained_state(recipe)
    _load(network, recipe, state, name)
    return name


def _from_model(
    network: MorphologyNetwork,
    recipe: Recipe,
    init: str,
    batches: Iterable[tuple[torch.Tensor, ...]],
    tree: DecisionTree | None,
) -> str:
    bundle = open_bundle(init)
    try:
        source = recover_network(bundle)
        unfold_batch_norm(source.body, (batch[0] for batch in islice(batches, _UNFOLDING_BATCHES)))
    except Exception as error:  # of onnx, its runtime and timm, each its own kind
        raise TrainError(f"{init}: {error}") from None
    network.body.load_state_dict(source.body.state_dict())
    same = bundle.tree == tree and bundle.outputs == Outputs.of(recipe.task, recipe.output)
    if same:
        network.hidden.load_state_dict(source.hidden.state_dict())
        network.head.load_state_dict(source.head.state_dict())
    head = "the same questions, so its last layer too" if same else "another tree, so the last layer is new"
    logger.info("%s begins with the model %s (%s)", recipe.network, bundle.name, head)
    return bundle.name


def _from_file(
    network: MorphologyNetwork, recipe: Recipe, path: Path, batches: Iterable[tuple[torch.Tensor, ...]]
) -> None:
    try:
        if path.suffix == ".tflite":
            load_mobilenet_v2(network.body, path)
            unfold_batch_norm(network.body, (batch[0] for batch in islice(batches, _UNFOLDING_BATCHES)))
        else:
            _load(network, recipe, load_file(path), path.name)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise TrainError(f"{path}: {error}") from None
    except Exception as error:  # safetensors' own kind
        raise TrainError(f"{path}: not a safetensors file of {recipe.network}: {error}") from None


def _load(network: MorphologyNetwork, recipe: Recipe, state: Mapping[str, torch.Tensor], name: str) -> None:
    """Load all tensors of the body, where timm would leave out what does not fit."""
    own = network.body.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    if missing:
        raise TrainError(
            f"{name}: {len(missing)} of {len(own)} tensors of {recipe.network} are not in it, such as {missing[0]}; "
            "are these weights of this network, named as timm names them?"
        )
    try:
        network.body.load_state_dict({key: state.get(key, value) for key, value in own.items()})
    except RuntimeError as error:
        raise TrainError(f"{name}: not weights of {recipe.network}: {error}") from None
