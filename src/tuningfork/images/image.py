"""The result of reading an image, the limits of what is read, and the error of an image that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._utils.errors import TuningforkError

__all__ = [
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "MIN_SIDE",
    "ImageError",
    "NoDataError",
    "RGBImage",
    "TransientImageError",
    "check_file_size",
    "check_size",
    "size_problem",
]

MAX_FILE_BYTES = 256 * 2**20
MAX_PIXELS = 16 * 2**20
#: Below this no shape is left to see.
MIN_SIDE = 8


class ImageError(TuningforkError, ValueError):
    """An image that cannot be read; the message is the reason, without the file's name."""


class TransientImageError(ImageError):
    """An image that cannot be read at the moment, such as for too many open files: the file itself may be good."""


class NoDataError(ImageError):
    """An image that can be read, but holds no data."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RGBImage:
    """An image as models see it.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
        Red, green, blue in 0…255; row 0 is the top as displayed.
    warnings : tuple of str
        What the user should know of it, such as a part without data.
    """

    rgb: NDArray[np.uint8]
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        height, width = self.rgb.shape[:2]
        return f"<RGBImage: {width}×{height} px{f'; {self.warning}' if self.warnings else ''}>"

    @property
    def warning(self) -> str:
        """All warnings as one text; "" if there is none."""
        return "; ".join(self.warnings)


def check_file_size(size: int) -> None:
    """Raise ImageError for a file of more than `MAX_FILE_BYTES` bytes."""
    if problem := size_problem(size):
        raise ImageError(problem)


def size_problem(size: int) -> str:
    """Why a file of so many bytes is not read; "" if it is."""
    return f"file of {size} bytes; at most {MAX_FILE_BYTES} are read" if size > MAX_FILE_BYTES else ""


def check_size(width: int, height: int) -> None:
    """Raise ImageError for an image with more than `MAX_PIXELS` pixels, or a side below `MIN_SIDE`."""
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width}×{height} px; at most {MAX_PIXELS} pixels are read")
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"{width}×{height} px; at least {MIN_SIDE} px a side are needed")
