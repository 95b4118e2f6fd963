"""Images to measure speed with: simulated ones, those of a folder, and links that repeat them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from PIL import Image

from .._utils.errors import TuningforkError
from ..images.find import find_images
from ..images.image import ImageError
from ..images.read import read_image
from ..simulation import draw, render

__all__ = ["MAX_IMAGES", "BenchmarkError", "linked_images", "sample_images", "simulated_images"]

#: Of a user's folder, so many images are taken.
MAX_IMAGES = 512


class BenchmarkError(TuningforkError, ValueError):
    """A measurement that cannot be made; the message says what to do."""


def simulated_images(folder: Path, n: int) -> list[Path]:
    """Write `n` simulated galaxies as JPEG files of 424×424 px into `folder`, a new one."""
    folder.mkdir()
    paths = [folder / f"{index}.jpg" for index in range(n)]
    for index, path in enumerate(paths):
        Image.fromarray(render(draw(0, index))).save(path, "JPEG", quality=90)
    return paths


def sample_images(folder: str | os.PathLike[str]) -> list[Path]:
    """The first 512 images of a folder that can be read. Raises BenchmarkError if there is none."""

    def is_good(path: Path) -> bool:
        with suppress(ImageError):
            return bool(read_image(path).rgb.size)
        return False

    paths = [path.absolute() for path in islice(filter(is_good, find_images([folder])), MAX_IMAGES)]
    if not paths:
        raise BenchmarkError(f"no image that can be read in {folder}; is it the right folder?")
    return paths


def linked_images(images: Sequence[Path], rows: int, folder: Path) -> Path:
    """`folder`, a new one, with `rows` files in sub-folders of 10,000: each image in turn, linked, not copied."""
    for row in range(rows):
        image = images[row % len(images)]
        link = folder / f"{row // 10_000:05d}" / f"{row:09d}{image.suffix}"
        if row % 10_000 == 0:
            link.parent.mkdir(parents=True)
        try:
            os.link(image, link)
        except OSError:  # another file system, or one with few hard links
            os.symlink(image, link)
    return folder
