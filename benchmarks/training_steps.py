"""Some seconds of a training, plain or ours: what a fresh process of `training_speed` does."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tuningfork.training import _torchvision as _torchvision

# isort: split
import timm
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset
from torchvision.transforms import v2

from tuningfork.training.dataset import CachedImages, GalaxyDataset, Targets, TimedLoader, loader
from tuningfork.training.image_cache import content_key, frame_side, open_cache
from tuningfork.training.lightning_module import MorphologyModule
from tuningfork.training.malloc import keep_freed_memory
from tuningfork.training.recipe import Recipe
from tuningfork.votes.tree import DecisionTree
from tuningfork.votes.tree_files import load_tree

#: Steps that lay out memory and start the readers.
_WARM = 3
#: Rows of an epoch: images are repeated, so that none ends while it is timed.
_ROWS = 1_000_000

Batch = Sequence[Tensor]


def steps(
    variant: str, recipe: Mapping[str, Any], paths: Sequence[str], cache: str, seconds: float, workers: int
) -> dict[str, float]:
    """Train a variant of `training_speed` for so many seconds.

    Returns
    -------
    dict
        `rate`, images per second after the steps that warm it up; `data_wait`, the fraction of that time for which
        the loop waited for images; `warm_up`, seconds of the first steps, in which a variant is compiled.
    """
    chosen = Recipe.from_dict(recipe)
    torch.manual_seed(chosen.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build = _plain if variant == "plain" else _ours
        batches, learn = build(chosen, [Path(path) for path in paths], Path(cache), workers, variant)
        return _timed(batches, learn, chosen.batch, seconds)


def _timed(batches: TimedLoader, learn: Callable[[Batch], None], batch: int, seconds: float) -> dict[str, float]:
    opened = time.perf_counter()
    ready: Iterator[Batch] = iter(batches)
    for _ in range(_WARM):
        learn(next(ready))
    started, wait_seconds, count = time.perf_counter(), batches.wait_seconds, 0
    taken = 0.0
    while taken < seconds:
        learn(next(ready))
        count += batch
        taken = time.perf_counter() - started
    return {
        "rate": count / taken,
        "data_wait": (batches.wait_seconds - wait_seconds) / taken,
        "warm_up": started - opened,
    }


class _Repeated(Dataset[Any]):
    """Another data set again and again; its rows are asked for as `GalaxyDataset` wants it, or by their number."""

    def __init__(self, data: Dataset[Any], count: int, *, epochs: bool) -> None:
        self.data, self.count, self.epochs = data, count, epochs

    def __len__(self) -> int:
        return _ROWS

    def __getitem__(self, key: Any) -> Any:
        if self.epochs:
            return self.data[key[0], key[1] % self.count]
        return self.data[key % self.count]


class _Files(Dataset[tuple[Tensor, Tensor]]):
    """Images as the plain loop reads them, with their known fractions."""

    def __init__(self, paths: Sequence[Path], known: Tensor, recipe: Recipe) -> None:
        with Image.open(paths[0]) as image:
            side = round(recipe.crop * min(image.size))
        shift = recipe.augmentation.shift
        self.paths, self.known = paths, known
        self.transform = v2.Compose(
            [
                v2.RandomAffine(
                    recipe.augmentation.rotation,
                    translate=(shift * recipe.crop, shift * recipe.crop),
                    scale=recipe.augmentation.zoom,
                    interpolation=v2.InterpolationMode.BILINEAR,
                ),
                v2.CenterCrop(side),
                v2.Resize((recipe.size, recipe.size), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.RandomVerticalFlip(),
                v2.ColorJitter(brightness=recipe.augmentation.brightness),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize((0.5,) * 3, (0.5,) * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        with Image.open(self.paths[row]) as image:
            return self.transform(image.convert("RGB")), self.known[row]


def _plain(
    recipe: Recipe, paths: Sequence[Path], cache: Path, workers: int, variant: str
) -> tuple[TimedLoader, Callable[[Batch], None]]:
    tree = load_tree(recipe.tree)
    data = _Files(paths, torch.rand(len(paths), len(tree.columns)), recipe)
    network = timm.create_model(recipe.network, num_classes=len(tree.columns), **recipe.network_options).train()
    optimizer = torch.optim.AdamW(network.parameters(), recipe.learning_rate)

    def learn(batch: Batch) -> None:
        images, known = batch
        loss = functional.mse_loss(network(images).sigmoid(), known)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    rows = _Repeated(data, len(paths), epochs=False)
    return TimedLoader(rows, batch_size=recipe.batch, shuffle=True, num_workers=workers), learn


def _ours(
    recipe: Recipe, paths: Sequence[Path], cache: Path, workers: int, variant: str
) -> tuple[TimedLoader, Callable[[Batch], None]]:
    keep_freed_memory()
    tree = load_tree(recipe.tree)
    side = frame_side(recipe.size, recipe.crop, paths)
    stored = open_cache(paths, content_key([path.stem for path in paths], paths), side, cache)
    data = GalaxyDataset(
        CachedImages(stored.file, stored.rows),
        _targets(len(paths), tree),
        recipe.preprocess,
        recipe.augmentation,
        recipe.seed,
    )
    module = MorphologyModule(recipe, tree)
    if variant.endswith("compiled"):
        module.network.body.compile()
    optimizer = torch.optim.AdamW(module.parameters(), recipe.learning_rate)
    half = variant.endswith("bf16")

    def learn(batch: Batch) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = module.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    rows = _Repeated(data, len(paths), epochs=True)
    return loader(rows, batch=recipe.batch, shuffle=True, workers=workers, seed=recipe.seed), learn


def _targets(count: int, tree: DecisionTree) -> Targets:
    rng = np.random.default_rng(0)
    candidates = np.zeros((count, len(tree.classes)), np.float32)
    candidates[np.arange(count), rng.integers(0, len(tree.classes), count)] = 1
    return Targets(rng.uniform(0, 1, (count, len(tree.columns))).astype(np.float32), candidates)
