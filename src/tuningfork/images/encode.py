"""Images encoded for display: JPEG files and thumbnails."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .image import ImageError
from .preprocess import Preprocess
from .read import read_image

__all__ = ["jpeg", "thumbnail"]


def thumbnail(path: str, crop: float = 0.5, side: int = 112) -> NDArray[np.uint8] | None:
    """The crop that a model sees, small: (side, side, 3) uint8; None if the picture cannot be had."""
    try:
        return Preprocess(crop=crop, size=side).resized(read_image(Path(path)).rgb)
    except (ImageError, OSError, ValueError):
        return None


def jpeg(picture: NDArray[np.uint8], quality: int = 82) -> bytes:
    """A picture (H, W, 3) uint8 as the bytes of a JPEG file."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality, optimize=True)
    return stream.getvalue()
