"""Data loading: images and votes on disk to batches, cropped and scaled as for a prediction, or augmented."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from ..images.preprocess import Preprocess
from ..images.read import read_image
from ..votes.clean_samples import Status, class_fits, classify
from ..votes.tree import DecisionTree
from .augmentation import augmented
from .recipe import Augmentation

__all__ = [
    "CachedImages",
    "EpochSampler",
    "GalaxyDataset",
    "ImageFiles",
    "Targets",
    "TimedLoader",
    "loader",
]


@dataclass(frozen=True)
class Targets:
    """Targets of N galaxies: known vote fractions and possible classes.

    Parameters
    ----------
    cumulative : (N, A) float32
        Vote fractions, NaN where unknown.
    candidates : (N, C) float32
        1 for each class that the galaxy may have, given that it has one; a row of zeros: unknown.
    counts : (N, A) float32 or None
        Votes for each answer, 0 where unknown, if a training learns them.
    """

    cumulative: NDArray[np.float32]
    candidates: NDArray[np.float32]
    counts: NDArray[np.float32] | None = None

    @classmethod
    def of(
        cls, cumulative: NDArray[np.float64], tree: DecisionTree, counts: NDArray[np.float64] | None = None
    ) -> Targets:
        """Targets of a label table's votes (N, A) and their counts, if these are learned."""
        fits = class_fits(cumulative, tree)
        decided = classify(cumulative, tree)
        candidates = np.zeros(fits.shape, np.float32)
        rows = np.flatnonzero(decided >= 0)
        candidates[rows, decided[rows]] = 1
        # An undecided galaxy that has a class at all has one of those that its known columns leave open.
        undecided = decided == Status.UNDECIDED
        candidates[undecided] = fits[undecided] == -1
        votes = None if counts is None else np.nan_to_num(counts).astype(np.float32)
        return cls(cumulative.astype(np.float32), candidates, votes)

    @classmethod
    def of_decided(
        cls, cumulative: NDArray[np.float64], tree: DecisionTree, counts: NDArray[np.float64] | None = None
    ) -> Targets:
        """For validation: without candidates of undecided galaxies, of which a last one is not yet the class."""
        targets = cls.of(cumulative, tree, counts)
        targets.candidates[classify(cumulative, tree) < 0] = 0
        return targets

    def __len__(self) -> int:
        return len(self.cumulative)

    def row(self, row: int) -> tuple[torch.Tensor, ...]:
        """Those of one galaxy, in the order of a batch; the last one only if counts are learned."""
        known = self.cumulative[row], self.candidates[row]
        return tuple(map(torch.from_numpy, known if self.counts is None else (*known, self.counts[row])))


class ImageFiles:
    """Images (H, W, 3) uint8 decoded from their files each time."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = [str(path) for path in paths]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> NDArray[np.uint8]:
        return read_image(self.paths[row]).rgb


class CachedImages:
    """Images (side, side, 3) uint8 from some rows of an image cache's file, memory-mapped."""

    def __init__(self, file: Path, rows: NDArray[np.int64]) -> None:
        self.file, self.rows = file, rows
        self._array: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> NDArray[np.uint8]:
        if self._array is None:
            self._array = np.load(self.file, mmap_mode="r")
        return np.asarray(self._array[self.rows[row]])

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_array": None}  # each worker maps the file for itself


class GalaxyDataset(Dataset[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]):
    """Images with their targets; an item's key is (epoch, row), and its augmentation depends on nothing else.

    Items are input (3, size, size) float32, known fractions (A,) float32 and candidate classes (C,) float32.
    """

    def __init__(
        self,
        images: ImageFiles | CachedImages,
        targets: Targets,
        preprocess: Preprocess,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        self.images = images
        self.targets = targets
        self.preprocess = preprocess
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, ...]:
        epoch, row = key
        image = self.images[row]
        if self.augmentation is None:
            small = self.preprocess.resized(image)
        else:
            # Seeded by the key, not by the worker's state: a resumed training sees the same views.
            rng = np.random.default_rng([self.seed, epoch, row])
            small = augmented(image, self.preprocess, self.augmentation, rng)
        return (torch.from_numpy(self.preprocess.scaled(small)), *self.targets.row(row))


class EpochSampler(Sampler[tuple[int, int]]):
    """(epoch, row) of every row once; shuffled by seed and epoch if asked. Lightning calls `set_epoch`.

    Of several processes each gets every `world`-th row, beginning with its `rank`: together they see the
    very batches that one process would. A training (`batch` given) leaves out the last incomplete batch.
    With `draw`, an epoch is so many rows, whatever their number: all come once before any comes again.
    """

    def __init__(
        self,
        count: int,
        *,
        shuffle: bool,
        seed: int = 0,
        batch: int = 0,
        draw: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.shuffle, self.seed, self.epoch = shuffle, seed, 0
        self.rank, self.world = rank, world
        self.all, self.count = count, count
        self.draw = draw
        if draw:
            self.count = draw
        elif batch and count >= batch:
            self.count = count // batch * batch

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and the views of the next pass."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rows = np.arange(self.all)
        if self.draw:
            start, rest = divmod(self.epoch * self.draw, self.all)
            passes = range(start, start + -(-(rest + self.draw) // self.all))
            rows = np.concatenate([np.random.default_rng([self.seed, p]).permutation(self.all) for p in passes])[rest:]
        elif self.shuffle:
            rows = np.random.default_rng([self.seed, self.epoch]).permutation(self.all)
        return ((self.epoch, int(row)) for row in rows[: self.count][self.rank :: self.world])

    def __len__(self) -> int:
        return len(range(self.rank, self.count, self.world))


class TimedLoader(DataLoader[tuple[torch.Tensor, ...]]):
    """A DataLoader that counts in `wait_seconds` the seconds that the training waited for a batch."""

    wait_seconds = 0.0

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:  # type: ignore[override]
        started = time.perf_counter()
        batches = super().__iter__()
        self.wait_seconds += time.perf_counter() - started
        while True:
            started = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            finally:
                self.wait_seconds += time.perf_counter() - started
            yield batch


def loader(
    data: Dataset,
    *,
    batch: int,
    shuffle: bool,
    workers: int,
    seed: int = 0,
    steps: int = 0,
    rank: int = 0,
    world: int = 1,
) -> TimedLoader:
    """Batches of `data`, `batch` galaxies over all processes; in training a last incomplete batch is left out.

    With `steps`, an epoch has so many batches, whatever the number of galaxies.
    """
    return TimedLoader(
        data,
        batch_size=batch // world,
        sampler=EpochSampler(
            len(data),
            shuffle=shuffle,
            seed=seed,
            batch=batch if shuffle else 0,
            draw=steps * batch,
            rank=rank,
            world=world,
        ),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )
