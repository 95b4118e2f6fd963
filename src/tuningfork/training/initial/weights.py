"""Initial weights of a training (transfer learning): a trained model's, a file's, timm's ImageNet weights, or none."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import constants
from huggingface_hub.utils import get_session
from safetensors.torch import load_file

from ...images.preprocess import Preprocess
from ...model.bundle import Outputs, builtin_models, open_bundle
from ...votes.tree import DecisionTree
from ..join import TrainError
from ..network import MorphologyNetwork
from ..recipe import Recipe
from .from_onnx import member, recovered
from .tflite import load_mobilenet_v2, unfold_batch_norm

__all__ = ["adapted", "check_init", "credit", "digest", "is_model", "load_initial_weights"]

logger = logging.getLogger(__name__)

#: In a recipe: begin with a trained model, whichever is named.
MODEL = "model"

#: Enough images for the statistics of every channel.
_UNFOLDING_BATCHES = 16
#: Seconds to wait for the hub's first answer.
_PATIENCE = 5


def is_model(init: str | Path | None) -> bool:
    """Whether that names a trained model: one that comes with the package, or a bundle's folder."""
    return init is not None and (str(init) in builtin_models() or Path(init).is_dir())


def adapted(recipe: Recipe, init: str | Path | None) -> Recipe:
    """The recipe with network, crop and size of the model that it begins with; any other recipe as it is.

    Raises
    ------
    BundleError
        If the model cannot be opened.
    TrainError
        If it sees images in a way that no training does.
    """
    if recipe.init != MODEL or not is_model(init):
        return recipe
    bundle = open_bundle(str(init))
    network, before = bundle.networks[0], member(bundle)
    preprocess = network.preprocess
    if preprocess != Preprocess(crop=preprocess.crop, size=preprocess.size):
        raise TrainError(f"{init}: its images are scaled or resized in a way that no training here does")
    return recipe.changed(
        network=network.architecture,
        network_options=dict(before.get("network_options", {})),
        hidden=before.get("hidden", 0),
        min_size=before.get("min_size", recipe.min_size),
        crop=preprocess.crop,
        size=preprocess.size,
    )


def digest(init: str | Path | None) -> str:
    """SHA-256 of what a training begins with: of a model, its own; of a file, its bytes; "" of nothing."""
    if init is None:
        return ""
    return open_bundle(str(init)).sha256 if is_model(init) else hashlib.sha256(Path(init).read_bytes()).hexdigest()


def credit(init: str | Path | None) -> dict[str, Any]:
    """Licence and attribution of a model that a training begins with: its own model owes them too."""
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
        if recipe.init and recipe.init != "imagenet":
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
    names. Without a file, "imagenet" asks timm's hub, and where there is none says so.

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
    try:
        with _brief_hub():
            source = timm.create_model(recipe.network, pretrained=True, num_classes=0, **recipe.network_options)
    except Exception as error:  # the hub's, the net's, and timm's own where it knows no weights
        reason = str(error).strip().splitlines()
        logger.warning(
            "no ImageNet weights of %s (%s): it begins from scratch; --init FILE.safetensors names a local file",
            recipe.network, reason[0][:200] if reason else type(error).__name__,
        )  # fmt: skip
        return "scratch"
    network.body.load_state_dict(source.state_dict(), strict=False)
    logger.info("%s begins with timm's ImageNet weights", recipe.network)
    return "imagenet"


@contextmanager
def _brief_hub() -> Iterator[None]:
    """Where the hub does not answer, only copies on this machine: its client would try for a minute or more."""
    before = constants.HF_HUB_OFFLINE
    try:
        if not before:
            get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
    except Exception:  # of whichever HTTP library it stands on
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _from_model(
    network: MorphologyNetwork,
    recipe: Recipe,
    init: str,
    batches: Iterable[tuple[torch.Tensor, ...]],
    tree: DecisionTree | None,
) -> str:
    bundle = open_bundle(init)
    try:
        source = recovered(bundle)
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
            # Not by timm, which leaves out in silence what does not fit.
            state, wanted = load_file(path), network.body.state_dict()
            missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
            if missing:
                raise ValueError(
                    f"{len(missing)} of {len(wanted)} tensors of {recipe.network} are not in it, such as {missing[0]}; "
                    "are these weights of this network, named as timm names them?"
                )
            network.body.load_state_dict({key: state.get(key, value) for key, value in wanted.items()})
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise TrainError(f"{path}: {error}") from None
    except Exception as error:  # safetensors' own kind
        raise TrainError(f"{path}: not a safetensors file of {recipe.network}: {error}") from None
