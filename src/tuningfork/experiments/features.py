"""Features of a frozen network: embeddings of two views of each image, by initial weights or a trained model."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from .._utils.files import atomic_file
from ..images.read import READING_RULES, read_image
from ..labelling.acquisition import hellinger
from ..model.bundle import open_bundle
from ..model.model import Model
from ..model.options import InferenceOptions
from ..training.initial.pretrained import with_scaling
from ..training.initial.weights import check_init, load_initial_weights
from ..training.join import TrainingSet
from ..training.malloc import keep_freed_memory
from ..training.network import MorphologyNetwork
from ..training.recipe import Recipe
from ..votes.tree_files import load_tree
from .plan import StudyError

__all__ = ["VIEWS", "backbone_features"]

logger = logging.getLogger(__name__)

#: Quarter turns of the views; how much their predictions differ is one measure of uncertainty.
VIEWS = (0, 1)
_BATCH = 64


def backbone_features(data: TrainingSet, recipe: Recipe, init: Path, file: Path) -> NDArray[np.float32]:
    """Compute the features of all galaxies' views by a network that was not trained on their labels.

    Parameters
    ----------
    init : Path
        Initial weights as `tuningfork train --init` takes them, for the recipe's network; or a bundle's folder,
        whose features are used if it gives them, else the roots of its predicted fractions.
    file : Path
        A .npz file that stores them; if it holds those of the same images and weights, they are not computed again.

    Returns
    -------
    (N, V, D) float32

    Raises
    ------
    StudyError
        If the bundle was trained on these very labels.
    TrainError, BundleError
        If the weights cannot be used.
    """
    bundle = open_bundle(init) if init.is_dir() else None
    if bundle is not None and bundle.training.get("labels_sha256") == data.labels_sha256:
        raise StudyError(
            f"{init}: this model was trained on these very labels, so they cannot be hidden from it; "
            "name weights that were not"
        )
    if bundle is None:
        check_init(recipe, init)
    weights = bundle.sha256 if bundle is not None else hashlib.sha256(init.read_bytes()).hexdigest()
    used = [] if bundle is not None else [recipe.network, recipe.network_options, recipe.crop, recipe.size]
    key = json.dumps([data.images_sha256, data.ids, weights, used, VIEWS, READING_RULES], sort_keys=True)
    if file.exists():
        with np.load(file, allow_pickle=False) as stored:
            if str(stored["key"]) == key:
                logger.info("%s: features of %d galaxies, as they were computed before", file, len(data.ids))
                return stored["features"].astype(np.float32)
    batches = _of_network(data, recipe, init) if bundle is None else _of_bundle(data, Model(bundle))
    parts = []
    for number, batch in enumerate(batches, 1):
        parts.append(batch.astype(np.float16))
        if number % 10 == 0:
            logger.info("features of %d of %d galaxies", number * _BATCH, len(data.ids))
    features = np.concatenate(parts)
    with atomic_file(file) as partial, open(partial, "wb") as stream:
        np.savez(stream, features=features, key=np.array(key))
    return features.astype(np.float32)


@torch.inference_mode()
def _of_network(data: TrainingSet, recipe: Recipe, init: Path) -> Iterator[NDArray[np.float32]]:
    keep_freed_memory()
    recipe = with_scaling(recipe)
    preprocess = recipe.preprocess

    def views(first: int) -> torch.Tensor:
        stack = np.stack([preprocess.resized(read_image(path).rgb) for path in data.paths[first : first + _BATCH]])
        rotated = np.concatenate([np.rot90(stack, quarter, axes=(1, 2)) for quarter in VIEWS])
        return torch.from_numpy(preprocess.scaled(rotated))

    network = MorphologyNetwork(recipe.network, load_tree(recipe.tree), options=recipe.network_options)
    load_initial_weights(network, recipe, init, ((views(first),) for first in range(0, len(data.paths), _BATCH)))
    body = network.body.eval().to(memory_format=torch.channels_last)
    for first in range(0, len(data.paths), _BATCH):
        batch = views(first).contiguous(memory_format=torch.channels_last)
        yield body(batch).numpy().reshape(len(VIEWS), -1, body.num_features).swapaxes(0, 1)


def _of_bundle(data: TrainingSet, model: Model) -> Iterator[NDArray[np.float32]]:
    options = InferenceOptions(n_views=1, embeddings=bool(model.feature_width))
    for first in range(0, len(data.paths), _BATCH):
        images = [read_image(path).rgb for path in data.paths[first : first + _BATCH]]
        rotated = []
        for quarter in VIEWS:
            outputs = model.run([model.inputs(np.rot90(image, quarter)) for image in images], options)
            rotated.append(outputs.features if outputs.features is not None else hellinger(outputs.cumulative))
        yield np.stack(rotated, 1)
