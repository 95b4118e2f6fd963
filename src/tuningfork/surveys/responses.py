"""Check what a service sent: an image of the requested size that is not blank."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..images.image import ImageError
from ..images.read import read_image
from .client import Answer, DamagedResponse

__all__ = ["BLANK", "check_blank", "image_in"]

BLANK = "blank: outside of the survey's footprint"
#: Grey levels by which a blank image's pixels may differ.
NEARLY = 2
_KNOWN = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF")


def image_in(answer: Answer, pixels: int) -> NDArray[np.uint8]:
    """Decode the image (pixels, pixels, 3) that a service sent as JPEG, PNG or WebP.

    Raises
    ------
    DamagedResponse
        If it is cut or damaged.
    ImageError
        If it is no image, of another size, or blank.
    """
    if not answer.data:
        raise DamagedResponse("an empty answer")
    if not answer.data.startswith(_KNOWN):
        kind = answer.kind or "an unknown kind"
        raise ImageError(f"answered with no image (JPEG, PNG or WebP) but {kind}")
    try:
        rgb = read_image(answer.data).rgb
    except ImageError as error:
        raise DamagedResponse(f"the image came damaged: {error}") from None
    if rgb.shape[:2] != (pixels, pixels):
        height, width = rgb.shape[:2]
        raise ImageError(f"an image of {width}×{height} px came instead of {pixels}×{pixels}")
    return check_blank(rgb)


def check_blank(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image; ImageError if all of it is one colour."""
    if int(np.ptp(rgb, axis=(0, 1)).max()) <= NEARLY:
        raise ImageError(BLANK)
    return rgb
