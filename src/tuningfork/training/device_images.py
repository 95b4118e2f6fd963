"""Device-side input: frames as bytes in the GPU's memory, augmented and shrunk there, batch by batch.

The views are those of `augmentation.augmented`, drawn from the same random numbers, and the resize is Pillow's, so a
training sees the same images as on the host, to about one level of 255. Frames that do not fit into the device's memory
stay in the host's and are sent a batch ahead, from pinned memory.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .._utils.environment import available_cores
from ..images.preprocess import Preprocess
from ..images.read import read_image
from .augmentation import RandomView
from .dataset import CachedImages, EpochSampler, Targets
from .recipe import Augmentation

__all__ = ["DeviceFrames", "DeviceLoader", "DeviceViews", "free_memory", "triangle"]

logger = logging.getLogger(__name__)

#: The part of the free memory that frames may take: networks, activations and the optimiser need the rest.
SHARE = 0.5
_CHUNK = 256


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device; of a CPU, the machine's."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on this system
        return 2**31


def triangle(pixels: int, size: int) -> Tensor:
    """The matrix (size, pixels) of Pillow's bilinear resize: a triangle, widened by the scale when shrinking."""
    scale = pixels / size
    support = max(scale, 1.0)
    matrix = torch.zeros(size, pixels, dtype=torch.float64)
    for row in range(size):
        centre = (row + 0.5) * scale
        low, high = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), pixels)
        at = torch.arange(low, high, dtype=torch.float64)
        weights = (1 - ((at - centre + 0.5) / support).abs()).clamp(min=0)
        matrix[row, low:high] = weights / weights.sum()
    return matrix.float()


class DeviceFrames:
    """Frames (N, S, S, 3) uint8 of the image cache: in the device's memory if they fit, else sent batch by batch.

    Parameters
    ----------
    images : CachedImages
    share : float
        Of the device's free memory, that they may take.
    """

    def __init__(self, images: CachedImages, device: torch.device, share: float = SHARE) -> None:
        self.device, self.rows = device, images.rows
        self.array: NDArray[np.uint8] = np.load(images.file, mmap_mode="r")
        self.shape = self.array.shape[1:]
        self.resident: Tensor | None = None
        needed, free = len(self.rows) * math.prod(self.shape), free_memory(device)
        if needed <= share * free:
            try:
                self.resident = torch.empty((len(self.rows), *self.shape), dtype=torch.uint8, device=device)
            except RuntimeError as error:  # another program was faster
                logger.warning("images: no memory for them on %s (%s)", device, str(error).splitlines()[0])
        if self.resident is None:
            logger.warning(
                "images: %.1f GB do not fit into the %.1f GB that %s has free; they stay in the host's memory and are "
                "sent batch by batch",
                needed / 1e9, free / 1e9, device,
            )  # fmt: skip
            return
        for start in range(0, len(self.rows), _CHUNK):
            part = slice(start, start + _CHUNK)
            self.resident[part] = torch.from_numpy(self.array[self.rows[part]])

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Sequence[int]) -> Tensor:
        """Frames (B, S, S, 3) uint8 on the device."""
        if self.resident is not None:
            return self.resident[torch.as_tensor(rows, device=self.device)]
        frames = torch.from_numpy(self.array[self.rows[list(rows)]])
        return _to_device(frames, self.device)


