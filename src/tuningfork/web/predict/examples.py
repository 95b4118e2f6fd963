"""Pictures as a page can show them: small, and as data: addresses."""

from __future__ import annotations

import base64
import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...simulation import draw, render

__all__ = ["EXAMPLES", "PREVIEW", "THUMBNAIL", "data_address", "modest", "simulated"]

#: Simulated galaxies to try with, and the population that they are of.
EXAMPLES, _SEED = 12, 23

#: Sides in pixels: of a shown picture, Galaxy Zoo 2's own, and of a neighbour's.
PREVIEW, THUMBNAIL = 424, 160
_OPTIONS = {"JPEG": {"quality": 88}, "PNG": {"optimize": True}}


def modest(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The picture, shrunk so that no side is above `side`."""
    height, width = picture.shape[:2]
    if max(height, width) <= side:
        return picture
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX, reducing_gap=2))


def data_address(picture: NDArray[np.uint8], kind: str = "JPEG") -> str:
    """A picture (H, W, 3) or (H, W, 4) as a ``data:`` address; kind "JPEG", small, or "PNG", exact."""
    return f"data:image/{kind.lower()};base64,{base64.b64encode(_encoded(picture, kind)).decode()}"


@lru_cache(maxsize=EXAMPLES)
def simulated(number: int) -> bytes:
    """One of the `EXAMPLES`, as a JPEG."""
    return _encoded(render(draw(_SEED, number)), "JPEG")


def _encoded(picture: NDArray[np.uint8], kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind, **_OPTIONS[kind])
    return stream.getvalue()
