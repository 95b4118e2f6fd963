"""Training throughput: the network alone, its input alone, and both together, on the host's and on the device's way."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._utils.environment import available_cores
from ..images.find import find_images
from ..votes.tree_files import load_tree
from .dataset import CachedImages, EpochSampler, GalaxyDataset, Targets, TimedLoader, loader
from .device_images import DeviceFrames, DeviceLoader
from .image_cache import content_key, frame_side, open_cache
from .join import TrainError
from .lightning_module import MorphologyModule
from .malloc import keep_freed_memory
from .recipe import Recipe

__all__ = ["TrainingSpeed", "measure_training", "training_step"]

#: Images are used again and again; so many are enough.
MOST_IMAGES = 512


@dataclass(frozen=True)
class TrainingSpeed:
    """Throughput of training steps in galaxies a second, by how images are prepared.

    Parameters
    ----------
    device, network : str
    size, batch : int
    synthetic : float
        Steps on one batch that is on the device already: the bound.
    paths : mapping of "host" or "device" → figures
        `input`: batches alone; `training`: batches and steps; `waiting`: the share of the time of `training` in which
        a step waited for its batch; `of_bound`: `training` over `synthetic`.
    """

    device: str
    network: str
    size: int
    batch: int
    synthetic: float
    paths: dict[str, dict[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        return dict(self.__dict__)


def measure_training(
    recipe: Recipe,
    images: str | os.PathLike[str],
    *,
    steps: int = 20,
    device: str = "",
    workers: int = 1,
    ways: Iterable[str] = ("host", "device"),
) -> TrainingSpeed:
    """Measure how fast a recipe trains here, and how long its device waits for images.

    Parameters
    ----------
    images : path
        Folder of images; at most `MOST_IMAGES` are used.
    steps : int
        Of each measurement.
    device : str
        As PyTorch names it; "": a GPU if there is one.
    workers : int
        Processes that prepare images on the host's way.
    ways : of "host" and "device"

    Raises
    ------
    TrainError
        If there is no image.
    """
    keep_freed_memory()
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    paths = list(find_images([Path(images)]))[:MOST_IMAGES]
    if not paths:
        raise TrainError(f"{images}: no image to measure with")
    step = training_step(recipe, where)
    paths_of: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        key = content_key([path.name for path in paths], paths)
        stored = open_cache(paths, key, frame_side(recipe.size, recipe.crop, paths), Path(folder))
        rows = stored.rows[stored.rows >= 0]
        if not len(rows):
            raise TrainError(f"{images}: no image could be read")
        frames = CachedImages(stored.file, rows)
        fixed = next(iter(_batches("device", frames, recipe, where, workers, 1)))
        synthetic, _ = _rate(repeat(tuple(each.to(where) for each in fixed), steps + 1), step, recipe.batch, where)
        for way in ways:
            batches = _batches(way, frames, recipe, where, workers, steps + 1)
            alone, _ = _rate(batches, lambda _: None, recipe.batch, where)
            training, waiting = _rate(batches, step, recipe.batch, where)
            paths_of[way] = {
                "input": alone,
                "training": training,
                "waiting": waiting,
                "of_bound": training / synthetic,
            }
    return TrainingSpeed(str(where), recipe.network, recipe.size, recipe.batch, synthetic, paths_of)


def _batches(
    way: str, frames: CachedImages, recipe: Recipe, device: torch.device, workers: int, steps: int
) -> TimedLoader | DeviceLoader:
    tree = load_tree(recipe.tree)
    known = np.full((len(frames), len(tree.columns)), 0.5, np.float32)
    candidates = np.zeros((len(frames), len(tree.classes)), np.float32)
    candidates[:, :1] = 1
    targets = Targets(known, candidates)
    if way == "host":
        data = GalaxyDataset(frames, targets, recipe.preprocess, recipe.augmentation)
        return loader(data, batch=recipe.batch, shuffle=True, workers=min(workers, available_cores()), steps=steps)
    sampler = EpochSampler(len(frames), shuffle=True, batch=recipe.batch, draw=steps * recipe.batch)
    device_frames = DeviceFrames(frames, device)
    return DeviceLoader(device_frames, targets, recipe.preprocess, sampler, recipe.batch, device, recipe.augmentation)


def training_step(recipe: Recipe, device: torch.device) -> Callable[[tuple[Tensor, ...]], None]:
    """Return a function that takes one training step on a batch, without Lightning's loop; the weights hardly move."""
    module = MorphologyModule(recipe.changed(loss="squared"), load_tree(recipe.tree)).to(device).train()
    optimizer = torch.optim.AdamW(module.parameters(), 1e-6)
    kind = torch.float16 if recipe.precision == "16-mixed" and device.type == "cuda" else torch.bfloat16

    def step(batch: tuple[Tensor, ...]) -> None:
        on_device = tuple(each.to(device, non_blocking=True) for each in batch)
        with torch.autocast(device.type, kind, enabled=recipe.precision != "32-true"):
            loss = module.loss(on_device)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _rate(
    batches: Iterable[tuple[Tensor, ...]], step: Callable[[tuple[Tensor, ...]], None], size: int, device: torch.device
) -> tuple[float, float]:
    """Galaxies a second of all batches but the first, which also lays out memory; the share of that time waited for."""

    def finished() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.monotonic()

    each = iter(batches)
    step(next(each))
    started, wait_seconds, count = finished(), getattr(batches, "wait_seconds", 0.0), 0
    for batch in each:
        step(batch)
        count += 1
    seconds = max(finished() - started, 1e-9)
    return count * size / seconds, (getattr(batches, "wait_seconds", 0.0) - wait_seconds) / seconds