def _to_device(values: Tensor, device: torch.device) -> Tensor:
    """A tensor on the device; from pinned memory, so that the copy runs beside the computation."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


class DeviceViews:
    """Frames to a network's input, on their device: augmented, shrunk and scaled.

    Parameters
    ----------
    preprocess : Preprocess
        With the bilinear filter, as recipes have it.
    shape : (S, S, 3)
        Of the frames.

    Raises
    ------
    ValueError
        If the filter is another one.
    """

    def __init__(self, preprocess: Preprocess, shape: tuple[int, ...], device: torch.device) -> None:
        if preprocess.filter != "bilinear":
            raise ValueError(f"filter {preprocess.filter!r} cannot be computed on the device")
        self.preprocess, self.side, self.device = preprocess, shape[0], device
        pixels = max(round(preprocess.window(*shape[:2])[2]), 1)
        self.matrix = triangle(pixels, preprocess.size).to(device)
        centres = torch.arange(pixels, device=device, dtype=torch.float32) + 0.5
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        self.grid = torch.stack([x, y], -1).reshape(1, -1, 2)
        self.pixels = pixels
        gain, offset = preprocess.gain_and_offset
        self.gain, self.offset = torch.from_numpy(gain.copy()).to(device), torch.from_numpy(offset.copy()).to(device)

    def __call__(self, frames: Tensor, views: Sequence[RandomView]) -> Tensor:
        """Frames (B, S, S, 3) uint8 → inputs (B, 3, size, size) float32; beyond the frame is its mirror image."""
        count = len(views)
        numbers = np.concatenate(
            [np.stack([view.matrix for view in views]).reshape(count, 4), np.stack([view.offset for view in views])], 1
        )
        drawn = _to_device(torch.from_numpy(numbers.astype(np.float32)), self.device)
        light = _to_device(torch.tensor([view.light for view in views], dtype=torch.float32), self.device)
        turn, offset = drawn[:, :4].reshape(count, 2, 2), drawn[:, 4:].reshape(count, 1, 2)
        at = (self.grid @ turn.transpose(1, 2) + offset) * (2 / self.side) - 1
        planes = frames.permute(0, 3, 1, 2).float()
        cut = functional.grid_sample(
            planes, _reflected(at).reshape(count, self.pixels, self.pixels, 2), padding_mode="border",
            align_corners=False,
        )  # fmt: skip
        # Bytes after each step, as Pillow rounds them.
        cut = (cut.floor() * light[:, None, None, None] + 0.5).floor().clamp(0, 255)
        return self.scaled(self.shrunk(cut))

    def shrunk(self, planes: Tensor) -> Tensor:
        """The resize of (B, 3, P, P) whole numbers, first across, then down; → (B, 3, size, size) whole numbers."""
        across = (planes @ self.matrix.T + 0.5).floor().clamp(0, 255)
        return (self.matrix @ across + 0.5).floor().clamp(0, 255)

    def scaled(self, planes: Tensor) -> Tensor:
        """As `Preprocess.scaled`: (B, 3, size, size) numbers of 0…255 → float32."""
        return planes * self.gain + self.offset


def _reflected(at: Tensor) -> Tensor:
    """Coordinates in [−1, 1], mirrored at these edges as often as it takes."""
    return 1 - ((at + 1) % 4 - 2).abs()


class DeviceLoader:
    """Batches on the device, the next one prepared while the current one is learned from.

    Of the training part with `augmentation`; without, `paths` are the files of galaxies whose images are read once,
    as a prediction reads them, and stay on the device at the network's size.
    """

    #: Lightning asks every loader that has a sampler.
    batch_sampler = None

    def __init__(
        self,
        frames: DeviceFrames | Sequence[Path],
        targets: Targets,
        preprocess: Preprocess,
        sampler: EpochSampler,
        batch: int,
        device: torch.device,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.dataset, self.targets, self.sampler, self.batch = frames, targets, sampler, batch
        self.preprocess, self.device, self.augmentation = preprocess, device, augmentation
        self.wait_seconds = 0.0
        self._resized: Tensor | None = None
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        shape = frames.shape if isinstance(frames, DeviceFrames) else (preprocess.size, preprocess.size, 3)
        self.views = DeviceViews(preprocess, shape, device)

    def __len__(self) -> int:
        return math.ceil(len(self.sampler) / self.batch)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        keys = list(self.sampler)
        parts = [keys[start : start + self.batch] for start in range(0, len(keys), self.batch)]
        with ThreadPoolExecutor(1) as pool:
            ahead = [pool.submit(self._prepared, part) for part in parts[:1]]
            for number in range(len(parts)):
                started = time.perf_counter()
                tensors, event = ahead.pop().result()
                if number + 1 < len(parts):
                    ahead.append(pool.submit(self._prepared, parts[number + 1]))
                if event is not None:
                    current = torch.cuda.current_stream(self.device)
                    current.wait_event(event)
                    for each in tensors:  # so that their memory is not used again too early
                        each.record_stream(current)
                self.wait_seconds += time.perf_counter() - started
                yield tensors

    def _prepared(self, keys: Sequence[tuple[int, int]]) -> tuple[tuple[Tensor, ...], torch.cuda.Event | None]:
        """A batch, computed on a stream of its own, and the event of its end."""
        if self._stream is None:
            return self._batch(keys), None
        with torch.cuda.stream(self._stream):
            batch = self._batch(keys)
            event = torch.cuda.Event()
            event.record(self._stream)
        return batch, event

    @torch.no_grad()
    def _batch(self, keys: Sequence[tuple[int, int]]) -> tuple[Tensor, ...]:
        rows = [row for _, row in keys]
        known = [each for each in (self.targets.cumulative, self.targets.candidates, self.targets.counts)
                 if each is not None]  # fmt: skip
        targets = tuple(_to_device(torch.from_numpy(each[rows]), self.device) for each in known)
        if not isinstance(self.dataset, DeviceFrames):
            return self.views.scaled(self._fixed()[torch.as_tensor(rows, device=self.device)].float()), *targets
        assert self.augmentation is not None
        # Seeded as on the host, by the key alone.
        drawn = [
            RandomView.of(self.dataset.shape, self.preprocess, self.augmentation, np.random.default_rng(key))
            for key in ([self.sampler.seed, *key] for key in keys)
        ]
        return self.views(self.dataset.take(rows), drawn), *targets

    def _fixed(self) -> Tensor:
        """(N, 3, size, size) uint8 on the device, read once."""
        if self._resized is None:
            paths = self.dataset
            assert not isinstance(paths, DeviceFrames)
            with ThreadPoolExecutor(available_cores()) as pool:
                images = list(pool.map(lambda path: self.preprocess.resized(read_image(path).rgb), paths))
            self._resized = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy()).to(self.device)
        return self._resized
