"""Images encoded for display: JPEG and PNG files, data URLs, thumbnails."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from .image import ImageError
from .preprocess import Preprocess
from .read import read_image

__all__ = ["data_url", "jpeg", "png", "shrink", "thumbnail"]


def thumbnail(path: str, crop: float = 0.5, side: int = 112) -> NDArray[np.uint8] | None:
    """The crop that a model sees, small: (side, side, 3) uint8; None if the image cannot be read.

    Parameters
    ----------
    path : str
        Any image file that `read_image` reads.
    crop : float in (0, 1]
        Fraction of the image's shorter side.
    side : int
        Pixels of the thumbnail's side.
    """
    try:
        return Preprocess(crop=crop, size=side).resized(read_image(Path(path)).rgb)
    except (ImageError, OSError, ValueError):
        return None


def shrink(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """An image (H, W, 3) uint8 with its longer side at most `side` pixels; a smaller one is returned unchanged."""
    longer = max(image.shape[:2])
    if longer <= side:
        return image
    height, width = (max(1, round(length * side / longer)) for length in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


def jpeg(image: NDArray[np.uint8], quality: int = 82, subsampling: str = "420") -> bytes:
    """Encode an image (H, W, 3) uint8 as the bytes of a JPEG file.

    Parameters
    ----------
    quality : int
        1 to 100.
    subsampling : str
        Of the colours: "420" a quarter of them, "444" all.
    """
    return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality, colorsubsampling=subsampling)


def png(image: NDArray[np.uint8], colours: int | None = None, *, optimize: bool = True) -> bytes:
    """Encode an image (H, W, 3 or 4) uint8 as the bytes of a PNG file, with a palette of `colours` if that is given.

    A palette halves the size of plots, without a visible loss.
    """
    stream, encoded = io.BytesIO(), Image.fromarray(image)
    (encoded.quantize(colours) if colours else encoded).save(stream, "PNG", optimize=optimize)
    return stream.getvalue()


def data_url(content: bytes) -> str:
    """The bytes of a JPEG, PNG or SVG file as a ``data:`` URL, by what they begin with."""
    kinds = {b"\x89PNG": "png", b"\xff\xd8": "jpeg"}
    kind = next((kind for start, kind in kinds.items() if content.startswith(start)), "svg+xml")
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
