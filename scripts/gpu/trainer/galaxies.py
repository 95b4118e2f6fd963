"""All packed galaxies in the memory of the device."""

from __future__ import annotations

import io
import mmap
import multiprocessing
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .output import say

#: Pixels of the frame's packed middle.
CANVAS = 240


@dataclass
class Galaxies:
    """All packed galaxies: pictures (N, 3, 240, 240) uint8 on the device, and what `pack.npz` says of them."""

    pictures: Tensor
    pack: dict[str, np.ndarray]

    def rows(self, source: str) -> np.ndarray:
        return np.flatnonzero(self.pack["source"] == source)


def _decode(job: tuple[int, int, int]) -> None:
    row, start, end = job
    picture = Image.open(io.BytesIO(_files[start:end])).convert("RGB")
    if picture.width != CANVAS:
        picture = picture.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC)
    _canvas[row] = np.asarray(picture).transpose(2, 0, 1)


def read_galaxies(folder: Path, device: torch.device, first: int | None) -> Galaxies:
    """Decode all pictures once, with all cores, into the device's memory."""
    global _files, _canvas
    started = time.time()
    with np.load(folder / "pack.npz") as file:
        pack = {key: file[key] for key in file.files}
    count = len(pack["ids"])
    if first:
        keep = np.concatenate([np.flatnonzero(pack["source"] == s)[:first] for s in ("labelled", "hart", "weak")])
    else:
        keep = np.arange(count)
    starts = np.concatenate([[0], pack["ends"][:-1]])[keep]
    ends = pack["ends"][keep]
    pack = {key: value[keep] if value.ndim and len(value) == count else value for key, value in pack.items()}
    _files = (folder / "pictures.bin").read_bytes()
    # Anonymous memory that the processes share with this one.
    shared = mmap.mmap(-1, len(keep) * 3 * CANVAS * CANVAS)
    _canvas = np.frombuffer(shared, np.uint8).reshape(len(keep), 3, CANVAS, CANVAS)
    jobs = [(i, int(a), int(b)) for i, (a, b) in enumerate(zip(starts, ends, strict=True))]
    with multiprocessing.get_context("fork").Pool(min(16, os.cpu_count() or 1)) as pool:
        pool.map(_decode, jobs, chunksize=32)
    decoded = time.time()
    pictures = torch.from_numpy(_canvas).to(device)
    say(
        f"pictures: {len(keep)} decoded in {decoded - started:.1f} s, on the device after {time.time() - started:.1f} s"
    )
    return Galaxies(pictures, pack)
