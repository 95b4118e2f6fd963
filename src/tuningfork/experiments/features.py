"""What a frozen network sees in pictures: features of two views, from weights or from a model of ours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from .._utils.files import atomic_file
from ..images.preprocess import Preprocess
from ..images.read import read_image
from ..labelling.acquisition import hellinger
from ..model.bundle import open_bundle
from ..model.model import Model
from ..model.options import InferenceOptions
from ..training.initial.weights import check_init, load_initial_weights
from ..training.join import TrainingSet
from ..training.malloc import keep_freed_memory
from ..training.network import MorphologyNetwork
from ..training.recipe import Recipe
from ..votes.tree_files import load_tree
from .plan import StudyError

__all__ = ["VIEWS", "backbone_features"]

#: Quarter turns of the views; how much their predictions differ is one measure of doubt.
VIEWS = (0, 1)
_BATCH = 64


def backbone_features(
    data: TrainingSet,
    recipe: Recipe,
    init: Path,
    file: Path,
    say: Callable[[str], None] = lambda line: None,
) -> NDArray[np.float32]:
    """Features (N, V, D) of all galaxies' views by a network that learned nothing from their labels.

    Parameters
    ----------
    init : Path
        First weights as `tuningfork train --init` takes them, for the recipe's network; or a bundle's folder,
        whose features are used if it gives them, else the roots of its predicted fractions.
    file : Path
        A .npz file to keep them in; found there, of the same pictures and weights, they are not computed again.

    Raises
    ------
    StudyError
        If the bundle learned from these very labels.
    TrainError, BundleError
        If the weights cannot be used.
    """
    bundle = open_bundle(init) if init.is_dir() else None
    if bundle is not None and bundle.training.get("labels_sha256") == data.labels_sha256:
        raise StudyError(
            f"{init}: this model learned from these very labels, so they cannot be hidden from it; "
            "name weights that never saw them"
        )
    if bundle is None:
        check_init(recipe, init)
    weights = bundle.sha256 if bundle is not None else hashlib.sha256(init.read_bytes()).hexdigest()
    used = [] if bundle is not None else [recipe.network, recipe.network_options, recipe.crop, recipe.size]
    key = json.dumps([data.images_sha256, data.ids, weights, used, VIEWS], sort_keys=True)
    if file.exists():
        with np.load(file, allow_pickle=False) as kept:
            if str(kept["key"]) == key:
                say(f"{file}: features of {len(data.ids)} galaxies, as they were computed before")
                return kept["features"].astype(np.float32)
    batches = _of_network(data, recipe, init) if bundle is None else _of_bundle(data, Model(bundle))
    found = []
    for number, batch in enumerate(batches, 1):
        found.append(batch.astype(np.float16))
        if number % 10 == 0:
            say(f"features of {number * _BATCH} of {len(data.ids)} galaxies")
    features = np.concatenate(found)
    with atomic_file(file) as part, open(part, "wb") as stream:
        np.savez(stream, features=features, key=np.array(key))
    return features.astype(np.float32)


@torch.inference_mode()
def _of_network(data: TrainingSet, recipe: Recipe, init: Path) -> Iterator[NDArray[np.float32]]:
    keep_freed_memory()
    preprocess = Preprocess(crop=recipe.crop, size=recipe.size)

    def views(first: int) -> NDArray[np.float32]:
        stack = np.stack([preprocess.resized(read_image(path).rgb) for path in data.paths[first : first + _BATCH]])
        turned = np.concatenate([np.rot90(stack, quarter, axes=(1, 2)) for quarter in VIEWS])
        return preprocess.scaled(turned)

    network = MorphologyNetwork(recipe.network, load_tree(recipe.tree), options=recipe.network_options)
    batches = ((torch.from_numpy(views(i)),) for i in range(0, len(data.paths), _BATCH))
    load_initial_weights(network, recipe, init, batches)
    body = network.body.eval().to(memory_format=torch.channels_last)
    for first in range(0, len(data.paths), _BATCH):
        seen = torch.from_numpy(views(first)).contiguous(memory_format=torch.channels_last)
        yield body(seen).numpy().reshape(len(VIEWS), -1, body.num_features).swapaxes(0, 1)


def _of_bundle(data: TrainingSet, model: Model) -> Iterator[NDArray[np.float32]]:
    for first in range(0, len(data.paths), _BATCH):
        pictures = [read_image(path).rgb for path in data.paths[first : first + _BATCH]]
        turned = []
        for quarter in VIEWS:
            inputs = [model.inputs(np.rot90(picture, quarter)) for picture in pictures]
            told = model.run(inputs, InferenceOptions(1, embeddings=bool(model.feature_width)))
            turned.append(told.features if told.features is not None else hellinger(told.cumulative))
        yield np.stack(turned, 1)
