"""Pictures to measure with: a user's, or simulated ones; as many files as asked for, on little disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from ..images.find import find_images
from ..images.image import ImageError
from ..images.preprocess import Preprocess
from ..images.read import read_image
from ..simulation import draw, render
from .fresh import BenchError

__all__ = ["repeated", "simulated", "small", "temporary_folder", "users"]

#: As Galaxy Zoo's pictures: 424×424 px, JPEG of this quality.
QUALITY = 90
#: Files in one folder of the repeated pictures.
_FOLDER = 10_000
#: Of a user's pictures, so many are taken.
_MOST = 512


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is removed however the work in it ends."""
    with tempfile.TemporaryDirectory(prefix="tuningfork-bench-") as folder:
        yield Path(folder)


def users(folder: Path) -> list[Path]:
    """The first 512 good pictures of a user's folder. Raises BenchError if there is none."""
    found = [path.absolute() for path in islice(filter(_is_good, find_images([folder])), _MOST)]
    if not found:
        raise BenchError(f"no picture that can be read in {folder}; is it the right folder?")
    return found


def _is_good(path: Path) -> bool:
    try:
        read_image(path)
    except ImageError:
        return False
    return True


def simulated(folder: Path, count: int) -> list[Path]:
    """`count` simulated galaxies as JPEG of 424×424 px in `folder`, a new one."""
    folder.mkdir()
    paths = [folder / f"{index}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        Image.fromarray(render(draw(0, index))).save(path, "JPEG", quality=QUALITY)
    return paths


def small(folder: Path, galaxies: int, side: int = 64) -> list[Path]:
    """Eight turned views of each of `galaxies` simulated ones, JPEG of `side` px in `folder`, a new one."""
    folder.mkdir()
    paths = []
    shrink = Preprocess(crop=0.5, size=side)
    for index in range(galaxies):
        picture = shrink.resized(render(draw(0, index)))
        for view in range(8):
            turned = np.rot90(picture[:, ::-1] if view > 3 else picture, view)
            paths.append(folder / f"{index}-{view}.jpg")
            Image.fromarray(np.ascontiguousarray(turned)).save(paths[-1], "JPEG", quality=QUALITY)
    return paths


def repeated(pictures: Sequence[Path], rows: int, folder: Path) -> Path:
    """`folder`, a new one, with `rows` files in sub-folders: each picture in turn, linked, not copied."""
    folder.mkdir()
    link = os.link
    for row in range(rows):
        within = folder / f"{row // _FOLDER:05d}"
        if row % _FOLDER == 0:
            within.mkdir()
        picture = pictures[row % len(pictures)]
        target = within / f"{row:09d}{picture.suffix}"
        try:
            link(picture, target)
        except OSError:
            if link is os.symlink:
                raise
            # Another file system than the user's pictures, or one with few hard links.
            link = os.symlink
            link(picture, target)
    return folder
