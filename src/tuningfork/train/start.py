"""The weights that a training begins with: from a file, from timm's hub, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import timm
import torch
from huggingface_hub import constants
from huggingface_hub.utils import get_session
from safetensors.torch import load_file

from .mobilenet import load_mobilenet_v2, unfold_batch_norm
from .network import MorphologyNetwork
from .recipe import Recipe
from .sources import TrainError

__all__ = ["begin", "check_start"]

#: Enough pictures for the statistics of every channel.
_UNFOLDING_BATCHES = 16
#: Seconds to wait for the hub's first answer.
_PATIENCE = 5


def check_start(recipe: Recipe, start: str | Path | None) -> None:
    """Say before the pictures are read if `start` is not what the recipe begins with. Raises TrainError."""
    if start is None:
        if recipe.start and recipe.start != "imagenet":
            raise TrainError(f"the recipe begins with the weights of {recipe.start}; give that file with --start")
        return
    path = Path(start)
    if path.suffix not in (".safetensors", ".tflite"):
        raise TrainError(f"{start}: weights are read from .safetensors and .tflite files, never from pickles")
    if recipe.start not in ("imagenet", path.name):
        begins = f"begins with {recipe.start}" if recipe.start else "begins from scratch"
        raise TrainError(f"{start}: the recipe {begins}; other weights are another recipe")


def begin(
    network: MorphologyNetwork,
    recipe: Recipe,
    start: str | Path | None,
    pictures: Iterable[tuple[torch.Tensor, ...]],
    say: Callable[[str], None],
) -> str:
    """Put first weights into a new network; its head stays random.

    A .tflite file is read as MobileNetV2 with folded batch norms, which are unfolded on some of the
    training's `pictures`; a .safetensors file as timm's own names. Without a file, "imagenet" asks timm's
    hub, and where there is none says so.

    Returns
    -------
    str
        What it begins with: the file's name, "imagenet", or "scratch".

    Raises
    ------
    TrainError
        If the file does not hold this network's weights.
    """
    if not recipe.start:
        return "scratch"
    if start is not None:
        _from_file(network, recipe, Path(start), pictures)
        say(f"{recipe.network} begins with the weights of {Path(start).name}")
        return Path(start).name
    try:
        with _brief_hub():
            source = timm.create_model(recipe.network, pretrained=True, num_classes=0, **recipe.network_options)
    except Exception as error:  # the hub's, the net's, and timm's own where it knows no weights
        reason = str(error).strip().splitlines()
        say(f"no ImageNet weights of {recipe.network} ({reason[0][:200] if reason else type(error).__name__}): "
            "it begins from scratch; --start FILE.safetensors names a local file")  # fmt: skip
        return "scratch"
    network.body.load_state_dict(source.state_dict(), strict=False)
    say(f"{recipe.network} begins with timm's ImageNet weights")
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


def _from_file(
    network: MorphologyNetwork, recipe: Recipe, path: Path, pictures: Iterable[tuple[torch.Tensor, ...]]
) -> None:
    try:
        if path.suffix == ".tflite":
            load_mobilenet_v2(network.body, path)
            unfold_batch_norm(network.body, (batch[0] for batch in islice(pictures, _UNFOLDING_BATCHES)))
        else:
            # Not by timm, which leaves out in silence what does not fit.
            found, wanted = load_file(path), network.body.state_dict()
            missing = [key for key in wanted if key not in found and not key.endswith("num_batches_tracked")]
            if missing:
                raise ValueError(
                    f"{len(missing)} of {len(wanted)} tensors of {recipe.network} are not in it, such as {missing[0]}; "
                    "are these weights of this network, named as timm names them?"
                )
            network.body.load_state_dict({key: found.get(key, value) for key, value in wanted.items()})
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise TrainError(f"{path}: {error}") from None
    except Exception as error:  # safetensors' own kind
        raise TrainError(f"{path}: not a safetensors file of {recipe.network}: {error}") from None
