"""Batches of a training and its validation: prepared by processes on the host, or on the device itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from ..votes.tree import DecisionTree
from .dataset import CachedImages, EpochSampler, GalaxyDataset, ImageFiles, Targets, TimedLoader, loader
from .device_images import DeviceFrames, DeviceLoader
from .join import TrainError, TrainingSet
from .options import Hardware
from .recipe import Recipe

__all__ = ["on_host", "prepared_on_device", "subset_batches"]

logger = logging.getLogger(__name__)


def prepared_on_device(data: TrainingSet, recipe: Recipe, hardware: Hardware, device: torch.device) -> bool:
    """Whether images are augmented on the device: on any but a CPU, unless `hardware` says otherwise.

    Raises
    ------
    TrainError
        If that is asked for without a cache, from which whole batches could be read.
    """
    on_device = hardware.augment == "device" or (hardware.augment == "auto" and device.type != "cpu")
    if not on_device:
        return False
    if data.cache is None:
        if hardware.augment == "device":
            raise TrainError("images are augmented on the device from the cache; leave --no-cache out")
        logger.warning("images: read from their files and augmented by the CPU; with a cache %s would do it", device)
        return False
    if hardware.augment == "auto":
        try:  # not every kind of device has every operation
            _probe(data, recipe, device)
        except (RuntimeError, NotImplementedError, TypeError) as error:
            logger.warning("images: augmented by the CPU, since %s cannot (%s)", device, str(error).splitlines()[0])
            return False
    return True


def _probe(data: TrainingSet, recipe: Recipe, device: torch.device) -> None:
    """Prepare one galaxy on the device."""
    assert data.cache is not None
    rows = data.rows("train")[:1]
    frames = DeviceFrames(CachedImages(data.cache.file, data.cache_rows[rows]), device, share=1.0)
    sampler = EpochSampler(len(rows), shuffle=False)
    targets = Targets(data.cumulative[rows].astype("float32"), data.cumulative[rows, :0].astype("float32"))
    next(iter(DeviceLoader(frames, targets, recipe.preprocess, sampler, 1, device, recipe.augmentation)))


def subset_batches(
    data: TrainingSet,
    tree: DecisionTree,
    subset: str,
    recipe: Recipe,
    hardware: Hardware,
    device: torch.device | None,
    processes: tuple[int, int] = (0, 1),
) -> TimedLoader | DeviceLoader:
    """Batches of the "train" or the "validation" part.

    Parameters
    ----------
    device : torch.device or None
        Where they are prepared; None: on the host.
    processes : (int, int)
        The rank of this process and how many there are.
    """
    rank, world = processes
    rows, training = data.rows(subset), subset == "train"
    learned = recipe.loss == "dirichlet" and recipe.task != "classes" and data.votes.counts is not None
    counts = data.votes.counts[rows] if learned and data.votes.counts is not None else None
    targets = (Targets.of if training else Targets.of_decided)(data.cumulative[rows], tree, counts)
    paths = [data.paths[i] for i in rows]
    # Only views of the training come from the cache; validation reads what a prediction would.
    cached = CachedImages(data.cache.file, data.cache_rows[rows]) if data.cache is not None and training else None
    if device is None:
        dataset = GalaxyDataset(
            cached or ImageFiles(paths),
            targets,
            recipe.preprocess,
            recipe.augmentation if training else None,
            recipe.seed,
        )
        return loader(
            dataset,
            batch=recipe.batch,
            shuffle=training,
            workers=hardware.workers,
            seed=recipe.seed,
            rank=rank,
            world=world,
        )
    sampler = EpochSampler(
        len(rows), shuffle=training, seed=recipe.seed, batch=recipe.batch if training else 0, rank=rank, world=world
    )
    frames: DeviceFrames | Sequence[Path] = DeviceFrames(cached, device) if cached else paths
    if isinstance(frames, DeviceFrames) and frames.resident is not None:
        size = frames.resident.nbytes / 1e6
        logger.info("images: %d frames, %.1f MB, in the memory of %s", len(frames), size, device)
    augmentation = recipe.augmentation if training else None
    return DeviceLoader(frames, targets, recipe.preprocess, sampler, recipe.batch // world, device, augmentation)


def on_host(batches: TimedLoader | DeviceLoader) -> Iterator[tuple[torch.Tensor, ...]]:
    """The batches in the host's memory."""
    for batch in batches:
        yield tuple(each.cpu() for each in batch)
